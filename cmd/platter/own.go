package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"platter/cmd/platter/internal/verb"
)

// action is what one of platter's own verbs does. The flags of c have the long names of the verb's table.
type action func(e *env, c *cli.Context) error

// ownActions has the verbs that qemu-img does not have. Those with a name that is not in verb.Own are not meant for
// people: completion scripts and make call them.
var ownActions = map[string]action{
	"mount":   mountAction,
	"unmount": unmountAction,
	"list":    listAction,
	"help":    helpAction,
	"version": versionAction,

	"completion": completionAction,
	"complete":   completeAction,
	"gen-man":    genManAction,
}

// dispatchOwn runs one of platter's own verbs. Its arguments are read with getopt's rules, as everywhere, and given to
// the cli library in the one form that it takes: flags as --name=value, then "--", then operands.
func (e *env) dispatchOwn(ctx context.Context, name string, args []string) int {
	if e.stock || ownActions[name] == nil {
		return e.notFound(name)
	}
	app := &cli.App{
		Name: "platter", HelpName: "platter", HideHelp: true, HideVersion: true,
		Reader: e.stdin, Writer: e.stdout, ErrWriter: e.stderr,
		DisableSliceFlagSeparator: true, // -o a,b is one value
		ExitErrHandler:            func(*cli.Context, error) {},
	}
	command := &cli.Command{Name: name, HideHelp: true, Action: func(c *cli.Context) error { return ownActions[name](e, c) }}
	app.Commands = []*cli.Command{command}
	line := []string{"platter", name}
	if v := verb.FindOwn(name); v != nil {
		command.Flags = cliFlags(v)
		p := newParser(e, v, args)
		for p.next() {
			flag := "--" + p.key
			if p.verb.Lookup(0, p.key).Arg != "" {
				flag += "=" + p.value
			}
			line = append(line, flag)
		}
		if p.err != nil {
			return exitStatus(p.err)
		}
		args = p.args
	}
	line = append(append(line, "--"), args...)
	err := app.RunContext(ctx, line)
	var code exitCode
	if err != nil && !errors.As(err, &code) {
		e.reportError(err)
	}
	return exitStatus(err)
}

// cliFlags makes flags of a verb's table. All take lists, so that an option may be repeated.
func cliFlags(v *verb.Verb) []cli.Flag {
	var flags []cli.Flag
	for _, r := range v.Options() {
		if r.Arg == "" {
			flags = append(flags, &cli.BoolFlag{Name: r.Key()})
			continue
		}
		flags = append(flags, &cli.StringSliceFlag{Name: r.Key()})
	}
	return flags
}

func helpAction(e *env, c *cli.Context) error {
	name := c.Args().First()
	if name == "" {
		e.printHelp()
		return nil
	}
	v := verb.Find(name)
	if v == nil {
		v = verb.FindOwn(name)
	}
	if v == nil {
		return exitCode(e.notFound(name))
	}
	if c.Args().Len() > 1 {
		e.report("Expecting one command, not also '%s'", c.Args().Get(1))
		return e.try("help")
	}
	_, err := io.WriteString(e.stdout, v.Help("platter", false))
	return err
}

func versionAction(e *env, c *cli.Context) error {
	if c.Args().Present() {
		e.report("Expecting no operands, not '%s'", c.Args().First())
		return e.try("version")
	}
	_, err := fmt.Fprint(e.stdout, e.versionText())
	return err
}
