package qed

import (
	"context"
	"encoding/binary"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
)

// Driver is the QED format.
func Driver() *formats.Driver {
	return &formats.Driver{
		Name: "qed", Kind: formats.Format, Backing: true,
		CreateOpts: option.Schema{
			{Name: "size", Type: option.Size, Help: "Virtual disk size"},
			{Name: "backing_file", Help: "File name of a base image"},
			{Name: "backing_fmt", Help: "Image format of the base image"},
			{Name: "cluster_size", Type: option.Size, Help: "Cluster size (in bytes)", Default: "65536"},
			{Name: "table_size", Type: option.Size, Help: "L1/L2 table size (in clusters)"},
		},
		Probe: func(head []byte, _ string) int {
			if len(head) >= headerSize && binary.LittleEndian.Uint32(head) == magic {
				return 100
			}
			return 0
		},
		Open:   open,
		Create: create,
	}
}

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	raw := make([]byte, headerSize)
	if err := a.File.ReadAt(ctx, raw, 0); err != nil {
		return nil, qerr.New(qerr.Of(err), "Failed to read QED header")
	}
	h := parse(raw)
	if err := h.validate(a.File.Size()); err != nil {
		return nil, err
	}
	d := &image{file: a.File, events: formats.EventsOf(a.File), head: h, writable: a.Flags.Has(formats.ReadWrite), pending: map[int64]bool{}}
	d.settled.L = &d.mu
	d.size.Store(int64(h.ImageSize))
	d.end = a.File.Size() / d.cluster() * d.cluster()
	d.tables = newTables(a.File)
	var err error
	if d.backingName, err = h.readBackingName(ctx, a.File); err != nil {
		return nil, err
	}
	if !d.writable {
		return d, nil
	}
	if h.Autoclear != 0 {
		d.head.Autoclear = 0
		if err := d.writeHeader(ctx); err != nil {
			return nil, qerr.New(qerr.Of(err), "Failed to update header")
		}
		if err := a.File.Flush(ctx); err != nil {
			return nil, err
		}
	}
	if h.Features&featNeedCheck != 0 && !a.Flags.Has(formats.ForCheck) {
		if _, err := d.Check(ctx, formats.FixLeaks|formats.FixErrors, a.Env); err != nil {
			return nil, qerr.New(qerr.Of(err), "Image corrupted")
		}
	}
	return d, nil
}

// create lays out the header, the backing file's name behind it, and an empty L1 table.
func create(ctx context.Context, a formats.CreateArgs) error {
	format, given := a.Options.Raw("backing_fmt")
	if given && a.HasDriver != nil && !a.HasDriver(format) {
		return qerr.New(syscall.EINVAL, "Parameter 'backing-fmt' does not accept value '%s'", format)
	}
	cluster, table := a.Options.Uint("cluster_size", 64<<10), a.Options.Uint("table_size", 4)
	// A zero asks for the default.
	if cluster == 0 {
		cluster = 64 << 10
	}
	if table == 0 {
		table = 4
	}
	if !validCluster(cluster) {
		return qerr.New(syscall.EINVAL, "QED cluster size must be within range [%d, %d] and power of 2", minCluster, maxCluster)
	}
	if !validTable(table) {
		return qerr.New(syscall.EINVAL, "QED table size must be within range [1, %d] and power of 2", maxTable)
	}
	h := header{Magic: magic, ClusterSize: uint32(cluster), TableSize: uint32(table), HeaderSize: 1, L1Offset: cluster,
		ImageSize: uint64(a.Size)}
	if !h.validSize(h.ImageSize) {
		return qerr.New(syscall.EINVAL, "QED image size must be a non-zero multiple of cluster size and less than %d bytes",
			h.maxSize())
	}
	name := a.Options.String("backing_file", "")
	if most := min(maxBackingName, int(cluster)-headerSize); len(name) > most {
		return qerr.New(syscall.EINVAL, "the name of the backing file is longer than %d bytes", most)
	}
	h.setBacking(name, format)
	if err := a.File.WriteAt(ctx, append(h.bytes(), name...), 0, 0); err != nil {
		return err
	}
	return writeZeroes(ctx, a.File, int64(cluster), h.tableBytes())
}

// setBacking states the backing file's name, which is to follow the header; "" is none.
func (h *header) setBacking(name, format string) {
	h.Features &^= featBacking | featNoProbe
	h.BackingOffset, h.BackingSize = 0, 0
	if name == "" {
		return
	}
	h.Features |= featBacking
	if format == "raw" {
		h.Features |= featNoProbe
	}
	h.BackingOffset, h.BackingSize = headerSize, uint32(len(name))
}

// writeZeroes writes n zeroes as data.
func writeZeroes(ctx context.Context, f formats.File, off, n int64) error {
	buf := make([]byte, min(n, 1<<20))
	for ; n > 0; off, n = off+int64(len(buf)), n-int64(len(buf)) {
		buf = buf[:min(n, int64(len(buf)))]
		if err := f.WriteAt(ctx, buf, off, 0); err != nil {
			return err
		}
	}
	return nil
}
