package getopt

import (
	"errors"
	"fmt"
	"strings"
)

// Order says what happens to an argument that is no option.
type Order int

const (
	// Permute collects operands wherever they stand; options after them still count.
	Permute Order = iota
	// Stop ends the options at the first operand, as POSIX asks (POSIXLY_CORRECT, and options before a verb).
	Stop
	// InOrder hands out each operand in its place, as an Item without an option.
	InOrder
)

// Long is one long name. Two names that are the same option have the same Key: a prefix of both is not ambiguous.
type Long struct {
	Name  string
	Value bool // takes a value
	Key   string
}

// Spec says which options there are.
type Spec struct {
	Short map[byte]bool // letter: takes a value
	Long  []Long        // in the order in which an ambiguous prefix lists them
	Order Order
}

// Item is one option, or (InOrder only) one operand.
type Item struct {
	Short   byte   // the letter, 0 if the long name was used
	Long    *Long  // the long name's entry, nil if a letter was used
	Value   string // the option's value, or the operand
	Operand bool
}

// Scanner walks through arguments.
type Scanner struct {
	spec     Spec
	args     []string
	operands []string
	cluster  string // letters of the current argument that are still to be read
	end      bool
}

// New makes a scanner of args, which do not hold the program's name.
func New(spec Spec, args []string) *Scanner { return &Scanner{spec: spec, args: args} }

// ErrEnd says that there are no more options.
var ErrEnd = errors.New("getopt: no more options")

// Next gives the next option. An error other than ErrEnd is getopt's complaint, without the program's name.
func (s *Scanner) Next() (Item, error) {
	if s.cluster != "" {
		return s.letter()
	}
	for !s.end && len(s.args) > 0 {
		arg := s.args[0]
		switch {
		case arg == "--":
			s.args = s.args[1:]
			s.end = true
		case strings.HasPrefix(arg, "--"):
			s.args = s.args[1:]
			return s.long(arg[2:])
		case len(arg) > 1 && arg[0] == '-':
			s.args = s.args[1:]
			s.cluster = arg[1:]
			return s.letter()
		case s.spec.Order == InOrder:
			s.args = s.args[1:]
			return Item{Operand: true, Value: arg}, nil
		case s.spec.Order == Stop:
			s.end = true
		default:
			s.args = s.args[1:]
			s.operands = append(s.operands, arg)
		}
	}
	return Item{}, ErrEnd
}

// Operands gives, after ErrEnd, the arguments that are no options, in their order.
func (s *Scanner) Operands() []string {
	return append(s.operands[:len(s.operands):len(s.operands)], s.args...)
}

// Peek gives the argument that would be read next, whatever it is.
func (s *Scanner) Peek() (string, bool) {
	if len(s.args) == 0 {
		return "", false
	}
	return s.args[0], true
}

// Skip takes the argument that Peek gave, so that it is not read as an option.
func (s *Scanner) Skip() { s.args = s.args[1:] }

func (s *Scanner) letter() (Item, error) {
	c := s.cluster[0]
	s.cluster = s.cluster[1:]
	value, known := s.spec.Short[c]
	if !known {
		return Item{}, fmt.Errorf("invalid option -- '%s'", string([]byte{c}))
	}
	it := Item{Short: c}
	if !value {
		return it, nil
	}
	if s.cluster != "" {
		it.Value, s.cluster = s.cluster, ""
		return it, nil
	}
	if len(s.args) == 0 {
		return Item{}, fmt.Errorf("option requires an argument -- '%s'", string([]byte{c}))
	}
	it.Value, s.args = s.args[0], s.args[1:]
	return it, nil
}

func (s *Scanner) long(arg string) (Item, error) {
	name, value, stuck := strings.Cut(arg, "=")
	l, rivals := s.find(name)
	switch {
	case len(rivals) > 0:
		return Item{}, fmt.Errorf("option '--%s' is ambiguous; possibilities: '--%s'", arg, strings.Join(rivals, "' '--"))
	case l == nil:
		return Item{}, fmt.Errorf("unrecognized option '--%s'", arg)
	case stuck && !l.Value:
		return Item{}, fmt.Errorf("option '--%s' doesn't allow an argument", l.Name)
	case stuck:
		return Item{Long: l, Value: value}, nil
	case !l.Value:
		return Item{Long: l}, nil
	case len(s.args) == 0:
		return Item{}, fmt.Errorf("option '--%s' requires an argument", l.Name)
	}
	value, s.args = s.args[0], s.args[1:]
	return Item{Long: l, Value: value}, nil
}

// find gives the option of that name, or the only one that begins so; rivals are the names of an ambiguous prefix: the
// first that fits and those that fit and are another option than that.
func (s *Scanner) find(name string) (l *Long, rivals []string) {
	for i := range s.spec.Long {
		if s.spec.Long[i].Name == name {
			return &s.spec.Long[i], nil
		}
	}
	for i := range s.spec.Long {
		c := &s.spec.Long[i]
		switch {
		case !strings.HasPrefix(c.Name, name):
		case l == nil:
			l = c
		case c.Key != l.Key || c.Value != l.Value:
			if rivals == nil {
				rivals = []string{l.Name}
			}
			rivals = append(rivals, c.Name)
		}
	}
	return l, rivals
}
