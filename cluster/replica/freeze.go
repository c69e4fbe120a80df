package replica

// HoldsData reports whether anything is, or ever was, stored.
func (r *Replica) HoldsData() bool { return r.wrote.Load() }

// MarkHoldsData says that the store held something when it was opened.
func (r *Replica) MarkHoldsData() { r.wrote.Store(true) }

// Freeze refuses writes with ErrFrozen from now on, unless something is stored
// already: then it changes nothing and returns false. No write is half done when
// it returns.
func (r *Replica) Freeze() bool {
	r.lockAll()
	defer r.unlockAll()
	if r.wrote.Load() {
		return false
	}
	r.frozen = true
	return true
}

// Thaw takes writes again.
func (r *Replica) Thaw() {
	r.lockAll()
	defer r.unlockAll()
	r.frozen = false
}

func (r *Replica) lockAll() {
	for i := range r.stripes {
		r.stripes[i].mu.Lock()
	}
}

func (r *Replica) unlockAll() {
	for i := range r.stripes {
		r.stripes[i].mu.Unlock()
	}
}
