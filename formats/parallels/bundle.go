package parallels

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// bundle is a disk that is opened through its DiskDescriptor.xml. Every image of it is a child; those of a storage that
// stand on one another are joined as an image and its backing file.
type bundle struct {
	desc     *descriptor
	file     formats.File            // the descriptor
	children map[string]formats.File // by role
	parts    []part
	env      *formats.Env
}

// part is a storage as one snapshot shows it.
type part struct {
	start, end int64 // bytes of the disk
	layers     []formats.File
}

func role(storage, image int) string { return fmt.Sprintf("images.%d.%d", storage, image) }

// needs are the images that a descriptor names. Where only metadata is wanted, just those beside the descriptor are
// opened, for their sizes.
func needs(ctx context.Context, a formats.OpenArgs) ([]formats.Need, error) {
	d, err := readDescriptor(ctx, a.File)
	if d == nil || err != nil {
		return nil, err
	}
	var list []formats.Need
	for i, s := range d.storages {
		for j, f := range s.images {
			n := formats.Need{Role: role(i, j), Name: f.name, Format: "parallels", ReadOnly: f.guid != d.top}
			if f.plain {
				n.Format = "raw"
			} else if !n.ReadOnly {
				n.Options = given(a.Options)
			}
			if a.Flags.Has(formats.NoIO) {
				if strings.Contains(f.name, "/") {
					continue
				}
				n.Optional = true
			}
			list = append(list, n)
		}
	}
	return list, nil
}

// given are the runtime options, which are meant for the images that are written.
func given(v *option.Values) *qobj.Dict {
	d := qobj.NewDict()
	for _, o := range openOpts {
		if s, ok := v.Raw(o.Name); ok {
			d.Set(o.Name, s)
		}
	}
	return d
}

func openBundle(a formats.OpenArgs, d *descriptor) (formats.Image, error) {
	b := &bundle{desc: d, file: a.File, children: a.Children, env: a.Env}
	if a.Flags.Has(formats.NoIO) {
		return b, nil
	}
	for i, s := range d.storages {
		for j, f := range s.images {
			if err := b.join(i, j, f); err != nil {
				return nil, err
			}
		}
	}
	var err error
	b.parts, err = b.view(d.top)
	return b, err
}

// join gives image j of storage i its parent as its backing file.
func (b *bundle) join(i, j int, f imageFile) error {
	layers, err := b.desc.layers(f.guid)
	if err != nil || len(layers) < 2 {
		return nil // an image that leads nowhere is refused when it is wanted
	}
	parent, _ := b.desc.storages[i].image(layers[1])
	child, ok := formats.As[*image](b.children[role(i, j)])
	if !ok {
		return badDescriptor("the plain image '%s' stands on another", f.name)
	}
	return child.SetBacking(b.children[role(i, parent)])
}

