package server

import (
	"context"
	"sync/atomic"
	"time"
)

// tuning is the limits that may change while the server runs.
type tuning struct {
	maxClients  atomic.Int64
	outputLimit atomic.Int64
	idle        atomic.Int64  // nanoseconds, 0 for never
	retimed     chan struct{} // one token when idle has changed; sent by SetIdleTimeout, never closed
}

func (t *tuning) init(o *Options) {
	t.retimed = make(chan struct{}, 1)
	t.maxClients.Store(int64(o.MaxClients))
	t.outputLimit.Store(int64(o.OutputLimit))
	t.idle.Store(int64(o.IdleTimeout))
}

// SetMaxClients changes how many connections are served at once. Those that are
// open stay open.
func (s *Server) SetMaxClients(n int) { s.tuning.maxClients.Store(int64(n)) }

// SetOutputLimit changes how many bytes a client may leave unread before it
// loses its connection.
func (s *Server) SetOutputLimit(n int) { s.tuning.outputLimit.Store(int64(n)) }

// SetIdleTimeout changes how long a client may send nothing; 0 is for ever.
func (s *Server) SetIdleTimeout(d time.Duration) {
	s.tuning.idle.Store(int64(d))
	select {
	case s.tuning.retimed <- struct{}{}:
	default:
	}
}

// closeIdle closes clients that have sent nothing for too long.
func (s *Server) closeIdle(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		limit := time.Duration(s.tuning.idle.Load())
		var due <-chan time.Time
		if limit > 0 {
			timer.Reset(max(limit/4, time.Millisecond))
			due = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-s.tuning.retimed:
		case now := <-due:
			for _, c := range s.List() {
				if !c.Blocked && now.Sub(c.LastActive) > limit {
					s.Kill(c.ID)
				}
			}
		}
	}
}
