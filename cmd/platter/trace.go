package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

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
	enable, events, given := "", "", false
	e.warnFlags(list, "enable")
	for o := range qobj.Opts(list, "enable") {
		switch {
		case o.Name == "enable":
			enable, given = o.Value, true
		case o.Name == "events":
			events = o.Value
		case o.Name == "file":
			e.traceFile, e.hasTraceFile = o.Value, true
		case o.Name != "id" && !slices.Contains(traceNames, o.Name):
			e.report("Invalid parameter '%s'", o.Name)
			return exitCode(1)
		}
	}
	if given {
		if err := e.enableEvents(enable, ""); err != nil {
			return err
		}
	}
	if events == "" {
		return nil
	}
	return e.eventsFile(events)
}

// enableEvents warns of a name that is no event, with the place where it stands if that is a file; "help" lists the events.
func (e *env) enableEvents(name, place string) error {
	if option.HasHelp(name) {
		io.WriteString(e.stdout, traceEvents)
		return exitCode(0)
	}
	name = strings.TrimPrefix(name, "-")
	if !strings.Contains(name, "*") && !slices.Contains(strings.Fields(traceEvents), name) {
		fmt.Fprintf(e.stderr, "%s:%s warning: trace event '%s' does not exist\n", e.program, place, name)
	}
	return nil
}

// eventsFile reads a file of event names, one a line, "#" for comments.
func (e *env) eventsFile(name string) error {
	b, err := os.ReadFile(name)
	if errors.Is(err, syscall.EISDIR) {
		return nil // it can be opened, and has no lines
	}
	if err != nil {
		// The colon alone is stock's: it prints the place where the option stood, which is the program.
		io.WriteString(e.stderr, e.safe(e.program+":"+name+": "+qerr.Text(err))+"\n")
		return exitCode(1)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		// Stock cuts the last character off, which need not be the end of the line.
		if line = line[:len(line)-1]; line != "" && line[0] != '#' {
			if err := e.enableEvents(line, fmt.Sprintf("%s:%d:", name, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeTraceFile makes the file in which stock would write events; "%d" in its name is the process.
func (e *env) makeTraceFile() error {
	if !e.hasTraceFile {
		return nil
	}
	name := e.traceFile
	if before, after, ok := strings.Cut(name, "%"); ok {
		if !strings.HasPrefix(after, "d") || strings.Contains(after, "%") {
			e.report("Bad logfile template: %s", name)
			return exitCode(1)
		}
		name = before + strconv.Itoa(os.Getpid()) + after[1:]
	}
	f, err := os.Create(name)
	if err != nil {
		e.report("Error opening logfile %s: %s", name, qerr.Text(err))
		return exitCode(1)
	}
	f.Close()
	return nil
}
