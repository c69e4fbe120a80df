package server

import (
	"context"
	"fmt"
)

// Shutdown stops accepting, answers the commands that are under way, and
// closes every connection; what clients have sent beyond those is not run.
// When ctx ends first, the rest is cut off and ctx's error returned. The
// server cannot be started again. Calls after the first wait for it and return
// what it returned; one before Start does nothing.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.sockets == nil {
		return nil
	}
	s.shutdown.Do(func() { s.shutdownErr = s.close(ctx) })
	return s.shutdownErr
}

func (s *Server) close(ctx context.Context) error {
	s.sockets.StopAccepting()
	err := s.drain(ctx)
	s.stop()
	s.workers.close()
	s.keeper.Wait()
	if closeErr := s.sockets.Close(); closeErr != nil && err == nil {
		err = fmt.Errorf("close the clients' connections: %w", closeErr)
	}
	return err
}

// drain ends all sessions and waits for the last.
func (s *Server) drain(ctx context.Context) error {
	empty := make(chan struct{})
	s.mu.Lock()
	s.draining = true
	if len(s.sessions) == 0 {
		close(empty)
	} else {
		s.empty = empty
	}
	s.mu.Unlock()
	for _, n := range s.all() {
		n.conn.Post((*endWork)(n))
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("answer the last commands: %w", ctx.Err())
	}
}
