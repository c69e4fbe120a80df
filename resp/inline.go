package resp

// splitWords appends the words of an inline command. Words are separated by
// white space. Double quotes take \n \r \t \b \a, \xhh and any other escaped
// byte literally, single quotes only \'; after a closing quote a word must
// end. A word without quotes aliases line, others are new.
func splitWords(args [][]byte, line []byte) (_ [][]byte, ok bool) {
	for i := 0; ; {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) {
			return args, true
		}
		begin := i
		for i < len(line) && !isSpace(line[i]) && line[i] != '"' && line[i] != '\'' {
			i++
		}
		if i == len(line) || isSpace(line[i]) {
			args = append(args, line[begin:i:i])
			continue
		}
		word := append([]byte{}, line[begin:i]...)
		quoted := unquote
		if line[i] == '\'' {
			quoted = unquoteSingle
		}
		word, i = quoted(word, line, i+1)
		if i < 0 || i < len(line) && !isSpace(line[i]) {
			return args, false
		}
		args = append(args, word)
	}
}

// unquote appends what stands in double quotes from i on and returns the place
// after them, -1 if they are not closed.
func unquote(word, line []byte, i int) ([]byte, int) {
	for ; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			return word, i + 1
		case c == '\\' && i+3 < len(line) && line[i+1] == 'x' && isHex(line[i+2]) && isHex(line[i+3]):
			word = append(word, hexValue(line[i+2])<<4|hexValue(line[i+3]))
			i += 3
		case c == '\\' && i+1 < len(line):
			i++
			word = append(word, unescape(line[i]))
		default:
			word = append(word, c)
		}
	}
	return word, -1
}

// unquoteSingle is unquote for single quotes.
func unquoteSingle(word, line []byte, i int) ([]byte, int) {
	for ; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'':
			return word, i + 1
		case c == '\\' && i+1 < len(line) && line[i+1] == '\'':
			i++
			word = append(word, '\'')
		default:
			word = append(word, c)
		}
	}
	return word, -1
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' || c == 0 }

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

func hexValue(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
