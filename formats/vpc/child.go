package vpc

import (
	"context"
	"encoding/binary"
	"path"
	"strings"
	"syscall"
	"time"
	"unicode/utf16"

	"golang.org/x/sys/unix"

	"platter/formats"
	"platter/formats/internal/parentpath"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// maxParentName is the length of the parent's name in the header, in UTF-16 units.
const maxParentName = 256

// createNeeds is the parent of a differencing image.
func createNeeds(a formats.CreateArgs) ([]formats.Need, error) {
	name := a.Options.String("backing_file", "")
	switch {
	case name == "":
		return nil, nil
	case a.Options.String("backing_fmt", "vpc") != "vpc":
		return nil, qerr.New(syscall.EINVAL, "backing_file must be a vpc image")
	case a.Options.String("subformat", "dynamic") != "dynamic":
		return nil, qerr.New(syscall.ENOTSUP, "Only a dynamic image can have a backing file")
	}
	alone := qobj.NewDict()
	alone.Set("backing", nil)
	return []formats.Need{{Role: "backing", Name: name, Format: "vpc", Existing: true, Options: alone}}, nil
}

// parentage is what a differencing image keeps of its parent.
type parentage struct {
	id       [16]byte
	changed  uint32 // when the file was written last, in seconds since 2000
	name     string // last element of the path
	relative string // Windows paths
	absolute string // may be ""
}

// createChild makes a differencing image: its size and geometry are its parent's.
func createChild(ctx context.Context, a formats.CreateArgs) error {
	file := a.Children["backing"]
	p, ok := formats.As[*image](file)
	if !ok {
		return qerr.New(syscall.EINVAL, "backing_file must be a vpc image")
	}
	if a.Size != p.size {
		return qerr.New(syscall.EINVAL, "A differencing image has the size of its backing file, which is %d bytes", p.size)
	}
	from, err := parentageOf(p, a.Name, nameOf(p.file))
	if err != nil {
		return err
	}
	g := geometry{binary.BigEndian.Uint16(p.foot[atCylinders:]), p.foot[atHeads], p.foot[atTrack]}
	// Where the geometry says something else than the size, readers must go by the size.
	forced := a.Options.Bool("force_size", false) || g.sectors() != p.size/sectorSize && g.sectors() != maxGeometry
	l := &dynamic{foot: newFooter(typeDifferencing, p.size/sectorSize, g, forced), size: p.size, block: p.block, parent: from}
	if p.kind == typeFixed {
		l.block = defaultBlock
	}
	return l.write(ctx, a.File)
}

func parentageOf(p *image, image, parent string) (*parentage, error) {
	from := &parentage{id: p.UUID(), changed: p.modified(), name: path.Base(parent)}
	var err error
	from.relative, from.absolute, err = parentpath.Windows(image, parent)
	return from, err
}

// nameOf is the file name of a node.
func nameOf(f formats.File) string {
	if n, ok := f.(interface{ Filename() string }); ok {
		return n.Filename()
	}
	return ""
}

// modified is the time of the last change of the image's file, or of its creation if that is not known, in seconds since
// 2000.
func (d *image) modified() uint32 {
	if h, ok := formats.As[formats.HostFile](d.file); ok {
		var st unix.Stat_t
		if fd, ok := h.FD(); ok && unix.Fstat(fd, &st) == nil {
			return uint32(time.Unix(st.Mtim.Unix()).Unix() - epoch)
		}
	}
	return binary.BigEndian.Uint32(d.foot[atTimestamp:])
}

// describe puts the parent into a dynamic header, and gives the paths that its locators name, which are to lie at.
func (p *parentage) describe(head []byte, at int64) []byte {
	if p == nil {
		return nil
	}
	be := binary.BigEndian
	copy(head[atParentUUID:], p.id[:])
	be.PutUint32(head[atParentTime:], p.changed)
	for i, u := range utf16.Encode([]rune(p.name)) {
		if i < maxParentName {
			be.PutUint16(head[atParentName+2*i:], u)
		}
	}
	var paths []byte
	for k, l := range []struct{ platform, path string }{{locatorRelative, p.relative}, {locatorAbsolute, p.absolute}} {
		if l.path == "" {
			continue
		}
		raw := encodeUTF16(l.path)
		space := (len(raw) + sectorSize - 1) &^ (sectorSize - 1)
		entry := head[atLocators+24*k:]
		copy(entry, l.platform)
		// Bytes, as Virtual PC writes it, where the specification has sectors: readers go by the length that follows.
		be.PutUint32(entry[4:], uint32(space))
		be.PutUint32(entry[8:], uint32(len(raw)))
		be.PutUint64(entry[16:], uint64(at)+uint64(len(paths)))
		paths = append(append(paths, raw...), make([]byte, space-len(raw))...)
	}
	return paths
}

func encodeUTF16(s string) []byte {
	var raw []byte
	for _, u := range utf16.Encode([]rune(strings.ToValidUTF8(s, "\uFFFD"))) {
		raw = binary.LittleEndian.AppendUint16(raw, u)
	}
	return raw
}
