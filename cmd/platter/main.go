package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"platter/cmd/platter/internal/getopt"
	"platter/cmd/platter/internal/verb"
	"platter/tools"
)

// version is set when linking.
var version = "unknown"

func main() {
	e := newEnv(os.Args[0])
	e.version, e.getenv = version, os.LookupEnv
	e.stdin, e.stdout, e.stderr = os.Stdin, os.Stdout, os.Stderr
	args := e.asHelper(os.Args[0], os.Args[1:])
	if e.helper.inside != "" {
		e.reportError(e.enterNamespace(os.Args[0])) // returns only if it failed
		os.Exit(1)
	}
	// As in qemu-img, a reader that goes away (| head) does not stop a verb halfway through an image.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(e.main(context.Background(), args))
}

// verbRun is a verb whose command line has been read.
type verbRun interface {
	// run does the work, prints the results and the errors, and gives the exit status.
	run(ctx context.Context, e *env) int
}

// parsers has a function for each verb of qemu-img.
var parsers = map[string]func(*parser) (verbRun, error){
	"amend":    parseAmend,
	"bench":    parseBench,
	"bitmap":   parseBitmap,
	"check":    parseCheck,
	"commit":   parseCommit,
	"compare":  parseCompare,
	"convert":  parseConvert,
	"create":   parseCreate,
	"dd":       parseDD,
	"info":     parseInfo,
	"map":      parseMap,
	"measure":  parseMeasure,
	"rebase":   parseRebase,
	"resize":   parseResize,
	"snapshot": parseSnapshot,
}

// globalSpec has the options that stand before the verb.
var globalSpec = getopt.Spec{
	Short: map[byte]bool{'h': false, 'V': false, 'T': true},
	Long: []getopt.Long{
		{Name: "help", Key: "h"}, {Name: "version", Key: "V"}, {Name: "trace", Key: "T", Value: true},
	},
	Order: getopt.Stop,
}

// main runs a command line, without the program's name, and gives the exit status.
func (e *env) main(ctx context.Context, args []string) int {
	args, err := e.global(args)
	if err != nil {
		return exitStatus(err)
	}
	if err := e.makeTraceFile(); err != nil {
		return exitStatus(err)
	}
	if verb.Find(args[0]) == nil {
		return e.dispatchOwn(ctx, args[0], args[1:])
	}
	run, err := e.parse(args[0], args[1:])
	if err != nil {
		return exitStatus(err)
	}
	ctx, stop := withSignals(ctx)
	defer stop()
	e.interrupted = func() bool { return ctx.Err() != nil }
	return run.run(ctx, e)
}

// parse reads the arguments of one of qemu-img's verbs. The error is an exitCode: what is wrong is already printed.
func (e *env) parse(name string, args []string) (verbRun, error) {
	e.verb = verb.Find(name)
	return parsers[name](newParser(e, e.verb, args))
}

// exitStatus is the one place that turns an error that ended a command into an exit status.
func exitStatus(err error) int {
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, tools.ErrNoChecks):
		return 63
	}
	return 1
}

// damageStatus are the exit statuses of check for what it found.
var damageStatus = map[tools.Damage]int{tools.Healthy: 0, tools.Corrupt: 2, tools.Leaks: 3}

// global reads the options before the verb; what it returns begins with the verb.
func (e *env) global(args []string) ([]string, error) {
	scan := getopt.New(globalSpec, args)
	for {
		it, err := scan.Next()
		if errors.Is(err, getopt.ErrEnd) {
			break
		}
		if err != nil {
			fmt.Fprintf(e.stderr, "%s: %s\n", e.argv0, e.safe(err.Error()))
			return nil, e.try("")
		}
		key := string(rune(it.Short))
		if it.Long != nil {
			key = it.Long.Key
		}
		switch key {
		case "h":
			e.printHelp()
			return nil, exitCode(0)
		case "V":
			io.WriteString(e.stdout, e.versionText())
			return nil, exitCode(0)
		default:
			if err := e.trace(it.Value); err != nil {
				return nil, err
			}
		}
	}
	if args = scan.Operands(); len(args) == 0 {
		e.report("Not enough arguments")
		return nil, e.try("")
	}
	return args, nil
}

// notFound says that there is no such verb.
func (e *env) notFound(name string) int {
	e.report("Command not found: %s", name)
	if near := nearest(name, e.verbNames()); !e.stock && near != "" {
		fmt.Fprintf(e.stderr, "Did you mean '%s'?\n", near)
	}
	return exitStatus(e.try(""))
}

func (e *env) verbNames() []string {
	var names []string
	for _, v := range verb.All() {
		names = append(names, v.Name)
	}
	if !e.stock {
		for _, v := range verb.Own() {
			names = append(names, v.Name)
		}
	}
	return names
}

// suggestOption adds, in platter mode, the option that was probably meant.
func (p *parser) suggestOption(err error) {
	_, quoted, ok := strings.Cut(err.Error(), "unrecognized option '--")
	if p.stock || !ok {
		return
	}
	wrong, _, _ := strings.Cut(strings.TrimSuffix(quoted, "'"), "=")
	var names []string
	for _, l := range p.verb.Spec(true).Long {
		names = append(names, l.Name)
	}
	if near := nearest(wrong, names); near != "" {
		fmt.Fprintf(p.stderr, "Did you mean '--%s'?\n", near)
	}
}
