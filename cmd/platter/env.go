package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"platter/chain"
	"platter/cmd/platter/internal/object"
	"platter/cmd/platter/internal/progress"
	"platter/cmd/platter/internal/verb"
	"platter/formats"
	"platter/formats/all"
	"platter/formats/qerr"
	"platter/tools"
)

// env is the world as verbs see it.
type env struct {
	stock   bool   // called as qemu-img
	program string // name in messages: the base name of argv[0]
	argv0   string // argv[0] as given; getopt's messages and "Try …" lines show it
	version string
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	getenv  func(string) (string, bool)
	verb    *verb.Verb // the verb that runs, if it is one of qemu-img's
	objects object.Set
	helper  helperFlags
	unfit   map[string]string // why options of qemu-img's verbs cannot be given here, by key; nil where all can
	// interrupted says whether a signal has asked the verb to stop; nil where none does.
	interrupted func() bool

	traceFile    string // of -T file=
	hasTraceFile bool
}

func newEnv(argv0 string) *env {
	e := &env{program: filepath.Base(argv0), argv0: argv0}
	e.stock = strings.HasPrefix(e.program, "qemu-img")
	if !e.stock {
		e.program, e.argv0 = "platter", "platter"
	}
	return e
}

// exitCode ends a command whose message, if any, is already printed.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit status %d", int(c)) }

// report prints an error message.
func (e *env) report(format string, a ...any) {
	fmt.Fprintf(e.stderr, "%s: %s\n", e.program, e.safe(fmt.Sprintf(format, a...)))
}

// reportError prints an error with its hint.
func (e *env) reportError(err error) {
	e.report("%s", qerr.Text(err))
	io.WriteString(e.stderr, e.safe(qerr.Hint(err)))
	e.hints(err)
}

// finish reports the error with which a verb ended, if there is one, and gives the exit status.
func (e *env) finish(err error) int {
	switch {
	case errors.Is(err, context.Canceled), err != nil && e.interrupted != nil && e.interrupted():
		// Whatever the verb made of it, this is the reason; what could not be brought to an end is told as well.
		e.report("Interrupted by a signal before the work was complete")
		io.WriteString(e.stderr, e.safe(qerr.Hint(err)))
	case err != nil:
		e.reportError(err)
	}
	return exitStatus(err)
}

// say prints a result, unless the user wants quiet.
func (e *env) say(quiet bool, text string) {
	if !quiet {
		io.WriteString(e.stdout, e.safe(text))
	}
}

// warn prints a warning.
func (e *env) warn(format string, a ...any) { e.report("warning: "+format, a...) }

// try prints the line that points to the help of a verb, or to the general help if verb is "".
func (e *env) try(verb string) exitCode {
	fmt.Fprintf(e.stderr, "Try '%s --help' for more info\n", strings.TrimSpace(e.argv0+" "+verb))
	return 1
}

// name is what help texts call the program.
func (e *env) name() string {
	if e.stock {
		return "qemu-img"
	}
	return "platter"
}

// tools gives what the verbs in package tools need.
func (e *env) tools() *tools.Env {
	return &chain.Env{
		Registry: e.registry(),
		Env: &formats.Env{
			Secret: e.objects.Secret,
			Object: e.objects.Object,
			Warn:   e.warn,
			Report: func(format string, a ...any) { io.WriteString(e.stderr, e.safe(fmt.Sprintf(format, a...))+"\n") },

			Beyond:  !e.stock,
			Program: e.program,
		},
	}
}

// registry has the drivers; platter's own mode offers more options of create.
func (e *env) registry() *formats.Registry {
	if e.stock {
		return all.Registry()
	}
	return all.Registry().Beyond()
}

// progress begins to show how far a verb is; on is -p without -q. The caller ends it with End, also after a failure.
func (e *env) progress(on, quiet bool) *progress.Progress {
	switch {
	case !e.stock && !quiet && progress.IsTerminal(e.stderr):
		return progress.Bar(e.stderr)
	case on:
		return progress.Line(e.stdout)
	}
	return progress.OnRequest(e.stderr)
}

// progressFailed ends the progress line of a verb that fails after stock has begun it.
func (e *env) progressFailed(on bool) {
	if on && e.stock {
		progress.EndLine(e.stdout)
	}
}

// addObject does what --object asks for. The error is an exitCode, and everything is printed already.
func (e *env) addObject(spec string) error {
	help, err := e.objects.Add(spec)
	switch {
	case err != nil:
		e.reportError(err)
		return exitCode(1)
	case help != "":
		io.WriteString(e.stdout, help)
		return exitCode(0)
	}
	return nil
}
