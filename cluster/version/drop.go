package version

import "slices"

// Drop takes out the value with dot d, for a writer that makes its event anew:
// the event that follows covers d, because the context still does. A counter
// stays: its sibling is the sum of all its node's increments.
func (o *Object) Drop(d Dot) {
	if i, found := o.find(d); found && o.Siblings[i].Kind != Counter {
		o.Siblings = slices.Delete(o.Siblings, i, i+1)
	}
}
