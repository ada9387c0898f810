package main

import (
	_ "embed"
	"io"
	"os"
	"slices"
	"strings"

	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// traceEvents are the names that stock's -T help lists. platter records none of them: -T is there for scripts that
// give it, and behaves as with a stock whose events do not happen.
//
//go:embed trace-events.txt
var traceEvents string

var traceNames = []string{"enable", "events", "file"}

// trace reads the value of -T.
func (e *env) trace(list string) error {
	enable, events := "", ""
	e.warnFlags(list, "enable")
	for o := range qobj.Opts(list, "enable") {
		switch {
		case o.Name == "enable":
			enable = o.Value
		case o.Name == "events":
			events = o.Value
		case o.Name != "id" && !slices.Contains(traceNames, o.Name):
			e.report("Invalid parameter '%s'", o.Name)
			return exitCode(1)
		}
	}
	if err := e.enableEvents(enable, list != ""); err != nil || events == "" {
		return err
	}
	return e.eventsFile(events)
}

// enableEvents warns of a name that is no event; "help" lists the events.
func (e *env) enableEvents(name string, given bool) error {
	if given && option.HasHelp(name) {
		io.WriteString(e.stdout, traceEvents)
		return exitCode(0)
	}
	if name = strings.TrimPrefix(name, "-"); given && !strings.Contains(name, "*") && !slices.Contains(strings.Fields(traceEvents), name) {
		e.warn("trace event '%s' does not exist", name)
	}
	return nil
}

// eventsFile reads a file of event names, one a line, "#" for comments.
func (e *env) eventsFile(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		// The colon alone is stock's: it prints the place where the option stood, which is the program.
		io.WriteString(e.stderr, e.program+":"+name+": "+qerr.Text(err)+"\n")
		return exitCode(1)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			if err := e.enableEvents(line, true); err != nil {
				return err
			}
		}
	}
	return nil
}
