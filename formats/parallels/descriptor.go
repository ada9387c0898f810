package parallels

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

const (
	descriptorName = "DiskDescriptor.xml"

	// topGUID is the image that is written, where the descriptor does not name another; noGUID is no image.
	topGUID = "5fbaabe3-6958-40ff-92a7-860e329aab41"
	noGUID  = "00000000-0000-0000-0000-000000000000"

	// Bounds of what is read.
	maxDescriptor = 4 << 20
	maxImages     = 4096
	maxLayers     = 256
)

// descriptor is what DiskDescriptor.xml says (QEMU's docs/interop/prl-xml.rst; split disks as Parallels Desktop makes
// them: several storages, each with its own images).
type descriptor struct {
	size     int64     // of the disk, bytes
	storages []storage // in the order of the disk, without gaps
	shots    []shot    // in the order of the file
	top      string    // GUID
}

// storage is a part of the disk.
type storage struct {
	start, end int64 // bytes
	images     []imageFile
}

// imageFile is the file that holds a snapshot's part of a storage.
type imageFile struct {
	guid, name string
	plain      bool
}

// shot is a snapshot, which is an image: what its parent holds, shows through.
type shot struct{ guid, parent string }

// document is the XML. What is not here is for Parallels' own use.
type document struct {
	XMLName    xml.Name `xml:"Parallels_disk_image"`
	Version    string   `xml:"Version,attr"`
	Parameters struct {
		Size       int64  `xml:"Disk_size"`
		Padding    int64  `xml:"Padding"`
		Encryption string `xml:"Encryption>Engine"`
	} `xml:"Disk_Parameters"`
	Storages []struct {
		Start  int64 `xml:"Start"`
		End    int64 `xml:"End"`
		Images []struct {
			GUID string `xml:"GUID"`
			Type string `xml:"Type"`
			File string `xml:"File"`
		} `xml:"Image"`
	} `xml:"StorageData>Storage"`
	Top   string `xml:"Snapshots>TopGUID"`
	Shots []struct {
		GUID   string `xml:"GUID"`
		Parent string `xml:"ParentGUID"`
	} `xml:"Snapshots>Shot"`
}

// isDescriptor reports whether a file that begins with head is a descriptor.
func isDescriptor(head []byte) bool {
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	return (bytes.HasPrefix(head, []byte("<?xml")) || bytes.HasPrefix(head, []byte("<Parallels_disk_image"))) &&
		bytes.Contains(head, []byte("<Parallels_disk_image"))
}

func badDescriptor(format string, a ...any) error {
	return qerr.New(syscall.EINVAL, "Invalid disk descriptor: %s", fmt.Sprintf(format, a...))
}

// readDescriptor reads the descriptor that file holds; nil if it holds something else.
func readDescriptor(ctx context.Context, file formats.File) (*descriptor, error) {
	head := make([]byte, min(sectorSize, max(file.Size(), 0)))
	if err := file.ReadAt(ctx, head, 0); err != nil {
		return nil, err
	}
	if !isDescriptor(head) {
		return nil, nil
	}
	if file.Size() > maxDescriptor {
		return nil, qerr.New(syscall.EFBIG, "Invalid disk descriptor: it has %d bytes, more than the %d that are supported",
			file.Size(), maxDescriptor)
	}
	text := make([]byte, file.Size())
	if err := file.ReadAt(ctx, text, 0); err != nil {
		return nil, err
	}
	return parseDescriptor(bytes.TrimRight(text, "\x00")) // a file's size is shown in whole sectors
}

