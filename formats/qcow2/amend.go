package qcow2

import (
	"context"
	"math/bits"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/crypt/luks1"
	"platter/formats/crypt/secret"
	"platter/formats/option"
	"platter/formats/qerr"
)

func amendSchema() option.Schema {
	return option.Schema{
		{Name: "encrypt.state", Help: "Select new state of affected keyslots (active/inactive)"},
		{Name: "encrypt.keyslot", Type: option.Number, Help: "Select a single keyslot to modify explicitly"},
		{Name: "encrypt.old-secret", Help: "Select all keyslots that match this password"},
		{Name: "encrypt.new-secret", Help: "New secret to set in the matching keyslots. Empty string to erase"},
		{Name: "encrypt.iter-time", Type: option.Number, Help: "Time to spend in PBKDF in milliseconds"},
		{Name: "size", Type: option.Size, Help: "Virtual disk size"},
		{Name: "compat", Help: "Compatibility level (v2 [0.10] or v3 [1.1])"},
		{Name: "backing_file", Help: "File name of a base image"},
		{Name: "backing_fmt", Help: "Image format of the base image"},
		{Name: "data_file", Help: "File name of an external data file"},
		{Name: "data_file_raw", Type: option.Bool, Help: "The external data file must stay valid as a raw image"},
		{Name: "lazy_refcounts", Type: option.Bool, Help: "Postpone refcount updates"},
		{Name: "refcount_bits", Type: option.Number, Help: "Width of a reference count entry in bits"},
	}
}

// amendment is what the options of amend ask for.
type amendment struct {
	version  uint32
	refOrder uint
	lazy     bool
	raw      bool
	dataFile *string
	encrypt  bool
}

// parseAmendment checks what can be checked before anything is changed, in QEMU's order.
func (i *image) parseAmendment(v *option.Values) (amendment, error) {
	m := amendment{version: i.hdr.version, refOrder: i.refOrder, raw: v.Bool("data_file_raw", i.rawExternal()),
		lazy: v.Bool("lazy_refcounts", i.opts.lazy)}
	fail := func(format string, a ...any) (amendment, error) { return m, qerr.New(syscall.EINVAL, format, a...) }
	for _, o := range amendSchema() {
		if strings.HasPrefix(o.Name, "encrypt.") && v.Has(o.Name) {
			m.encrypt = true
		}
	}
	switch {
	case m.encrypt && i.hdr.cryptMethod == cryptNone:
		return fail("Can't amend encryption options - encryption not present")
	case m.encrypt && i.hdr.cryptMethod != cryptLUKS:
		return m, qerr.New(syscall.ENOTSUP, "Only LUKS encryption options can be amended")
	}
	switch compat := v.String("compat", ""); compat {
	case "":
	case "0.10", "v2":
		m.version = 2
	case "1.1", "v3":
		m.version = 3
	default:
		return fail("Unknown compatibility level %s", compat)
	}
	if name, ok := v.Raw("data_file"); ok {
		if !i.external() {
			return fail("data-file can only be set for images that use an external data file")
		}
		m.dataFile = &name
	}
	if m.raw && !i.rawExternal() {
		return fail("data-file-raw cannot be set on existing images")
	}
	if v.Has("refcount_bits") {
		width := v.Uint("refcount_bits", 16)
		if width == 0 || width > 64 || width&(width-1) != 0 {
			return fail("Refcount width must be a power of two and may not exceed 64 bits")
		}
		m.refOrder = uint(bits.TrailingZeros64(width))
	}
	return m, nil
}

