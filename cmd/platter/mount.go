package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"platter/chain"
	"platter/formats/qerr"
	"platter/formats/qobj"
	"platter/fusefs"
	"platter/tools"
)

// mountAction is platter mount.
func mountAction(e *env, c *cli.Context) error {
	o := newMountOptions()
	o.sloppy = e.helper.sloppy
	for _, list := range c.StringSlice("options") {
		if err := o.parse(list); err != nil {
			return err
		}
	}
	o.config.ReadOnly = o.readOnly || o.snapshot != "" || c.Bool("read-only")
	if c.Bool("image-opts") && o.format != "" {
		return qerr.New(syscall.EINVAL, "--image-opts and -o format= are mutually exclusive")
	}
	for _, spec := range c.StringSlice("object") {
		if err := e.addObject(spec); err != nil {
			return err
		}
	}
	args := c.Args().Slice()
	if len(args) < 2 {
		e.report("Expecting an image and a mount point")
		return e.try("mount")
	}
	o.config.Mountpoint, o.config.Interpret = args[len(args)-1], e.interpret
	if e.helper.fake {
		return e.rehearse(c.Context, o, args[:len(args)-1], c.Bool("image-opts"))
	}
	fd := e.readyFD()
	if fd < 0 && !c.Bool("foreground") {
		return exitCode(e.daemonise())
	}
	if fd >= 0 {
		e.nameProcess()
	}
	return e.serve(c.Context, o, args[:len(args)-1], c.Bool("image-opts"), fd)
}

var errAbandoned = errors.New("the process that asked for the mount is gone, so it is unmounted again")

// serve mounts and stays until the tree is unmounted or a signal asks for the end.
func (e *env) serve(ctx context.Context, o *mountOptions, images []string, imageOpts bool, fd int) error {
	ctx, stop := withSignals(ctx)
	defer stop()
	// Before the tree answers: whoever sees it may ask at once, and what nobody catches is lost.
	figures := make(chan os.Signal, 1)
	signal.Notify(figures, syscall.SIGUSR1)
	m, err := e.mount(ctx, o, images, imageOpts)
	if err != nil {
		return err
	}
	if fd >= 0 && !ready(fd) {
		return errors.Join(m.Stop(), errAbandoned)
	}
	e.notifySystemd()
	done := make(chan error, 1)
	go func() { done <- m.Wait() }()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return m.Stop()
		case <-figures:
			if fd < 0 {
				e.stderr.Write(m.Figures())
			} else {
				m.LogFigures() // a daemon has no terminal
			}
		}
	}
}

func (e *env) mount(ctx context.Context, o *mountOptions, images []string, imageOpts bool) (*fusefs.Mount, error) {
	o.config.Source = images[0]
	if abs, err := filepath.Abs(images[0]); err == nil && !imageOpts && !strings.Contains(images[0], ":") {
		o.config.Source = abs
	}
	st, err := os.Stat(images[0])
	if o.overlay && o.snapshot != "" {
		return nil, qerr.New(syscall.EINVAL, "-o overlay and -o snapshot=%s exclude each other: a qcow2 overlay cannot refer to a snapshot of '%s' "+
			"(mount the snapshot alone, read-only, or copy it with 'platter convert -l' and mount the copy)", o.snapshot, images[0])
	}
	if err := fusefs.Vacant(o.config); err != nil {
		return nil, err
	}
	env := e.tools()
	several := len(images) > 1 || err == nil && st.IsDir() && !imageOpts && env.BundleFile(images[0]) == ""
	if several && (imageOpts || o.overlay && o.scratch != "") {
		return nil, qerr.New(syscall.EINVAL, "--image-opts and -o overlay=FILE are for one image only")
	}
	if several && len(images) == 1 {
		return fusefs.NewDirectory(o.config, o.config.Source, e.opener(ctx, o))
	}
	if several {
		return fusefs.NewList(o.config, images, e.opener(ctx, o))
	}
	env.Gate = chain.Gate{Refs: o.refs}
	n, err := openForMount(ctx, env, tools.Source{Filename: images[0], ImageOpts: imageOpts, Format: o.format}, o)
	if err != nil {
		return nil, err
	}
	o.config.ReadOnly = o.config.ReadOnly || n.ReadOnly()
	m, err := fusefs.New(o.config, n, env)
	if err != nil {
		n.Close()
		return nil, err
	}
	return m, nil
}

// opener opens the images of a mount of several.
func (e *env) opener(ctx context.Context, o *mountOptions) fusefs.Opener {
	return func(path string, say func(format string, a ...any)) (*chain.Node, *chain.Env, error) {
		env := e.tools()
		env.Gate = chain.Gate{Refs: o.refs}
		env.Warn, env.Report = say, say
		n, err := openForMount(ctx, env, tools.Source{Filename: path, Format: o.format}, o)
		return n, env, err
	}
}

// unmountAction is platter unmount.
func unmountAction(e *env, c *cli.Context) error {
	if c.Args().Len() != 1 {
		e.report("Expecting one mount point")
		return e.try("unmount")
	}
	return fusefs.Unmount(c.Args().First(), c.Bool("lazy"))
}

// listAction is platter list.
func listAction(e *env, c *cli.Context) error {
	format := lastOf(c.StringSlice("output"))
	if format != "" && format != "human" && format != "json" {
		e.report("--output expects 'human' or 'json' not '%s'", format)
		return e.try("list")
	}
	if c.Args().Present() {
		e.report("Expecting no operands, not '%s'", c.Args().First())
		return e.try("list")
	}
	mounts, err := fusefs.Mounts()
	if err != nil {
		return err
	}
	all := qobj.List{}
	for _, m := range mounts {
		images, err := m.Status()
		d := qobj.NewDict()
		d.Set("mountpoint", m.Mountpoint)
		d.Set("source", m.Source)
		d.Set("alive", err == nil)
		list := qobj.List{}
		for _, i := range images {
			list = append(list, i)
		}
		d.Set("images", list)
		all = append(all, d)
	}
	if format == "json" {
		_, err = e.stdout.Write(append(qobj.AppendJSON(nil, all, true), '\n'))
		return err
	}
	return printMounts(e.stdout, all)
}

func lastOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1]
}

func printMounts(w io.Writer, all qobj.List) error {
	for _, v := range all {
		d := v.(*qobj.Dict)
		mountpoint, _ := d.String("mountpoint")
		source, _ := d.String("source")
		source, mountpoint = visible(source, ""), visible(mountpoint, "")
		if alive, _ := d.Get("alive"); alive != true {
			if _, err := fmt.Fprintf(w, "%s on %s: no answer\n", source, mountpoint); err != nil {
				return err
			}
			continue
		}
		images, _ := d.List("images")
		for _, v := range images {
			i := v.(*qobj.Dict)
			image, _ := i.String("image")
			format, _ := i.String("format")
			pid, _ := i.Get("pid")
			dirty, _ := i.Get("dirty-bytes")
			state := "clean"
			if n, ok := dirty.(int64); ok && n > 0 {
				state = fmt.Sprintf("%d bytes dirty", n)
			} else if d, _ := i.Get("dirty"); d == true {
				state = "dirty"
			}
			if _, err := fmt.Fprintf(w, "%s on %s: format %s, pid %v, %s\n", visible(image, ""), mountpoint, format, pid, state); err != nil {
				return err
			}
		}
	}
	return nil
}
