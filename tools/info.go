package tools

import (
	"context"
	"errors"
	"syscall"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// InfoOptions says which image to describe.
type InfoOptions struct {
	Source
	BackingChain bool // describe what the image stands on, too
}

// ImageInfo describes one node (QAPI BlockGraphInfo). Sizes are in bytes.
type ImageInfo struct {
	Filename, Format string
	VirtualSize      int64
	ActualSize       int64 // space taken on the host; -1: unknown
	ClusterSize      int64 // 0: none
	Encrypted        bool
	HasDirtyFlag     bool // the driver can tell whether the image was closed cleanly …
	DirtyFlag        bool // … and it was not
	BackingFilename  string
	FullBacking      string // "": cannot be determined
	BackingFormat    string
	Snapshots        []formats.Snapshot
	SpecificKind     string     // "": the driver has nothing of its own to say
	Specific         *qobj.Dict // never nil if SpecificKind is not ""
	Children         []ChildInfo
}

// ChildInfo is a node that another one is made of.
type ChildInfo struct {
	Name string // role: "file", "data-file" …
	Info *ImageInfo
}

// Info describes an image and, if asked, the chain that it stands on, the image itself first.
func Info(ctx context.Context, env *Env, o InfoOptions) ([]*ImageInfo, error) {
	var all []*ImageInfo
	seen := map[string]bool{}
	for s := o.Source; ; {
		if seen[s.Filename] {
			return nil, qerr.New(syscall.ELOOP, "Backing file '%s' creates an infinite loop.", s.Filename)
		}
		seen[s.Filename] = true
		info, err := infoOne(ctx, env, s)
		if err != nil {
			return nil, err
		}
		all = append(all, info)
		if !o.BackingChain || info.BackingFilename == "" {
			return all, nil
		}
		if info.FullBacking == "" {
			return nil, qerr.New(syscall.EINVAL, "Could not determine absolute backing filename, but backing filename '%s' present",
				info.BackingFilename)
		}
		s = Source{Filename: info.FullBacking, Format: info.BackingFormat, Cache: s.Cache, ForceShare: s.ForceShare}
	}
}

func infoOne(ctx context.Context, env *Env, s Source) (info *ImageInfo, err error) {
	n, err := s.Open(ctx, env, formats.NoBacking|formats.NoIO)
	if err != nil {
		return nil, err
	}
	defer closing(env, n, &err)
	return InfoNode(ctx, n)
}

// InfoNode describes an open image and the nodes that it is made of, its backing file only if that was opened.
func InfoNode(ctx context.Context, n *chain.Node) (*ImageInfo, error) {
	i := &ImageInfo{Filename: n.Filename(), Format: n.Driver().Name, VirtualSize: n.Size(), ActualSize: -1}
	if size, err := n.AllocatedSize(ctx); err == nil {
		i.ActualSize = size
	}
	if e, ok := formats.As[formats.Encrypted](n.Unwrap()); ok {
		i.Encrypted = e.Encrypted()
	}
	if err := i.describe(ctx, n); err != nil {
		return nil, err
	}
	if b, ok := formats.As[formats.Backed](n.Unwrap()); ok {
		i.BackingFilename, i.BackingFormat = b.BackingFile()
	}
	if i.BackingFilename != "" {
		i.FullBacking, _ = n.FullBackingName()
	}
	var err error
	if i.Snapshots, err = Snapshots(ctx, n); err != nil && !errors.Is(err, syscall.ENOTSUP) {
		return nil, qerr.Errno(qerr.Of(err), "Can't list snapshots of device '%s'", n.NodeName())
	}
	children := n.Children()
	for at := len(children) - 1; at >= 0; at-- { // the one that was attached last comes first
		c := children[at]
		child, err := InfoNode(ctx, c.Node)
		if err != nil {
			return nil, err
		}
		i.Children = append(i.Children, ChildInfo{c.Role, child})
	}
	return i, nil
}

func (i *ImageInfo) describe(ctx context.Context, n *chain.Node) error {
	bdi, err := NodeInfo(ctx, n)
	if err == nil {
		i.ClusterSize, i.DirtyFlag, i.HasDirtyFlag = bdi.ClusterSize, bdi.Dirty, true
	}
	d, ok := formats.As[formats.Describer](n.Unwrap())
	if !ok {
		return nil
	}
	if i.SpecificKind, i.Specific, err = d.Specific(ctx); err != nil {
		return err
	}
	if i.Specific == nil {
		i.Specific = qobj.NewDict()
	}
	return nil
}

// NodeInfo is what the driver says of its clusters and state. Raw images and filters answer what their storage does.
func NodeInfo(ctx context.Context, n *chain.Node) (formats.Info, error) {
	for ; n != nil; n = n.File() {
		if d, ok := formats.As[formats.Describer](n.Unwrap()); ok {
			return d.Info(ctx)
		}
		if !n.Driver().RawCreate && n.Driver().Kind != formats.Filter {
			break
		}
	}
	return formats.Info{}, qerr.New(syscall.ENOTSUP, "driver tells nothing of its images")
}
