package tools

import (
	"context"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
)

// ConvertOptions says what is to be copied, and where.
type ConvertOptions struct {
	Sources         []Source       // joined, one behind the other
	Snapshot        *SnapshotParam // of the first source; nil: its present state
	Target          string
	TargetFormat    string // driver name; "" only with TargetImageOpts
	TargetImageOpts bool   // Target is driver=…,file.filename=…; needs NoCreate
	TargetCache     string // name of a cache mode
	Options         string // creation options as given to -o
	Compress        bool
	Backing         *string // -B; nil if not given
	BackingFormat   *string // -F; nil if not given
	NoCreate        bool    // the target is there already
	TargetIsZero    bool    // and reads as zeroes
	SparseSize      int64   // bytes of zeroes that become a hole; 0: everything is written
	Bitmaps         bool    // persistent bitmaps are copied, too
	SkipBroken      bool    // but not those that are inconsistent
	Rate            int64   // bytes a second that are written at most; 0: no limit
	Parallel        int     // pieces under way at once; 0: chosen by the program
	OutOfOrder      bool    // the target need not be filled in order
	CopyRange       bool    // the file system may copy
	Salvage         bool    // what cannot be read becomes zeroes
	Quiet           bool    // no warnings of Salvage
	Meter           *Meter
}

// SnapshotParam is how -l names an internal snapshot: by ID or name in one, or by either or both of them apart.
type SnapshotParam struct {
	IDOrName string
	Exact    bool // ID and Name count
	ID, Name *string
}

// Convert copies the sources into a new image, or into an existing one. The sources are only read.
func Convert(ctx context.Context, env *Env, o ConvertOptions) (err error) {
	c := &conversion{ConvertOptions: o, env: env}
	defer c.close(&err)
	o.Meter.Advance(0, 100)
	if err := c.openSources(ctx); err != nil {
		return err
	}
	if err := c.prepare(ctx); err != nil {
		return err
	}
	if err := c.openTarget(ctx); err != nil {
		return err
	}
	if err := c.copy(ctx); err != nil {
		return err
	}
	if o.Bitmaps {
		if err := c.copyBitmaps(ctx); err != nil {
			return err
		}
	}
	o.Meter.Advance(100, 0)
	return nil
}

// conversion is a Convert under way.
type conversion struct {
	ConvertOptions
	env    *Env
	views  []*chain.Node // snapshot views, closed before the sources
	parts  []sourcePart
	total  int64 // bytes of all sources
	create *chain.CreateRequest

	target     *chain.Node
	hasBacking bool
	backing    int64 // size of the new target's backing file, in bytes; -1: none, or not known
	buffer     int64 // longest piece of data, in bytes
	align      int64 // what writes are aligned to, in bytes
	cluster    int64 // of the target, in bytes
	zeroInit   bool  // the target reads as zeroes where nothing is written
	offload    offloader
	limit      *limiter
}

// sourcePart is a source and its place in the sequence.
type sourcePart struct {
	node  *chain.Node // what is read: the image, or a snapshot of it
	image *chain.Node
	name  string
	start int64 // where it begins in the target, in bytes
	size  int64 // bytes, a multiple of 512
	align int64 // bytes: the larger of request alignment and cluster size
}

func (c *conversion) close(err *error) {
	if c.target != nil {
		closing(c.env, c.target, err)
	}
	for _, v := range c.views {
		closing(c.env, v, err)
	}
	for _, p := range c.parts {
		closing(c.env, p.image, err)
	}
}

func (c *conversion) openSources(ctx context.Context) error {
	for _, s := range c.Sources {
		n, err := s.Open(ctx, c.env, formats.OneWriter) // what is copied must not change meanwhile
		if err != nil {
			return err
		}
		p := sourcePart{node: n, image: n, name: s.Filename, start: c.total, size: n.Size()}
		p.align = max(alignUp(n.Limits().Align, sectorSize), clusterSize(ctx, n), sectorSize)
		c.parts = append(c.parts, p)
		c.total += p.size
	}
	if c.Snapshot == nil {
		return nil
	}
	if !c.Snapshot.Exact && len(c.parts) > 1 {
		return qerr.New(syscall.EINVAL, "No support for concatenating multiple snapshot")
	}
	view, err := openSnapshot(ctx, c.env, c.parts[0].node, *c.Snapshot)
	if err != nil {
		return qerr.Prepend(err, "Failed to load snapshot: ")
	}
	c.views = append(c.views, view)
	longer := view.Size() - c.parts[0].size
	c.parts[0].node, c.parts[0].size = view, view.Size()
	for i := range c.parts[1:] {
		c.parts[1+i].start += longer
	}
	c.total += longer
	return nil
}

// sectorSize is the unit of qemu-img's copy, in bytes.
const sectorSize = 512

// clusterSize is the cluster size of n in bytes, 0 if it has none.
func clusterSize(ctx context.Context, n *chain.Node) int64 {
	info, err := NodeInfo(ctx, n)
	if err != nil {
		return 0
	}
	return info.ClusterSize
}

func alignUp(v, to int64) int64 { return (v + to - 1) / to * to }
