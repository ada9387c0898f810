package qcow2

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/crypt/luks1"
	"platter/formats/option"
	"platter/formats/qerr"
)

// measured is what the options of measure say.
type measured struct {
	clusterSize int64
	version     uint32
	refOrder    uint
	extended    bool
	pre         formats.Prealloc
	backing     bool
	luks        int64 // bytes of the LUKS header
}

// measure computes the size of the file that create and a full copy would give, as QEMU estimates it.
func measure(ctx context.Context, a formats.MeasureArgs) (formats.Measurement, error) {
	m, err := parseMeasured(a)
	if err != nil {
		return formats.Measurement{}, err
	}
	size := a.Size
	perTable := m.clusterSize / m.entrySize()
	up := func(n int64) int64 { return (n + m.clusterSize - 1) / m.clusterSize * m.clusterSize }
	if tables := (up(size)/m.clusterSize + perTable - 1) / perTable; tables*8 > maxL1Size || size > 1<<62 {
		return formats.Measurement{}, qerr.New(syscall.EFBIG, "The image size is too large (try using a larger cluster size)")
	}
	var required int64
	if a.Source != nil {
		size = a.Source.Size()
		if required = up(size); !m.backing {
			if required, err = dataClusters(ctx, a.Source, size, m.clusterSize); err != nil {
				return formats.Measurement{}, err
			}
		}
	}
	size = up(size)
	if m.pre == formats.PreallocFalloc || m.pre == formats.PreallocFull {
		required = size
	}
	out := formats.Measurement{FullyAllocated: m.luks + m.fullSize(size), Bitmaps: -1}
	out.Required = out.FullyAllocated - size + required
	if a.Source != nil && m.version >= 3 {
		out.Bitmaps, err = bitmapsSize(ctx, a.Source, m.clusterSize)
	}
	return out, err
}

func (m *measured) entrySize() int64 {
	if m.extended {
		return 16
	}
	return 8
}

func parseMeasured(a formats.MeasureArgs) (*measured, error) {
	v := a.Options
	m := &measured{extended: v.Bool("extended_l2", false), version: 3, backing: v.Has("backing_file"),
		clusterSize: int64(min(v.Uint("cluster_size", 65536), 1<<40))}
	if err := checkClusterSize(m.clusterSize, m.extended); err != nil {
		return nil, err
	}
	switch compat := v.String("compat", "1.1"); compat {
	case "0.10":
		m.version = 2
	case "1.1":
	default:
		return nil, qerr.New(syscall.EINVAL, "Invalid compatibility level: '%s'", compat)
	}
	width := v.Uint("refcount_bits", 16)
	order, err := refcountOrder(width, max(m.version, 3))
	if err != nil {
		return nil, err
	}
	if m.version < 3 && width != 16 {
		return nil, qerr.New(syscall.EINVAL, "Different refcount widths than 16 bits require compatibility level 1.1 or above "+
			"(use compat=1.1 or greater)")
	}
	m.refOrder = uint(order)
	pre := v.String("preallocation", "off")
	var ok bool
	if m.pre, ok = formats.ParsePrealloc(pre); !ok {
		return nil, qerr.New(syscall.EINVAL, "invalid parameter value: %s", pre)
	}
	return m, m.measureLUKS(a.Env, v)
}

func (m *measured) measureLUKS(env *formats.Env, v *option.Values) error {
	if v.String("encrypt.format", "") != "luks" {
		return nil
	}
	o, err := luksOptions(v, passphrase(env, v, "encrypt.key-secret"))
	if err != nil {
		return err
	}
	n, err := luks1.Layout(o)
	m.luks = (n + m.clusterSize - 1) / m.clusterSize * m.clusterSize
	return err
}

// fullSize is the size of a file with every one of size bytes of clusters allocated.
func (m *measured) fullSize(size int64) int64 {
	round := func(n, to int64) int64 { return (n + to - 1) / to * to }
	meta := m.clusterSize // the header
	entries := round(size/m.clusterSize, m.clusterSize/m.entrySize())
	meta += entries * m.entrySize()
	meta += round(entries*m.entrySize()/m.clusterSize, m.clusterSize/8) * 8
	blocks, table := refcountSize((meta+size)/m.clusterSize, m.clusterSize, m.refOrder, false)
	return meta + size + (blocks+table)*m.clusterSize
}

// dataClusters is the size in bytes of all clusters that a copy of src would have to store.
func dataClusters(ctx context.Context, src formats.File, size, clusterSize int64) (int64, error) {
	status := src.Status
	if l, ok := src.(formats.Layered); ok {
		status = l.ChainStatus
	}
	var sum int64
	for off := int64(0); off < size; {
		e, err := status(ctx, off, size-off)
		if err != nil {
			return 0, qerr.Errno(qerr.Of(err), "Unable to get block status")
		}
		n := max(e.Len, 1)
		if e.State&formats.Zero == 0 && e.State.Has(formats.Data|formats.Allocated) {
			// To the end of the last cluster that it touches, and from where the scan is in the first one.
			n = (off+n+clusterSize-1)/clusterSize*clusterSize - off
			sum += off%clusterSize + n
		}
		off += n
	}
	return sum, nil
}

// bitmapsSize is the space that copies of the source's persistent bitmaps would take; -1 if it cannot have any.
func bitmapsSize(ctx context.Context, src formats.File, clusterSize int64) (int64, error) {
	if own, ok := formats.As[*image](src); ok && own.hdr.version < 3 {
		return -1, nil
	}
	store, ok := formats.As[formats.BitmapReader](src)
	if !ok {
		return -1, nil
	}
	list, err := store.Bitmaps(ctx)
	if err != nil {
		return 0, err
	}
	up := func(n int64) int64 { return (n + clusterSize - 1) / clusterSize * clusterSize }
	var sum, directory int64
	for _, b := range list {
		if b.Inconsistent || b.Transient {
			continue
		}
		bits := (src.Size() + b.Granularity - 1) / b.Granularity
		clusters := up((bits+7)/8) / clusterSize
		sum += clusters*clusterSize + up(clusters*8)
		directory += (24 + int64(len(b.Name)) + 7) &^ 7
	}
	return sum + up(directory), nil
}
