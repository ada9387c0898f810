package vmdk

import (
	"context"
	"sort"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/internal/chunkcache"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// image is an open disk.
type image struct {
	file       formats.File // the descriptor, or the only sparse file
	name       string
	env        *formats.Env
	writable   bool
	createType string
	textAt     int64 // of the descriptor in file, in bytes
	parent     string
	cid        uint32
	parentCID  uint32
	extents    []*extent
	backing    formats.File
	decoded    *chunkcache.Cache // grains that were read in parts, decompressed

	mu       sync.Mutex
	free     sync.Cond // pending changed
	tables   tables
	pending  map[place]bool // grains that are being allocated
	flushing sync.Mutex

	ids        sync.Mutex
	idRenewed  bool // the content ID is another than that of the open
	parentFits bool // the parent's content ID was compared
}

// place is a grain of the disk.
type place struct {
	extent int
	grain  int64
}

// nameOf is the name of a child for messages.
func nameOf(f formats.File) string {
	if n, ok := f.(interface{ Filename() string }); ok {
		return n.Filename()
	}
	if n, ok := formats.As[formats.Named](f); ok {
		return n.FileName()
	}
	return ""
}

// add appends an extent to the disk.
func (d *image) add(e *extent) error {
	e.index = len(d.extents)
	e.start = d.Size()
	if e.sectors > maxSectors-e.start/sector {
		return qerr.New(syscall.EFBIG, "The disk is too large")
	}
	if step := e.grain / sector; step > 0 {
		e.next = (e.file.Size()/sector + step - 1) / step * step
	}
	d.extents = append(d.extents, e)
	return nil
}

func (d *image) Size() int64 {
	if len(d.extents) == 0 {
		return 0
	}
	return d.extents[len(d.extents)-1].end()
}

// Limits: flat extents are zero as far as their files are. A unit of zeroes is the largest grain, as in QEMU.
func (d *image) Limits() formats.Limits {
	l := formats.Limits{ZeroInit: true}
	for _, e := range d.extents {
		if e.flat {
			l.ZeroInit = l.ZeroInit && e.file.Limits().ZeroInit
		} else if e.grain&(e.grain-1) == 0 {
			l.ZeroAlign = max(l.ZeroAlign, e.grain)
		}
	}
	return l
}

// at finds the extent that holds the byte at off.
func (d *image) at(off int64) *extent {
	return d.extents[sort.Search(len(d.extents)-1, func(i int) bool { return off < d.extents[i].end() })]
}

// BackingFile is the parent disk; only a VMDK can be one.
func (d *image) BackingFile() (name, format string) {
	if d.parent == "" {
		return "", ""
	}
	return d.parent, "vmdk"
}

// SetBacking takes any file: that it is the wrong one shows when something is to be read from it, as in QEMU.
func (d *image) SetBacking(f formats.File) error {
	d.ids.Lock()
	defer d.ids.Unlock()
	d.backing, d.parentFits = f, false
	return nil
}

// behind is the backing file to read from, nil for none; a file that is not the parent is an error.
func (d *image) behind(ctx context.Context) (formats.File, error) {
	d.ids.Lock()
	defer d.ids.Unlock()
	if d.backing == nil || d.parentFits {
		return d.backing, nil
	}
	p, ok := formats.As[*image](d.backing)
	if ok {
		id, err := p.contentID(ctx)
		ok = err == nil && id == d.parentCID
	}
	if !ok {
		return nil, qerr.New(syscall.EINVAL, "The content ID of the backing file of '%s' is not the one of its parent", d.name)
	}
	d.parentFits = true
	return d.backing, nil
}

// Info is what QEMU tells of a disk whose extents are all of one kind.
func (d *image) Info(context.Context) (formats.Info, error) {
	if len(d.extents) == 0 {
		return formats.Info{}, nil
	}
	first := d.extents[0]
	for _, e := range d.extents[1:] {
		if e.flat != first.flat || e.compressed != first.compressed || e.grain != first.grain {
			return formats.Info{}, qerr.New(syscall.ENOTSUP, "Operation not supported")
		}
	}
	return formats.Info{ClusterSize: first.grain, OnlyCompressed: first.compressed}, nil
}

// Specific is QAPI's ImageInfoSpecificVmdk.
func (d *image) Specific(context.Context) (string, *qobj.Dict, error) {
	s := qobj.NewDict()
	s.Set("create-type", d.createType)
	d.ids.Lock()
	s.Set("cid", int64(d.cid))
	s.Set("parent-cid", int64(d.parentCID))
	d.ids.Unlock()
	list := qobj.List{}
	for _, e := range d.extents {
		x := qobj.NewDict()
		x.Set("filename", nameOf(e.file))
		x.Set("format", e.kind)
		x.Set("virtual-size", e.size())
		if !e.flat {
			x.Set("cluster-size", e.grain)
		}
		if e.compressed {
			x.Set("compressed", true)
		}
		list = append(list, x)
	}
	s.Set("extents", list)
	return "vmdk", s, nil
}

// Flush makes what was written durable.
func (d *image) Flush(ctx context.Context) error { return d.flush(context.WithoutCancel(ctx)) }

// Close writes what is not yet in the files.
func (d *image) Close() error { return d.flush(context.Background()) }
