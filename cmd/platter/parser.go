package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"syscall"

	"platter/cmd/platter/internal/getopt"
	"platter/cmd/platter/internal/verb"
	"platter/formats/option"
	"platter/tools"
)

// parser walks through the options of one verb. A verb's parse function calls next in a loop and looks at key and value.
// The methods that read a value complain as qemu-img does and end the loop; err then says how to exit.
type parser struct {
	*env
	verb  *verb.Verb
	scan  *getopt.Scanner
	key   string   // the option that next found, by its verb.Row.Key; "" for an operand of a verb that wants them in order
	value string   // its value, or the operand
	err   error    // an exitCode once parsing has failed, or help was printed
	args  []string // operands, once next has returned false
}

func newParser(e *env, v *verb.Verb, args []string) *parser {
	spec := v.Spec(!e.stock)
	if spec.Order == getopt.Permute && e.posixly() {
		spec.Order = getopt.Stop
	}
	return &parser{env: e, verb: v, scan: getopt.New(spec, args)}
}

// posixly says whether options end at the first operand.
func (e *env) posixly() bool {
	_, set := e.getenv("POSIXLY_CORRECT")
	return set
}

// next reads the next option. It returns false at the end, with the operands in args, or if err is set.
func (p *parser) next() bool {
	if p.err != nil {
		return false
	}
	it, err := p.scan.Next()
	switch {
	case errors.Is(err, getopt.ErrEnd):
		p.args = p.scan.Operands()
		return false
	case err != nil:
		fmt.Fprintf(p.stderr, "%s %s: %s\n", p.argv0, p.verb.Name, p.safe(err.Error()))
		p.suggestOption(err)
		p.err = p.try(p.verb.Name)
		return false
	}
	p.value = it.Value
	switch {
	case it.Operand:
		p.key = ""
	case it.Long != nil:
		p.key = it.Long.Key
	case it.Short == 'h':
		p.key = "help"
	default:
		p.key = p.verb.Lookup(it.Short, "").Key()
	}
	if why, unfit := p.unfit[p.key]; unfit && !it.Operand {
		p.fail("option '%s' does nothing here: %s", spelled(it), why)
		return false
	}
	if p.key == "help" && !it.Operand {
		io.WriteString(p.stdout, p.verb.Help(p.name(), p.stock))
		p.err = exitCode(0)
		return false
	}
	return true
}

// spelled is an option as it can be written.
func spelled(it getopt.Item) string {
	if it.Long != nil {
		return "--" + it.Long.Name
	}
	return "-" + string(rune(it.Short))
}

// fail reports a message and ends parsing with exit status 1.
func (p *parser) fail(format string, a ...any) error {
	p.report(format, a...)
	p.err = exitCode(1)
	return p.err
}

// usage is fail followed by the line that points to the help.
func (p *parser) usage(format string, a ...any) error {
	p.report(format, a...)
	p.err = p.try(p.verb.Name)
	return p.err
}

// size reads the option's value as a size of at least low and at most high bytes; name is what the message calls it.
func (p *parser) size(name string, low, high int64) int64 {
	n, err := option.ParseSize(p.value)
	return p.number(name, p.value, n, err, low, high)
}

// count reads the option's value as a plain integer.
func (p *parser) count(name string, low, high int64) int64 {
	n, err := option.ParseUint(p.value)
	return p.number(name, p.value, n, err, low, high)
}

func (p *parser) number(name, text string, n uint64, err error, low, high int64) int64 {
	switch {
	case errors.Is(err, syscall.EINVAL):
		p.fail("Invalid %s specified: '%s'.", name, text)
	case err != nil || n > math.MaxInt64 || int64(n) < low || int64(n) > high:
		p.fail("Invalid %s specified. Must be between %d and %d.", name, low, high)
	}
	return int64(n)
}

// options adds the option's value to a list of -o options.
func (p *parser) options(list *string) {
	if !option.IsValidList(p.value) {
		p.fail("Invalid option list: %s", p.value)
		return
	}
	if *list != "" {
		*list += ","
	}
	*list += p.value
}

// json reads the value of --output.
func (p *parser) json() bool {
	if p.value != "json" && p.value != "human" {
		p.usage("--output expects 'human' or 'json' not '%s'", p.value)
	}
	return p.value == "json"
}

// object does what --object asks for. code is the exit status if it cannot.
func (p *parser) object(code exitCode) {
	if p.err = p.addObject(p.value); exitStatus(p.err) != 0 {
		p.err = code
	}
}

// cacheMode reads a cache mode when all options are read, as most verbs do; what names it in the message.
func (p *parser) cacheMode(mode, what string) tools.Cache {
	c, ok := tools.ParseCache(mode)
	if !ok {
		p.fail("Invalid %s option: %s", what, mode)
	}
	return c
}
