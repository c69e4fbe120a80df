package replica

import "kvstore/cluster/ring"

// queue is the tasks parked on one token, in order of arrival.
type queue struct {
	tasks []Task
	next  int // those before it have been taken
}

// park puts a task behind those parked on its token. The caller holds mu.
func (s *stripe) park(t ring.Token, task Task) {
	q := s.parked[t]
	if q == nil {
		if s.parked == nil {
			s.parked = make(map[ring.Token]*queue)
		}
		q = new(queue)
		s.parked[t] = q
	}
	if len(q.tasks) == cap(q.tasks) && 2*q.next >= len(q.tasks) { // a queue that never ends keeps its array
		left := copy(q.tasks, q.tasks[q.next:])
		clear(q.tasks[left:])
		q.tasks, q.next = q.tasks[:left], 0
	}
	q.tasks = append(q.tasks, task)
}

// take removes and returns the first task parked on a token, nil when there is
// none. The caller holds mu.
func (s *stripe) take(t ring.Token) Task {
	q := s.parked[t]
	if q == nil {
		return nil
	}
	task := q.tasks[q.next]
	q.tasks[q.next] = nil
	if q.next++; q.next == len(q.tasks) {
		delete(s.parked, t)
	}
	return task
}
