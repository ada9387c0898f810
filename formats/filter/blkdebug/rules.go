package blkdebug

import (
	"slices"
	"syscall"

	"platter/formats"
)

// sectorSize is the unit of a rule's sector.
const sectorSize = 512

// kind is a kind of request (QAPI BlkdebugIOType).
type kind uint8

const (
	reading kind = iota
	writing
	zeroing
	discarding
	flushing
	asking // block status
)

// allKinds is what a rule without an iotype is for: all that moves or changes data.
const allKinds = 1<<reading | 1<<writing | 1<<zeroing | 1<<discarding | 1<<flushing

var kindNames = []string{"read", "write", "write-zeroes", "discard", "flush", "block-status"}

func parseKind(name string) (kind, bool) {
	k := slices.Index(kindNames, name)
	return kind(k), k >= 0
}

// rule is one of both kinds. QEMU's "immediately" only says whether the caller is made to wait for the error.
type rule struct {
	state     int // 0: any
	setsState bool
	newState  int

	errno syscall.Errno // 0: the request is let through, and later rules are not looked at
	once  bool
	off   int64 // -1: any
	kinds uint8
}

func (r *rule) matches(k kind, off, n int64) bool {
	return r.kinds>>k&1 != 0 && (r.off < 0 || n > 0 && r.off >= off && r.off < off+n)
}

// ruleSet is the rules by event, the last one first.
type ruleSet struct {
	byEvent [formats.EventCount][]*rule
	active  []*rule
}

// Event changes the state and puts rules into force.
func (d *image) Event(e formats.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	next, injected := d.state, false
	for _, r := range d.rules.byEvent[e] {
		switch {
		case r.state != 0 && r.state != d.state:
		case r.setsState:
			next = r.newState
		default:
			if !injected {
				d.rules.active, injected = nil, true
			}
			d.rules.active = append([]*rule{r}, d.rules.active...)
		}
	}
	d.state = next
}

// check is the error that the rules have for a request, nil if it may go on.
func (d *image) check(k kind, off, n int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.rules.active, func(r *rule) bool { return r.matches(k, off, n) })
	if i < 0 || d.rules.active[i].errno == 0 {
		return nil
	}
	r := d.rules.active[i]
	if r.once {
		d.rules.remove(r)
	}
	return r.errno
}

// remove forgets a rule that was to make one request fail.
func (s *ruleSet) remove(r *rule) {
	is := func(o *rule) bool { return o == r }
	s.active = slices.DeleteFunc(s.active, is)
	for e := range s.byEvent {
		s.byEvent[e] = slices.DeleteFunc(s.byEvent[e], is)
	}
}
