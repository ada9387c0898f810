package blkdebug

import (
	"context"
	"math"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

var openOpts = option.Schema{
	{Name: "config", Type: option.String, Help: "Path to the configuration file"},
	{Name: "align", Type: option.Size, Help: "Required alignment in bytes"},
	{Name: "max-transfer", Type: option.Size, Help: "Maximum transfer size in bytes"},
	{Name: "opt-write-zero", Type: option.Size, Help: "Optimum write zero alignment in bytes"},
	{Name: "max-write-zero", Type: option.Size, Help: "Maximum write zero size in bytes"},
	{Name: "opt-discard", Type: option.Size, Help: "Optimum discard alignment in bytes"},
	{Name: "max-discard", Type: option.Size, Help: "Maximum discard size in bytes"},
	{Name: injectGroup + "."},
	{Name: setStateGroup + "."},
}

// Driver is the blkdebug filter.
func Driver() *formats.Driver {
	return &formats.Driver{
		Name: "blkdebug", Kind: formats.Filter, Primary: "image", Schemes: []string{"blkdebug"},
		OpenOpts: openOpts,
		StrongOpts: []string{"config", "align", "max-transfer", "opt-write-zero", "max-write-zero", "opt-discard",
			"max-discard", injectGroup + ".", setStateGroup + "."},
		ParseName: parseName, FilterName: filterName, Prepare: prepare, Open: open,
	}
}

// parseName takes blkdebug:CONFIG:IMAGE apart; CONFIG may be empty. Without the prefix it is the image's name.
func parseName(name string, into *qobj.Dict) error {
	rest, ok := strings.CutPrefix(name, "blkdebug:")
	if !ok {
		into.Set(formats.FilterImage, name)
		return nil
	}
	config, image, ok := strings.Cut(rest, ":")
	if !ok {
		return qerr.New(syscall.EINVAL, "blkdebug requires both config file and image path")
	}
	if config != "" {
		into.Set("config", config)
	}
	into.Set(formats.FilterImage, image)
	return nil
}

// filterName is the plain name, as long as a configuration file is all that is said beside the image.
func filterName(opts *qobj.Dict, child string) string {
	config := ""
	for k, v := range opts.All() {
		if k != "config" {
			return ""
		}
		config, _ = v.(string)
	}
	return "blkdebug:" + config + ":" + child
}

// prepare refuses bad rules before the image is opened, and says for what the image is to be opened.
func prepare(opts *qobj.Dict) (use formats.ChildUse, err error) {
	v, err := option.FromDict(openOpts, opts.Clone())
	if err != nil {
		return use, err
	}
	if _, err = readRules(v); err != nil {
		return use, err
	}
	if use.Take, err = takePerms(opts, "take-child-perms."); err != nil {
		return use, err
	}
	use.Unshare, err = takePerms(opts, "unshare-child-perms.")
	return use, err
}

var permNames = []string{"consistent-read", "write", "write-unchanged", "resize"}

func takePerms(opts *qobj.Dict, prefix string) (set formats.Perm, err error) {
	for _, v := range opts.Extract(prefix).All() {
		name, _ := v.(string)
		k := 0
		for k < len(permNames) && permNames[k] != name {
			k++
		}
		if k == len(permNames) {
			return 0, qerr.New(syscall.EINVAL, "Parameter 'null' does not accept value '%s'", name)
		}
		set |= 1 << k
	}
	return set, nil
}

func open(_ context.Context, a formats.OpenArgs) (formats.Image, error) {
	rules, err := readRules(a.Options)
	if err != nil {
		return nil, err
	}
	d := &image{File: a.File, rules: rules, state: 1}
	if err := d.setLimits(a.Options); err != nil {
		return nil, err
	}
	d.Event(formats.EventNone)
	return d, nil
}

// setLimits reads the sizes, each of which must be a multiple of the one that it is laid on.
func (d *image) setLimits(v *option.Values) error {
	d.align = int64(v.Uint("align", 0))
	if a := v.Uint("align", 0); a != 0 && (a >= math.MaxInt32 || a&(a-1) != 0) {
		return qerr.New(syscall.EINVAL, "Cannot meet constraints with align %d", a)
	}
	align := max(d.align, d.File.Limits().Align, 1)
	for _, l := range []struct {
		name string
		into *int64
		unit *int64
	}{
		{"max-transfer", &d.maxTransfer, nil},
		{"opt-write-zero", &d.zeroAlign, nil},
		{"max-write-zero", &d.maxZero, &d.zeroAlign},
		{"opt-discard", &d.discardAlign, nil},
		{"max-discard", &d.maxDiscard, &d.discardAlign},
	} {
		n, unit := v.Uint(l.name, 0), align
		if l.unit != nil {
			unit = max(unit, *l.unit)
		}
		if n != 0 && (n >= math.MaxInt32 || n%uint64(unit) != 0) {
			return qerr.New(syscall.EINVAL, "Cannot meet constraints with %s %d", l.name, n)
		}
		*l.into = int64(n)
	}
	return nil
}
