package server

import (
	"cmp"
	"slices"
	"time"

	"kvstore/server/command"
)

// List returns a copy of every client as it was at the end of its last turn,
// by id.
func (s *Server) List() []command.ClientInfo {
	sessions := s.all()
	infos := make([]command.ClientInfo, len(sessions))
	for i, n := range sessions {
		n.mu.Lock()
		infos[i] = n.info
		n.mu.Unlock()
	}
	slices.SortFunc(infos, func(a, b command.ClientInfo) int { return cmp.Compare(a.ID, b.ID) })
	return infos
}

// Count is how many clients there are, and how many of them wait for a worker.
func (s *Server) Count() (connected, blocked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions), int(s.blocked.Load())
}

// killTime is how long a client that is to be closed may take to read its last
// replies.
const killTime = 5 * time.Second

// Kill closes a client's connection when what it has under way is answered, and
// after killTime in any case.
func (s *Server) Kill(id uint64) bool {
	s.mu.Lock()
	n := s.sessions[id]
	s.mu.Unlock()
	if n == nil {
		return false
	}
	n.conn.Post((*endWork)(n))
	time.AfterFunc(killTime, n.conn.Abort)
	return true
}

// endWork ends a session from its loop.
type endWork session

func (w *endWork) Run() {
	if s := (*session)(w); !s.closed && !s.ending {
		s.finish()
	}
}

func (s *Server) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	sessions := make([]*session, 0, len(s.sessions))
	for _, n := range s.sessions {
		sessions = append(sessions, n)
	}
	return sessions
}

// forget removes a session that has closed.
func (s *Server) forget(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, n.ID)
	if len(s.sessions) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}
