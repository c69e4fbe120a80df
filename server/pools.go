package server

import "sync"

// keptBuffer is the largest buffer kept for another use. What is larger served
// a large value and goes back to the collector.
const keptBuffer = 256 << 10

// buffer is a byte slice that moves through a pool without allocating.
type buffer struct{ b []byte }

// pools hold what commands need while they run and connections do not need
// while they are idle.
type pools struct {
	buffers sync.Pool // *buffer
	calls   sync.Pool // *call
}

func (p *pools) init() {
	p.buffers.New = func() any { return &buffer{b: make([]byte, 0, 1024)} }
	p.calls.New = func() any { return newCall() }
}

func (p *pools) buffer() *buffer { return p.buffers.Get().(*buffer) }

func (p *pools) freeBuffer(b *buffer) {
	if cap(b.b) <= keptBuffer {
		b.b = b.b[:0]
		p.buffers.Put(b)
	}
}

func (p *pools) call() *call { return p.calls.Get().(*call) }

func (p *pools) freeCall(c *call) {
	if cap(c.Out) > keptBuffer {
		c.Out = nil
	}
	c.Key, c.Args, c.Err = nil, nil, nil
	c.session, c.gather = nil, nil
	p.calls.Put(c)
}
