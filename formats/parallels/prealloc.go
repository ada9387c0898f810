package parallels

import (
	"context"
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
)

var openOpts = option.Schema{
	{Name: "prealloc-size", Type: option.Size, Help: "Preallocation size on image expansion"},
	{Name: "prealloc-mode", Type: option.String, Help: "Preallocation mode on image expansion (allowed values: falloc, truncate)"},
}

// defaultReserve is the size that counts where only a mode is given.
const defaultReserve = 128 << 20

// reserve is by how much, and how, the file grows where a cluster is added to it.
type reserve struct {
	size   int64 // bytes; 0: by what is written
	falloc bool  // give the range storage
}

// reserveOf reads the runtime options. Where none is given the file grows by what is written; QEMU then reserves
// 128 MiB, of which nothing is left when the image is closed.
func reserveOf(v *option.Values) (r reserve, err error) {
	mode, ok := v.Raw("prealloc-mode")
	if ok && mode != "falloc" && mode != "truncate" {
		return r, qerr.New(syscall.EINVAL, "invalid parameter value: %s", mode)
	}
	if !ok && !v.Has("prealloc-size") {
		return r, nil
	}
	size := min(v.Uint("prealloc-size", defaultReserve), math.MaxInt64)
	return reserve{size: int64(size) / sectorSize * sectorSize, falloc: mode != "truncate"}, nil
}

// grow makes room in the file for a cluster at at, and ahead of those that follow it. The caller holds mu. Nothing
// depends on it: where it fails, the file grows by what is written.
func (d *image) grow(ctx context.Context, at int64) {
	size := d.file.Size()
	if d.reserve.size == 0 || at+d.cluster <= size {
		return
	}
	room := max(d.reserve.size, d.cluster)
	if room > math.MaxInt64-at {
		return
	}
	if d.reserve.falloc {
		_ = d.file.WriteZeroes(ctx, size, at+room-size, formats.NoFallback)
		return
	}
	_ = d.file.Truncate(ctx, at+room, formats.PreallocOff)
}