// view collects the layers of a snapshot.
func (b *bundle) view(guid string) ([]part, error) {
	layers, err := b.desc.layers(guid)
	if err != nil {
		return nil, err
	}
	var parts []part
	for i, s := range b.desc.storages {
		p := part{start: s.start, end: s.end}
		for _, g := range layers {
			j, _ := s.image(g)
			p.layers = append(p.layers, b.children[role(i, j)])
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func (b *bundle) Size() int64 { return b.desc.size }

func (b *bundle) Limits() formats.Limits { return formats.Limits{} }

// each calls f for the part of [off, off+n) in each storage, with its place there.
func (b *bundle) each(off, n int64, f func(top formats.File, at, from, n int64) error) error {
	for _, p := range b.parts {
		first, end := max(off, p.start), min(off+n, p.end)
		if first >= end {
			continue
		}
		if err := f(p.layers[0], first-p.start, first-off, end-first); err != nil {
			return err
		}
	}
	return nil
}

func (b *bundle) ReadAt(ctx context.Context, p []byte, off int64) error {
	return b.each(off, int64(len(p)), func(f formats.File, at, from, n int64) error {
		return f.ReadAt(ctx, p[from:from+n], at)
	})
}

func (b *bundle) WriteAt(ctx context.Context, p []byte, off int64, flags formats.WriteFlags) error {
	return b.each(off, int64(len(p)), func(f formats.File, at, from, n int64) error {
		return f.WriteAt(ctx, p[from:from+n], at, flags)
	})
}

func (b *bundle) WriteZeroes(ctx context.Context, off, n int64, flags formats.WriteFlags) error {
	return b.each(off, n, func(f formats.File, at, _, n int64) error { return f.WriteZeroes(ctx, at, n, flags) })
}

func (b *bundle) Discard(ctx context.Context, off, n int64) error {
	return b.each(off, n, func(f formats.File, at, _, n int64) error { return f.Discard(ctx, at, n) })
}

// Status asks the layers of the storage at off, from the top.
func (b *bundle) Status(ctx context.Context, off, n int64) (formats.Extent, error) {
	for _, p := range b.parts {
		if off < p.start || off >= p.end {
			continue
		}
		at := off - p.start
		n = min(n, p.end-off)
		for _, f := range p.layers {
			img, ok := formats.As[*image](f)
			if !ok && at < f.Size() {
				return formats.Extent{Len: min(n, f.Size()-at), State: formats.Raw, Where: f, Offset: at}, nil
			}
			if !ok {
				break
			}
			e, err := img.Status(ctx, at, n)
			if err != nil || e.State != 0 {
				return e, err
			}
			n = e.Len
		}
	}
	return formats.Extent{Len: n}, nil
}

// Flush flushes what is written; the descriptor never is.
func (b *bundle) Flush(ctx context.Context) error {
	var all error
	for _, p := range b.parts {
		all = errors.Join(all, p.layers[0].Flush(ctx))
	}
	return all
}

// Close leaves the images to the graph.
func (b *bundle) Close() error { return nil }

// Check checks all images, and repairs those that are open for writing.
func (b *bundle) Check(ctx context.Context, fix formats.FixMode, env *formats.Env) (sum formats.CheckResult, err error) {
	for i, s := range b.desc.storages {
		for j, f := range s.images {
			img, ok := formats.As[*image](b.children[role(i, j)])
			if !ok {
				continue
			}
			mode := fix
			if f.guid != b.desc.top {
				mode = 0
			}
			r, err := img.Check(ctx, mode, env)
			sum.Corruptions += r.Corruptions
			sum.Leaks += r.Leaks
			sum.CheckErrors += r.CheckErrors
			sum.CorruptionsFixed += r.CorruptionsFixed
			sum.LeaksFixed += r.LeaksFixed
			sum.AllocatedClusters += r.AllocatedClusters
			sum.TotalClusters += r.TotalClusters
			sum.FragmentedClusters += r.FragmentedClusters
			if err != nil {
				return sum, qerr.Prepend(err, "%s: ", f.name)
			}
		}
	}
	return sum, nil
}

// Snapshots lists the images below, and beside, the one that is written.
func (b *bundle) Snapshots(context.Context) ([]formats.Snapshot, error) {
	var list []formats.Snapshot
	for _, s := range b.desc.shots {
		if s.guid != b.desc.top {
			list = append(list, formats.Snapshot{ID: s.guid, Name: s.guid, DiskSize: b.desc.size, ICount: 1<<64 - 1})
		}
	}
	return list, nil
}

// OpenSnapshot shows a snapshot, which nothing changes as long as others stand on it.
func (b *bundle) OpenSnapshot(_ context.Context, id, name string) (formats.Image, error) {
	for _, s := range b.desc.shots {
		if s.guid == b.desc.top || id != "" && normal(id) != s.guid || name != "" && normal(name) != s.guid {
			continue
		}
		parts, err := b.view(s.guid)
		if err != nil {
			return nil, err
		}
		return &snapshotView{&bundle{desc: b.desc, parts: parts}}, nil
	}
	return nil, qerr.New(syscall.ENOENT, "Can't find snapshot")
}

// snapshotView has the methods of an image that is only read.
type snapshotView struct{ formats.Image }

// The snapshots of a bundle are changed by Parallels alone: its Snapshots.xml would have to be, too.

// CreateSnapshot is not supported.
func (b *bundle) CreateSnapshot(context.Context, formats.Snapshot) (formats.Snapshot, error) {
	return formats.Snapshot{}, syscall.ENOTSUP
}

// ApplySnapshot is not supported.
func (b *bundle) ApplySnapshot(context.Context, string) error { return syscall.ENOTSUP }

// DeleteSnapshot is not supported.
func (b *bundle) DeleteSnapshot(context.Context, string, string) error { return syscall.ENOTSUP }
