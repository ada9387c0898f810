package tools

import (
	"context"
	"fmt"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// Env is what verbs need from outside: drivers, policy, the user's objects, and where words go.
type Env = chain.Env

// Cache is a cache mode (-t, -T).
type Cache struct {
	Direct       bool // O_DIRECT (none, directsync)
	NoFlush      bool // nothing is forced to stable storage (unsafe)
	WriteThrough bool // each write is followed by a flush (writethrough, directsync)
}

// ParseCache reads the name of a cache mode; false if there is none of that name.
func ParseCache(mode string) (Cache, bool) {
	switch mode {
	case "none", "off":
		return Cache{Direct: true}, true
	case "writeback":
		return Cache{}, true
	case "unsafe":
		return Cache{NoFlush: true}, true
	case "writethrough":
		return Cache{WriteThrough: true}, true
	case "directsync":
		return Cache{Direct: true, WriteThrough: true}, true
	}
	return Cache{}, false
}

// Flags are the flags that open an image in this mode.
func (c Cache) Flags() formats.OpenFlags {
	var f formats.OpenFlags
	if c.Direct {
		f |= formats.Direct
	}
	if c.NoFlush {
		f |= formats.NoFlush
	}
	if c.WriteThrough {
		f |= formats.WriteThrough
	}
	return f
}

// Source says which image a verb is to open.
type Source struct {
	Filename   string // a path, a name with a protocol prefix, json:…, or an option string if ImageOpts
	ImageOpts  bool   // Filename is driver=…,file.filename=…
	Format     string // driver name; "" probes, unless SetFormat gave it
	Cache      Cache
	ForceShare bool // -U: take no lock that excludes other users

	named bool // a format was given, though its name may be ""
}

// SetFormat gives the format as the user did: an empty name is one that does not exist.
func (s *Source) SetFormat(name string) { s.Format, s.named = name, true }

// Open opens the image; flags are those that the verb itself needs. Errors are complete: they name the image.
func (s Source) Open(ctx context.Context, env *Env, flags formats.OpenFlags) (*chain.Node, error) {
	r := chain.Request{Filename: s.Filename, Format: s.Format, Flags: flags | s.Cache.Flags()}
	if s.ImageOpts {
		if s.Format != "" || s.named {
			return nil, qerr.New(syscall.EINVAL, "--image-opts and --format are mutually exclusive")
		}
		opts, err := ImageOpts(env, s.Filename)
		if err != nil {
			return nil, err
		}
		r.Filename, r.Options = "", opts
	}
	if s.Filename == "" && !s.ImageOpts {
		// An empty name is a file's, too, and the file is what complains of it.
		r.Options = qobj.NewDict()
		r.Options.Set("file.driver", "file")
	}
	if s.named && s.Format == "" {
		return nil, qerr.New(syscall.EINVAL, "Could not open '%s': Unknown driver ''", s.Filename)
	}
	if s.ForceShare {
		if err := forceShare(&r); err != nil {
			return nil, err
		}
	}
	n, err := chain.Open(ctx, env, r)
	return n, qerr.Prepend(err, "Could not open '%s': ", s.Filename)
}

// forceShare puts -U among the options, where it must not meet its opposite.
func forceShare(r *chain.Request) error {
	if r.Options == nil {
		r.Options = qobj.NewDict()
	}
	if v, ok := r.Options.Get("force-share"); ok && v != "on" {
		return qerr.New(syscall.EINVAL, "--force-share/-U conflicts with image options")
	}
	r.Options.Set("force-share", "on")
	return nil
}

// ImageOpts reads the option string that --image-opts makes of a file name, and warns of flags without a value.
func ImageOpts(env *Env, text string) (*qobj.Dict, error) {
	opts, err := qobj.FromOptsString(text, "file")
	if err != nil {
		return nil, err
	}
	for _, w := range qobj.FlagWarnings(text, "file") {
		Warn(env, w)
	}
	opts.Delete("id") // names the option group, not a runtime option
	return opts, nil
}

// Warn reports an error as a warning, hint included.
func Warn(env *Env, err error) {
	text := qerr.Text(err)
	if hint := qerr.Hint(err); hint != "" {
		text += "\n" + hint[:len(hint)-1]
	}
	env.Warn("%s", text)
}

// closing closes n at the end of a verb. What fails then is the error, or, if there is one already, is told after it,
// unless it is an errno without words, which would tell nothing new.
func closing(env *Env, n *chain.Node, err *error) {
	e := n.Close()
	worded, _ := e.(*qerr.Error)
	switch {
	case e == nil:
	case *err == nil:
		*err = e
	case worded != nil:
		*err = qerr.WithHint(*err, fmt.Sprintf("%s: %s\n%s", env.Program, qerr.Text(e), qerr.Hint(e)))
	}
}
