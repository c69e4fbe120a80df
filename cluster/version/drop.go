package version

import "slices"

// Drop takes out the sibling with dot d, for a writer that makes its event anew:
// the event that follows covers d, because the context still does.
func (o *Object) Drop(d Dot) {
	if i, found := o.find(d); found {
		o.Siblings = slices.Delete(o.Siblings, i, i+1)
	}
}
