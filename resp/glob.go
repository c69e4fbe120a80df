package resp

// Match reports whether text matches pattern by Redis's rules: * any run of
// bytes, ? any one byte, [abc] [a-z] [^x] a class, \ takes the next byte
// literally (in a class too). Bytes are compared, not characters. The time is
// at most len(pattern) * len(text): only the last star is ever tried again.
func Match(pattern, text []byte) bool {
	p, t := 0, 0
	star, starText := -1, 0 // where to go on after the last star
	for t < len(text) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			star, starText = p, t
			continue
		}
		if p < len(pattern) {
			if next, ok := matchOne(pattern, p, text[t]); ok {
				p, t = next, t+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		starText++
		p, t = star, starText
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne compares c with the one element of the pattern that begins at p
// (which is not a star) and returns where the next element begins.
func matchOne(pattern []byte, p int, c byte) (next int, ok bool) {
	switch pattern[p] {
	case '?':
		return p + 1, true
	case '[':
		return matchClass(pattern, p+1, c)
	case '\\':
		if p+1 < len(pattern) {
			p++
		}
	}
	return p + 1, pattern[p] == c
}

// matchClass compares c with the class whose first byte after [ is at p. A
// class that is never closed ends with the pattern, as in Redis.
func matchClass(pattern []byte, p int, c byte) (next int, ok bool) {
	not := p < len(pattern) && pattern[p] == '^'
	if not {
		p++
	}
	for p < len(pattern) && pattern[p] != ']' {
		switch {
		case pattern[p] == '\\' && p+1 < len(pattern):
			ok = ok || pattern[p+1] == c
			p += 2
		case p+2 < len(pattern) && pattern[p+1] == '-':
			lo, hi := min(pattern[p], pattern[p+2]), max(pattern[p], pattern[p+2])
			ok = ok || lo <= c && c <= hi
			p += 3
		default:
			ok = ok || pattern[p] == c
			p++
		}
	}
	return min(p+1, len(pattern)), ok != not
}
