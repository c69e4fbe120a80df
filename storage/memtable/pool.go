package memtable

import "sync"

// Pool keeps pages of tables that were freed for the next ones: memory that the system gives anew costs a fault a page and
// its zeroing, several times what clearing it here does. The zero Pool keeps nothing. All methods may be called
// concurrently.
type Pool struct {
	mu    sync.Mutex
	pages [][]byte // guarded by mu: zeroed, all of one size
	most  int      // guarded by mu: how many are kept
}

// NewPool returns a pool that keeps as much as a table of about size bytes takes.
func NewPool(size int) *Pool {
	return &Pool{most: size/pageSizeOf(size) + 1}
}

// take returns a zeroed page, or nil when the pool has none.
func (p *Pool) take() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.pages) - 1
	if last < 0 {
		return nil
	}
	b := p.pages[last]
	p.pages[last] = nil
	p.pages = p.pages[:last]
	return b
}

// give hands a page over that nobody uses any more. False: there are enough, and it is still the caller's.
func (p *Pool) give(b []byte) bool {
	p.mu.Lock()
	room := len(p.pages) < p.most
	p.mu.Unlock()
	if !room {
		return false
	}
	clear(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pages) >= p.most {
		return false
	}
	p.pages = append(p.pages, b)
	return true
}

// Close gives the pages back to the system, and those to come.
func (p *Pool) Close() {
	p.mu.Lock()
	pages := p.pages
	p.pages, p.most = nil, 0
	p.mu.Unlock()
	for _, b := range pages {
		unmapPage(b)
	}
}