func parseDescriptor(text []byte) (*descriptor, error) {
	var doc document
	dec := xml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil && err != io.EOF {
		return nil, badDescriptor("%v", err)
	}
	p := doc.Parameters
	switch {
	case doc.Version != "1.0":
		return nil, badDescriptor("version '%s' is not supported", doc.Version)
	case p.Padding != 0:
		return nil, badDescriptor("padding is not supported")
	case strings.TrimSpace(p.Encryption) != "" && normal(p.Encryption) != noGUID:
		return nil, qerr.New(syscall.ENOTSUP, "Encrypted Parallels disks are not supported")
	case p.Size <= 0 || p.Size > math.MaxInt64/sectorSize:
		return nil, badDescriptor("the disk has %d sectors", p.Size)
	}
	d := &descriptor{size: p.Size * sectorSize, top: topGUID}
	for _, s := range doc.Shots {
		d.shots = append(d.shots, shot{normal(s.GUID), normal(s.Parent)})
	}
	if t := strings.TrimSpace(doc.Top); t != "" {
		d.top = normal(t)
	}
	if err := d.addStorages(&doc); err != nil {
		return nil, err
	}
	return d, d.validate()
}

// normal is a GUID without its braces, in lower case.
func normal(guid string) string { return strings.ToLower(strings.Trim(strings.TrimSpace(guid), "{}")) }

// addStorages takes the storages over, which must cover the disk.
func (d *descriptor) addStorages(doc *document) error {
	count := 0
	for _, s := range doc.Storages {
		if s.Start < 0 || s.End <= s.Start || s.End > d.size/sectorSize {
			return badDescriptor("a storage has the sectors from %d to %d", s.Start, s.End)
		}
		st := storage{start: s.Start * sectorSize, end: s.End * sectorSize}
		for _, i := range s.Images {
			f := imageFile{guid: normal(i.GUID), name: strings.TrimSpace(i.File), plain: strings.TrimSpace(i.Type) == "Plain"}
			switch name, _, _ := strings.Cut(f.name, "/"); {
			case !f.plain && strings.TrimSpace(i.Type) != "Compressed":
				return badDescriptor("image type '%s' is not supported", i.Type)
			case f.name == "" || strings.Contains(name, ":"):
				return badDescriptor("'%s' is no file name", f.name)
			}
			if _, ok := st.image(f.guid); ok {
				return badDescriptor("a storage has two images '%s'", f.guid)
			}
			st.images = append(st.images, f)
		}
		if count += len(st.images); count > maxImages {
			return badDescriptor("more than %d images are not supported", maxImages)
		}
		d.storages = append(d.storages, st)
	}
	slices.SortFunc(d.storages, func(a, b storage) int { return int(min(max(a.start-b.start, -1), 1)) })
	end := int64(0)
	for _, s := range d.storages {
		if s.start != end {
			return badDescriptor("the storages leave a gap, or overlap, at sector %d", min(s.start, end)/sectorSize)
		}
		end = s.end
	}
	if end != d.size {
		return badDescriptor("the storages end at sector %d of %d", end/sectorSize, d.size/sectorSize)
	}
	return nil
}

// image finds the image of a snapshot.
func (s *storage) image(guid string) (int, bool) {
	i := slices.IndexFunc(s.images, func(f imageFile) bool { return f.guid == guid })
	return i, i >= 0
}

// validate looks whether the active image is there in all storages, and its parents.
func (d *descriptor) validate() error {
	if len(d.shots) == 0 && len(d.storages[0].images) == 1 {
		d.top = d.storages[0].images[0].guid
	}
	_, err := d.layers(d.top)
	return err
}

// layers lists a snapshot and those that show through it, as they lie above one another.
func (d *descriptor) layers(guid string) ([]string, error) {
	var list []string
	for guid != noGUID {
		for _, s := range d.storages {
			if _, ok := s.image(guid); !ok {
				return nil, badDescriptor("no image '%s' for the sectors from %d to %d", guid, s.start/sectorSize, s.end/sectorSize)
			}
		}
		if list = append(list, guid); len(list) > maxLayers {
			return nil, badDescriptor("more than %d snapshots stand on one another", maxLayers)
		}
		i := slices.IndexFunc(d.shots, func(s shot) bool { return s.guid == guid })
		if i < 0 {
			break
		}
		guid = d.shots[i].parent
	}
	if len(list) == 0 {
		return nil, badDescriptor("'%s' is no image", guid)
	}
	return list, nil
}
