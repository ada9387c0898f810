package main

import (
	"context"
	"io"
	"math"

	"platter/formats/option"
	"platter/tools"
	"platter/tools/render"
)

// convertArgs is what the command line of convert says.
type convertArgs struct {
	Sources         []string
	Target          string
	ImageOpts       bool
	Format          *string // of the sources; nil if it is to be probed
	Snapshot        snapshotParam
	SourceCache     tools.Cache
	TargetFormat    string // "" only with TargetImageOpts
	formatGiven     bool
	TargetImageOpts bool
	TargetCache     string // as given, "unsafe" by default: qemu-img looks at it only after opening the sources
	Options         string // joined -o lists
	OptionsHelp     bool   // list the options of TargetFormat instead; Sources is empty, Target may be ""
	Compress        bool
	Backing         *string
	BackingFormat   *string
	NoCreate        bool
	TargetIsZero    bool
	SparseSize      int64 // bytes of zeroes that are left out; 0: none are looked for
	SparseSizeGiven bool
	Bitmaps         bool
	SkipBroken      bool
	ForceShare      bool
	Rate            int64 // bytes a second; 0: no limit
	Parallel        int64
	CopyRange       bool
	Salvage         bool
	OutOfOrder      bool
	Progress        bool
	Quiet           bool
}

const (
	maxCoroutines = 16
	maxSparse     = 16 << 20 // bytes
)

// long: one case for each option.
func parseConvert(p *parser) (verbRun, error) {
	a := convertArgs{TargetCache: "unsafe", SparseSize: 4096, Parallel: 8}
	sourceCache := "writeback"
	for p.next() {
		switch p.key {
		case "quiet":
			a.Quiet = true
		case "progress":
			a.Progress = true
		case "source-format":
			format := p.value
			a.Format = &format
		case "image-opts":
			a.ImageOpts = true
		case "snapshot":
			p.snapshotParam(&a.Snapshot)
		case "source-cache":
			sourceCache = p.value
		case "output-format":
			a.TargetFormat, a.formatGiven = p.value, true
		case "target-image-opts":
			a.TargetImageOpts = true
		case "options":
			p.options(&a.Options)
		case "compress":
			a.Compress = true
		case "output-cache":
			a.TargetCache = p.value
		case "backing":
			backing := p.value
			a.Backing = &backing
		case "backing-format":
			format := p.value
			a.BackingFormat = &format
		case "no-create":
			a.NoCreate = true
		case "target-is-zero":
			a.TargetIsZero = true
		case "sparse-size":
			a.SparseSize, a.SparseSizeGiven = p.sparseSize(), true
		case "bitmaps":
			a.Bitmaps = true
		case "skip-broken-bitmaps":
			a.SkipBroken = true
		case "force-share":
			a.ForceShare = true
		case "rate":
			a.Rate = p.size("rate limit", 0, math.MaxInt64)
		case "parallel":
			a.Parallel = p.count("number of coroutines", 1, maxCoroutines)
		case "copy-range-offloading":
			a.CopyRange = true
		case "salvage":
			a.Salvage = true
		case "oob-writes":
			a.OutOfOrder = true
		case "object":
			p.object(1)
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	a.Progress = a.Progress && !a.Quiet
	if err := a.contradiction(p); err != nil {
		return nil, err
	}
	return a.operands(p, sourceCache)
}

// sparseSize reads the value of -S.
func (p *parser) sparseSize() int64 {
	n := p.size("buffer size for sparse output", 0, math.MaxInt64)
	if p.err == nil && (n%512 != 0 || n > maxSparse) {
		p.fail("Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to %d. "+
			"Select 0 to disable sparse detection (fully allocates output).", maxSparse)
	}
	return n
}

// contradiction finds options that do not go together.
func (a *convertArgs) contradiction(p *parser) error {
	if !a.formatGiven && !a.TargetImageOpts {
		a.TargetFormat = "raw"
	}
	switch {
	case a.Compress && a.CopyRange:
		return p.fail("Cannot enable copy offloading when -c is used")
	case a.SparseSizeGiven && a.CopyRange:
		return p.fail("Cannot enable copy offloading when -S is used")
	case a.Salvage && a.CopyRange:
		return p.fail("Cannot use copy offloading in salvaging mode")
	case a.SkipBroken && !a.Bitmaps:
		return p.fail("Use of --skip-broken-bitmaps requires --bitmaps")
	case a.TargetImageOpts && !a.NoCreate:
		return p.fail("--target-image-opts requires use of -n flag")
	case a.NoCreate && a.Options != "":
		return p.fail("-o has no effect when skipping image creation")
	case a.TargetIsZero && !a.NoCreate:
		return p.fail("--target-is-zero requires use of -n flag")
	}
	return nil
}

func (a *convertArgs) operands(p *parser, sourceCache string) (verbRun, error) {
	last := len(p.args) - 1
	if last >= 1 {
		a.Target = p.args[last]
	}
	if option.HasHelp(a.Options) {
		a.OptionsHelp = true
		return a, nil
	}
	if last < 1 {
		return nil, p.fail("Must specify image file name")
	}
	a.Sources = p.args[:last]
	a.SourceCache = p.cacheMode(sourceCache, "source cache")
	return a, p.err
}

func (a *convertArgs) run(ctx context.Context, e *env) int {
	if a.OptionsHelp {
		return a.help(e)
	}
	o := tools.ConvertOptions{
		Target: a.Target, TargetFormat: a.TargetFormat, TargetImageOpts: a.TargetImageOpts, TargetCache: a.TargetCache,
		Options: a.Options, Compress: a.Compress, Backing: a.Backing, BackingFormat: a.BackingFormat,
		NoCreate: a.NoCreate, TargetIsZero: a.TargetIsZero, SparseSize: a.SparseSize, Bitmaps: a.Bitmaps,
		SkipBroken: a.SkipBroken, Rate: a.Rate, Parallel: int(a.Parallel), OutOfOrder: a.OutOfOrder,
		CopyRange: a.CopyRange, Salvage: a.Salvage, Quiet: a.Quiet, Snapshot: a.Snapshot.tools(),
	}
	for _, name := range a.Sources {
		s := tools.Source{Filename: name, ImageOpts: a.ImageOpts, Cache: a.SourceCache, ForceShare: a.ForceShare}
		if a.Format != nil {
			s.SetFormat(*a.Format)
		}
		o.Sources = append(o.Sources, s)
	}
	p := e.progress(a.Progress, a.Quiet)
	o.Meter = p.Meter
	err := tools.Convert(ctx, e.tools(), o)
	p.End()
	return e.finish(err)
}

// help lists the options of the target's format.
func (a *convertArgs) help(e *env) int {
	schema, err := tools.CreateHelp(e.tools(), a.TargetFormat, a.Target)
	if err == nil {
		io.WriteString(e.stdout, render.CreateHelp(schema, a.TargetFormat, a.Target != ""))
	}
	return e.finish(err)
}
