package dmg

import (
	"context"
	"fmt"
	"path"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/internal/chunkcache"
	"platter/formats/qerr"
)

const cacheBytes = 32 << 20

// Driver is the dmg format.
func Driver() *formats.Driver {
	return &formats.Driver{Name: "dmg", Kind: formats.Format, Probe: probe, Needs: needs, Open: open}
}

// probe goes by the name alone: there is no magic at the start.
func probe(_ []byte, name string) int {
	if len(name) > 4 && strings.HasSuffix(name, ".dmg") {
		return 2
	}
	return 0
}

// needs names the further segments. Where only metadata is wanted they stay closed.
func needs(ctx context.Context, a formats.OpenArgs) ([]formats.Need, error) {
	if a.File == nil || a.Flags.Has(formats.ReadWrite) || a.Flags.Has(formats.NoIO) {
		return nil, nil
	}
	k, err := findKoly(ctx, a.File)
	if err != nil || k.segments <= 1 {
		return nil, nil // Open says what is wrong
	}
	if k.segments > maxSegments || k.segment > 1 {
		return nil, nil
	}
	stem := strings.TrimSuffix(path.Base(a.Name), ".dmg")
	var list []formats.Need
	for i := uint32(2); i <= k.segments; i++ {
		list = append(list, formats.Need{Role: role(i), Name: fmt.Sprintf("%s.%03d.dmgpart", stem, i), ReadOnly: true})
	}
	return list, nil
}

func role(segment uint32) string { return fmt.Sprintf("segments.%d", segment) }

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	if a.Flags.Has(formats.ReadWrite) {
		return nil, qerr.New(syscall.EACCES, "Image is read-only")
	}
	if a.File == nil {
		return nil, qerr.New(syscall.EINVAL, "A block device must be specified for \"file\"")
	}
	k, err := findKoly(ctx, a.File)
	if err != nil {
		return nil, err
	}
	l := loader{ctx: ctx, name: a.Name, env: a.Env}
	if err := l.check(k); err != nil {
		return nil, err
	}
	d := &image{segments: []segment{k.place(a.File)}, cache: chunkcache.New(cacheBytes)}
	if err := d.addSegments(&l, k, a.Children); err != nil {
		return nil, err
	}
	if err := l.readTables(a.File, k); err != nil {
		return nil, err
	}
	return d, d.adopt(&l, k)
}

// adopt takes the chunks over and settles the size of the disk.
func (d *image) adopt(l *loader, k koly) error {
	d.chunks = l.sorted()
	sectors := k.sectors
	if sectors == 0 {
		for _, c := range d.chunks {
			sectors = max(sectors, c.first+c.count)
		}
	}
	if sectors > maxSectors {
		return qerr.Errno(syscall.EFBIG, "Could not refresh total sector count")
	}
	d.size = int64(sectors) * sectorSize
	return nil
}
