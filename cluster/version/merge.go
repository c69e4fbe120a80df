package version

// Merge makes dst what a replica knows that has seen both a and b. A sibling
// of one side stays if the other side has it too or has not seen it; one that
// the other side has seen and no longer has was replaced there. dst shares the
// values of a and b and must be neither of them.
//
// It is commutative, associative and idempotent, so replicas that have seen
// the same objects, in whatever order and however often, are equal.
func Merge(dst, a, b *Object) {
	if dst == a || dst == b {
		panic("version: Merge into one of its sources")
	}
	dst.Context.Set(&a.Context)
	dst.Context.Join(&b.Context)
	dst.Siblings = dst.Siblings[:0]
	i, j := 0, 0
	for i < len(a.Siblings) || j < len(b.Siblings) {
		switch side := nextSide(a, b, i, j); {
		case side < 0:
			dst.keepUnseen(&a.Siblings[i], &b.Context)
			i++
		case side > 0:
			dst.keepUnseen(&b.Siblings[j], &a.Context)
			j++
		default:
			s := &a.Siblings[i]
			if s.comparePayload(&b.Siblings[j]) < 0 {
				s = &b.Siblings[j]
			}
			dst.Siblings = append(dst.Siblings, *s)
			i++
			j++
		}
	}
}

// nextSide says where the next sibling in order comes from: below zero a's
// i-th, above zero b's j-th, zero both.
func nextSide(a, b *Object, i, j int) int {
	switch {
	case i == len(a.Siblings):
		return 1
	case j == len(b.Siblings):
		return -1
	}
	return a.Siblings[i].Dot.Compare(b.Siblings[j].Dot)
}

// keepUnseen appends a sibling that only one side has, if the other side, whose
// context is given, has not seen it.
func (o *Object) keepUnseen(s *Sibling, other *Context) {
	if !other.Covers(s.Dot) {
		o.Siblings = append(o.Siblings, *s)
	}
}
