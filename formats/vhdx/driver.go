package vhdx

import (
	"context"
	"errors"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
)

// Driver is the VHDX format.
func Driver() *formats.Driver {
	return &formats.Driver{
		Name: "vhdx", Kind: formats.Format, Backing: true,
		CreateOpts: option.Schema{
			{Name: "size", Type: option.Size, Help: "Virtual disk size; max of 64TB."},
			{Name: "log_size", Type: option.Size, Help: "Log size; min 1MB.", Default: "1048576"},
			{Name: "block_size", Type: option.Size, Default: "0",
				Help: "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size."},
			{Name: "subformat", Type: option.String,
				Help: "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'."},
			{Name: "block_state_zero", Type: option.Bool, Help: "Force use of payload blocks of type 'ZERO'. " +
				"Non-standard, but default.  Do not set to 'off' when using 'qemu-img convert' with subformat=dynamic."},
		},
		Probe: func(head []byte, _ string) int {
			if len(head) >= len(signature) && string(head[:len(signature)]) == signature {
				return 100
			}
			return 0
		},
		BeyondOpts: option.Schema{
			{Name: "backing_file", Type: option.String, Help: "File name of the parent, which makes a differencing image"},
			{Name: "backing_fmt", Type: option.String, Help: "Must be 'vhdx' if present"},
		},
		Open:        open,
		CreateNeeds: createNeeds,
		Create:      create,
	}
}

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	d, err := load(ctx, a)
	if err == nil {
		return d, nil
	}
	var said *qerr.Error
	if errors.As(err, &said) {
		return nil, err
	}
	return nil, qerr.Errno(qerr.Of(err), "Could not open '%s'", a.Name)
}

// load reads what describes the image, in QEMU's order.
func load(ctx context.Context, a formats.OpenArgs) (*image, error) {
	d := &image{file: a.File, env: a.Env, heads: headers{file: a.File}, flags: a.Flags, writable: a.Flags.Has(formats.ReadWrite),
		meta: sectors{file: a.File, all: map[int64]*sector{}}, pending: map[int64]bool{}}
	d.free.L = &d.mu
	magic := make([]byte, len(signature))
	if err := a.File.ReadAt(ctx, magic, 0); err != nil {
		return nil, err
	}
	if string(magic) != signature {
		return nil, syscall.EINVAL
	}
	if err := d.heads.load(ctx); err != nil {
		return nil, err
	}
	h := d.heads.now()
	d.taken.all = append(d.taken.all, span{h.logOffset(), h.logOffset() + uint64(h.logLength())})
	if err := d.recover(ctx, a); err != nil {
		return nil, err
	}
	var err error
	if d.regions, err = loadRegions(ctx, d.file, &d.taken, a.Env); err != nil {
		return nil, err
	}
	if d.head, err = loadMetadata(ctx, d.file, d.regions); err != nil {
		return nil, err
	}
	return d, d.loadBAT(ctx, a)
}

// loadBAT checks the BAT, of which nothing is kept.
func (d *image) loadBAT(ctx context.Context, a formats.OpenArgs) error {
	if d.head.batEntries() > d.regions.batLen/8 {
		return syscall.EINVAL
	}
	first, err := d.meta.word(ctx, d.regions.bat)
	if err != nil {
		return err
	}
	d.fixed = first&stateMask == statePresent
	d.end = (d.file.Size() + mib - 1) / mib * mib
	if a.Flags.Has(formats.ForCheck) {
		return nil
	}
	return d.checkBAT(ctx, a.Env, nil)
}

// recover replays the log if that is needed, and finds the place for new entries.
func (d *image) recover(ctx context.Context, a formats.OpenArgs) error {
	h := d.heads.now()
	off, length, err := logArea(h)
	if err != nil {
		return err
	}
	if h.logLength()%mib == 0 && h.logOffset()+uint64(h.logLength()) <= uint64(a.File.Size()) {
		d.log = newJournal(int64(h.logOffset()), h.logLength())
	}
	if length == 0 {
		return nil
	}
	l := logReader{file: a.File, off: off, length: length, id: h.logGUID(), work: 2*length + logWork}
	run, err := l.active(ctx)
	if err != nil || run == nil {
		return err
	}
	if !d.writable && a.Env.Beyond {
		over := newOverlay(a.File)
		l.file = over
		if err := l.replay(ctx, run); err != nil {
			return err
		}
		d.file, d.meta.file, d.inMemory = over, over, true
		return nil
	}
	if !d.writable {
		err := qerr.New(syscall.EPERM, "VHDX image file '%s' opened read-only, but contains a log that needs to be replayed", a.Name)
		return qerr.WithHint(err, "To replay the log, run:\nqemu-img check -r all '"+a.Name+"'\n")
	}
	if err := l.replay(ctx, run); err != nil {
		return err
	}
	d.replayed = true
	id := newGUID()
	return d.heads.update(context.WithoutCancel(ctx), func(h *header) {
		copy(h[16:], id[:])
		clear(h[48:64])
	})
}
