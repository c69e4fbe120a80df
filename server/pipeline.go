package server

// slotKind says what a parked command is to those after it.
type slotKind uint8

const (
	slotReply slotKind = iota // only its reply waits
	slotRead
	slotWrite
	slotWorker
)

// allKeys is the hash of a slot that stands for more than one key.
const allKeys = 0

// slot is the place of one command in the order of replies.
type slot struct {
	hash   uint64 // of database and key, or allKeys
	kind   slotKind
	done   bool
	mute   bool    // the client does not want the reply
	last   bool    // no command behind it came in the same packet
	call   *call   // of an Op, for its reply
	gather *gather // of a Scatter
	job    *job    // of a Wait
	text   *buffer // of a Local or an error
}

// size is the bytes of a slot's reply, once it is done.
func (s *slot) size() (n int) {
	switch {
	case s.call != nil:
		return len(s.call.Out)
	case s.gather != nil:
		for _, part := range s.gather.parts {
			n += len(part.Out)
		}
	case s.job != nil:
		return len(s.job.ctx.Out)
	case s.text != nil:
		return len(s.text.b)
	}
	return n
}

// pipeline is the slots of one connection: a ring that begins when something
// is parked and is empty again when everything is answered. Slots are named by
// a number that counts up and never wraps in practice.
type pipeline struct {
	ring   []slot // a power of two, or nil
	head   uint64 // the oldest slot
	tail   uint64 // where the next goes
	reads  int    // slots of kind slotRead that are not done
	writes int    // slots of kind slotWrite that are not done
	undone int    // slots that are not done
	held   int    // bytes of replies that are done
}

// Sizes of the ring: what it begins with and what an idle connection keeps.
const (
	firstRing = 16
	keptRing  = 64
)

func (p *pipeline) len() int { return int(p.tail - p.head) }

// push takes the next slot.
func (p *pipeline) push(s slot) (at uint64) {
	if p.len() == len(p.ring) {
		p.grow()
	}
	at = p.tail
	p.ring[at&uint64(len(p.ring)-1)] = s
	p.tail++
	if s.done {
		p.held += s.size()
	} else {
		p.undone++
		p.count(s.kind, 1)
	}
	return at
}

func (p *pipeline) grow() {
	old := p.ring
	p.ring = make([]slot, max(firstRing, 2*len(old)))
	for i := p.head; i != p.tail; i++ {
		p.ring[i&uint64(len(p.ring)-1)] = old[i&uint64(len(old)-1)]
	}
}

func (p *pipeline) at(i uint64) *slot { return &p.ring[i&uint64(len(p.ring)-1)] }

func (p *pipeline) count(k slotKind, d int) {
	switch k {
	case slotRead:
		p.reads += d
	case slotWrite:
		p.writes += d
	}
}

// finish marks a slot as done.
func (p *pipeline) finish(at uint64) {
	s := p.at(at)
	s.done = true
	p.held += s.size()
	p.undone--
	p.count(s.kind, -1)
}

// pop removes the oldest slot if it is done.
func (p *pipeline) pop() (s slot, ok bool) {
	if p.head == p.tail || !p.at(p.head).done {
		return slot{}, false
	}
	oldest := p.at(p.head)
	s, *oldest = *oldest, slot{}
	p.held -= s.size()
	p.head++
	if p.head == p.tail && len(p.ring) > keptRing {
		p.ring = nil
	}
	return s, true
}

// conflicts reports whether a command on a key must wait for one before it: a
// read for a write, a write for a read. Two writes keep their order by
// themselves.
func (p *pipeline) conflicts(hash uint64, write bool) bool {
	against, n := slotWrite, p.writes
	if write {
		against, n = slotRead, p.reads
	}
	if n == 0 {
		return false
	}
	if hash == allKeys {
		return true
	}
	for i := p.head; i != p.tail; i++ {
		if s := p.at(i); s.kind == against && !s.done && (s.hash == hash || s.hash == allKeys) {
			return true
		}
	}
	return false
}

// cancel tells the workers that nobody wants their answers any more.
func (p *pipeline) cancel() {
	for i := p.head; i != p.tail; i++ {
		if j := p.at(i).job; j != nil {
			j.cancel()
		}
	}
}
