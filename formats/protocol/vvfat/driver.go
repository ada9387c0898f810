package vvfat

import (
	"context"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

const (
	defaultLabel = "QEMU VVFAT"
	labelLen     = 11
)

// Driver is the vvfat protocol.
func Driver() *formats.Driver {
	return &formats.Driver{
		Name: "vvfat", Kind: formats.Protocol, Schemes: []string{"fat"},
		OpenOpts: option.Schema{
			{Name: "dir", Type: option.String, Help: "Host directory to map to the vvfat device"},
			{Name: "fat-type", Type: option.Number, Help: "FAT type (12, 16 or 32)"},
			{Name: "floppy", Type: option.Bool, Help: "Create a floppy rather than a hard disk image"},
			{Name: "label", Type: option.String, Help: "Use a volume label other than QEMU VVFAT"},
			{Name: "rw", Type: option.Bool, Help: "Make the image writable"},
		},
		StrongOpts: []string{"dir", "fat-type", "floppy", "label", "rw"},
		ParseName:  parseName,
		Open:       open,
	}
}

// parseName reads "fat:[floppy:][12:|16:|32:][rw:]DIRECTORY". As in QEMU the options are looked for anywhere, and the
// directory is what follows the last colon, or a letter and that colon.
func parseName(name string, into *qobj.Dict) error {
	if !strings.HasPrefix(name, "fat:") {
		return qerr.New(syscall.EINVAL, "File name string must start with 'fat:'")
	}
	into.Delete("filename")
	kind := 0
	for _, k := range []int{12, 16, 32} {
		if strings.Contains(name, map[int]string{12: ":12:", 16: ":16:", 32: ":32:"}[k]) {
			kind = k
		}
	}
	i := strings.LastIndexByte(name, ':')
	dir := name[i+1:]
	if c := name[i-1] | 0x20; name[i-2] == ':' && c >= 'a' && c <= 'z' {
		dir = name[i-1:]
	}
	into.Set("dir", dir)
	into.Set("fat-type", kind)
	into.Set("floppy", strings.Contains(name, ":floppy:"))
	into.Set("rw", strings.Contains(name, ":rw:"))
	return nil
}

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	dir, ok := a.Options.Raw("dir")
	if !ok {
		return nil, qerr.New(syscall.EINVAL, "vvfat block driver requires a 'dir' option")
	}
	label := a.Options.String("label", defaultLabel)
	if len(label) > labelLen {
		return nil, qerr.New(syscall.EINVAL, "vvfat label cannot be longer than 11 bytes")
	}
	g, err := newGeometry(a.Options.Uint("fat-type", 0), a.Options.Bool("floppy", false))
	if err != nil {
		return nil, err
	}
	if g.kind == 32 {
		a.Env.Warn("FAT32 has not been tested. You are welcome to do so!")
	}
	if err := access(a); err != nil {
		return nil, err
	}
	t := &tree{geometry: g, fat: newTable(g), env: a.Env}
	if err := t.read(ctx, dir, label); err != nil {
		return nil, err
	}
	return &image{geometry: g, head: g.head(label), fat: t.fat.bytes[:g.fatSectors*sectorSize], items: t.items}, nil
}

// access refuses writers, in QEMU's words where it refuses them, too.
func access(a formats.OpenArgs) error {
	write, rw := a.Flags.Has(formats.ReadWrite), a.Options.Bool("rw", false)
	switch {
	case rw && !write:
		return qerr.New(syscall.EACCES, "Unable to set VVFAT to 'rw' when drive is read-only")
	case rw:
		return qerr.New(syscall.ENOTSUP, "Writing to a directory through vvfat is not supported")
	case write:
		return qerr.New(syscall.EACCES, "Image is read-only")
	}
	return nil
}