// Amend changes creation options: upgrades first and downgrades last, because other options may need the newer version.
// Every step is durable before the next one begins, and is there wholly or not at all after a crash.
func (i *image) Amend(ctx context.Context, v *option.Values, force bool, progress func(done, total int64), env *formats.Env) error {
	if err := i.usable(); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	m, err := i.parseAmendment(v)
	if err != nil {
		return err
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	steps := []func() error{
		func() error { return i.upgrade(ctx, m) },
		func() error { return i.amendKeys(ctx, m, v, force, env) },
		func() error { return i.amendRefcounts(ctx, m) },
		func() error { return i.amendData(ctx, m) },
		func() error { return i.amendBacking(v) },
		func() error { return i.amendLazy(ctx, m) },
		func() error { return i.amendSize(ctx, v) },
		func() error { return i.downgrade(ctx, m) },
	}
	for k, step := range steps {
		progress(int64(k), int64(len(steps)))
		if err := step(); err != nil {
			return err
		}
	}
	progress(int64(len(steps)), int64(len(steps)))
	return nil
}

// storeHeader writes the whole header durably, after everything else that has changed.
func (i *image) storeHeader(ctx context.Context) error {
	err := i.commitAll(ctx)
	if err == nil {
		i.mu.Lock()
		i.headerDirty = true
		i.mu.Unlock()
		err = i.commitAll(ctx)
	}
	if err != nil {
		i.mu.Lock()
		i.headerDirty = false // the caller puts the former fields back
		i.mu.Unlock()
		return qerr.Errno(qerr.Of(err), "Failed to update the image header")
	}
	return nil
}

// upgrade makes a version 2 image one of version 3, whose snapshots say how large the disk was.
func (i *image) upgrade(ctx context.Context, m amendment) error {
	if m.version <= i.hdr.version {
		return nil
	}
	short := false
	for _, s := range i.snapshots.list {
		short = short || s.extraLen < snapshotMinExtra
	}
	if short {
		t := snapshotTable{list: i.snapshots.list}
		if err := i.settled(ctx, func(ctx context.Context) error { return i.storeSnapshots(ctx, t) }); err != nil {
			return qerr.Errno(qerr.Of(err), "Failed to update the snapshot table")
		}
		for _, s := range i.snapshots.list {
			s.extraLen = snapshotExtraLen + len(s.unknown)
		}
	}
	i.hdr.version = m.version
	err := i.storeHeader(ctx)
	if err != nil {
		i.hdr.version = 2
	}
	return err
}

// amendKeys changes key slots of the LUKS header.
func (i *image) amendKeys(ctx context.Context, m amendment, v *option.Values, force bool, env *formats.Env) error {
	if !m.encrypt {
		return nil
	}
	o := luks1.AmendOptions{Force: force, Prefix: "encrypt."}
	switch state, ok := v.Raw("encrypt.state"); {
	case !ok:
		return qerr.New(syscall.EINVAL, "Parameter 'state' is missing")
	case state != "active" && state != "inactive":
		return badValue("state", state)
	default:
		o.Active = state == "active"
	}
	if i.luks == nil {
		return qerr.New(syscall.EINVAL, "Missing CRYPTO header for crypt method %d", i.hdr.cryptMethod)
	}
	if id, ok := v.Raw("encrypt.new-secret"); ok {
		o.NewSecret = secret.Passphrase(env.Secret, id)
	}
	if id, ok := v.Raw("encrypt.old-secret"); ok {
		o.OldSecret = secret.Passphrase(env.Secret, id)
	}
	if v.Has("encrypt.keyslot") {
		n := int64(v.Uint("encrypt.keyslot", 0))
		o.Keyslot = &n
	}
	if v.Has("encrypt.iter-time") {
		ms := v.Uint("encrypt.iter-time", 0)
		o.IterTime = &ms
	}
	if err := i.luks.Amend(ctx, i.cryptRead(ctx), i.cryptWrite(ctx, formats.FUA), o); err != nil {
		return err
	}
	return i.file.Flush(ctx)
}

// amendData changes what the header says of the data file. The header is written whatever was asked for, as QEMU does.
func (i *image) amendData(ctx context.Context, m amendment) error {
	name, features := i.hdr.ext.dataFile, i.hdr.autoclear
	i.hdr.autoclear &^= autoclearRaw
	if m.raw {
		i.hdr.autoclear |= autoclearRaw
	}
	if m.dataFile != nil {
		i.hdr.ext.dataFile = *m.dataFile
	}
	err := i.storeHeader(ctx)
	if err != nil {
		i.hdr.ext.dataFile, i.hdr.autoclear = name, features
	}
	return err
}

// amendBacking refuses another backing file.
func (i *image) amendBacking(v *option.Values) error {
	name, named := v.Raw("backing_file")
	format, formatted := v.Raw("backing_fmt")
	if !named && !formatted || name == i.hdr.backingName && format == i.hdr.ext.backingFormat {
		return nil
	}
	err := qerr.New(syscall.EINVAL, "Cannot amend the backing file")
	return qerr.WithHint(err, "You can use 'qemu-img rebase' instead.\n")
}

func (i *image) amendLazy(ctx context.Context, m amendment) error {
	if m.lazy == i.opts.lazy {
		return nil
	}
	if m.lazy && m.version < 3 {
		return qerr.New(syscall.EINVAL, "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 "+
			"or greater)")
	}
	if !m.lazy {
		if err := i.markClean(ctx); err != nil {
			return err
		}
	}
	was := i.hdr.compat
	i.hdr.compat ^= compatLazy
	if m.lazy {
		i.hdr.compat |= compatLazy
	} else {
		i.hdr.compat &^= compatLazy
	}
	if err := i.storeHeader(ctx); err != nil {
		i.hdr.compat = was
		return err
	}
	i.opts.lazy = m.lazy
	return nil
}

// markClean stores all refcounts and takes the dirty bit away.
func (i *image) markClean(ctx context.Context) error {
	if i.hdr.incompat&incompatDirty == 0 {
		return nil
	}
	var err error
	for k := 0; k < 2 && err == nil; k++ {
		err = i.commitAll(ctx)
	}
	if err == nil {
		i.mu.Lock()
		err = i.setIncompat(ctx, i.hdr.incompat&^incompatDirty)
		i.mu.Unlock()
	}
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Failed to make the image clean")
	}
	return nil
}

func (i *image) amendSize(ctx context.Context, v *option.Values) error {
	if size := v.Uint("size", 0); size > 0 {
		if size > 1<<63-512 {
			return qerr.New(syscall.EFBIG, "Image size too large")
		}
		return i.Truncate(ctx, int64(size+511)&^511, formats.PreallocOff)
	}
	return nil
}

var _ formats.Amender = (*image)(nil)
