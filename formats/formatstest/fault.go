package formatstest

import "syscall"

// Op is a kind of operation on a store's files.
type Op uint8

// The kinds.
const (
	OpRead Op = iota
	OpWrite
	OpFlush
)

// Fault makes operations of one kind fail.
type Fault struct {
	Op    Op
	After int // operations that still succeed
	Once  bool
	Errno syscall.Errno
	hits  int
}

// Hits is how many operations have failed.
func (f *Fault) Hits() int { return f.hits }

// SetFault arms a fault; nil disarms.
func (s *Store) SetFault(f *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// strike decides whether the present operation fails. The store is locked.
func (s *Store) strike(op Op) error {
	f := s.fault
	if f == nil || f.Op != op {
		return nil
	}
	if f.After > 0 {
		f.After--
		return nil
	}
	if f.Once && f.hits > 0 {
		return nil
	}
	f.hits++
	return f.Errno
}
