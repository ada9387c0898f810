package vmdk

import (
	"context"
	"encoding/binary"
	"fmt"
	"path"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

var createOptions = option.Schema{
	{Name: "size", Type: option.Size, Help: "Virtual disk size"},
	{Name: "adapter_type", Type: option.String, Help: "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX"},
	{Name: "backing_file", Type: option.String, Help: "File name of a base image"},
	{Name: "backing_fmt", Type: option.String, Help: "Must be 'vmdk' if present"},
	{Name: "compat6", Type: option.Bool, Help: "VMDK version 6 image", Default: "off"},
	{Name: "hwversion", Type: option.String, Help: "VMDK hardware version", Default: "undefined"},
	{Name: "toolsversion", Type: option.String, Help: "VMware guest tools version"},
	{Name: "subformat", Type: option.String, Help: "VMDK flat extent format, can be one of " +
		"{monolithicSparse (default) | monolithicFlat | twoGbMaxExtentSparse | twoGbMaxExtentFlat | streamOptimized} "},
	{Name: "zeroed_grain", Type: option.Bool, Help: "Enable efficient zero writes using the zeroed-grain GTE feature"},
}

const (
	newGrain = 128 // sectors
	newTable = 512 // entries
)

// splitSize is the bytes of an extent of the twoGbMaxExtent kinds; tests have smaller ones.
var splitSize int64 = 2 << 30

// design is what the options of create ask for.
type design struct {
	kind, adapter, hardware, tools string
	backing                        string
	zeroed                         bool
}

func (s *design) flat() bool  { return s.kind == "monolithicFlat" || s.kind == "twoGbMaxExtentFlat" }
func (s *design) split() bool { return strings.HasPrefix(s.kind, "twoGbMaxExtent") }

// designOf checks the options in QEMU's order.
func designOf(v *option.Values) (*design, error) {
	if f := v.String("backing_fmt", "vmdk"); f != "vmdk" {
		return nil, qerr.New(syscall.EINVAL, "backing_file must be a vmdk image")
	}
	s := &design{kind: v.String("subformat", "monolithicSparse"), adapter: v.String("adapter_type", "ide"),
		hardware: v.String("hwversion", "undefined"), tools: v.String("toolsversion", "2147483647"),
		backing: v.String("backing_file", ""), zeroed: v.Bool("zeroed_grain", false)}
	switch s.adapter {
	case "ide", "buslogic", "lsilogic", "legacyESX":
	default:
		return nil, qerr.New(syscall.EINVAL, "invalid parameter value: %s", s.adapter)
	}
	switch s.kind {
	case "monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized":
	default:
		return nil, qerr.New(syscall.EINVAL, "invalid parameter value: %s", s.kind)
	}
	switch given := s.hardware != "undefined"; {
	case v.Bool("compat6", false) && given:
		return nil, qerr.New(syscall.EINVAL, "compat6 cannot be enabled with hwversion set")
	case v.Bool("compat6", false):
		s.hardware = "6"
	case !given:
		s.hardware = "4"
	}
	if s.flat() && v.Has("backing_file") {
		return nil, qerr.New(syscall.ENOTSUP, "Flat image can't have backing file")
	}
	if s.flat() && s.zeroed {
		return nil, qerr.New(syscall.ENOTSUP, "Flat image can't enable zeroed grain")
	}
	return s, nil
}

// sizes are those of the extents, in bytes.
func (s *design) sizes(size int64) []int64 {
	if !s.split() {
		return []int64{size}
	}
	var list []int64
	for ; size > 0; size -= splitSize {
		list = append(list, min(size, splitSize))
	}
	return list
}

// names are those of the extents' files; none if the extent is in the primary file.
func (s *design) names(name string, size int64) []string {
	if !s.split() && !s.flat() || size <= 0 {
		return nil
	}
	dir := 1 + strings.LastIndexByte(name, '/')
	for _, c := range []byte{'\\', ':'} {
		if dir == 0 {
			dir = 1 + strings.LastIndexByte(name, c)
		}
	}
	stem, ext := name, ""
	if dot := strings.LastIndexByte(name[dir:], '.'); dot >= 0 {
		stem, ext = name[:dir+dot], name[dir+dot:]
	}
	if !s.split() {
		return []string{stem + "-flat" + ext}
	}
	letter := "s"
	if s.flat() {
		letter = "f"
	}
	var list []string
	for i := range s.sizes(size) {
		list = append(list, fmt.Sprintf("%s-%s%03d%s", stem, letter, i+1, ext))
	}
	return list
}

// createNeeds are the parent and the extents' files.
func createNeeds(a formats.CreateArgs) ([]formats.Need, error) {
	s, err := designOf(a.Options)
	if err == nil && a.Name == "" {
		err = qerr.New(syscall.EINVAL, "No filename provided")
	}
	if err != nil {
		return nil, err
	}
	var needs []formats.Need
	if s.backing != "" {
		alone := qobj.NewDict()
		alone.Set("backing", nil)
		needs = append(needs, formats.Need{Role: "backing", Name: s.backing, Existing: true, Options: alone})
	}
	for i, name := range s.names(a.Name, a.Size) {
		needs = append(needs, formats.Need{Role: role(i), Name: name, Size: s.sizes(a.Size)[i]})
	}
	return needs, nil
}

// protocolEnd is the length of a "proto:" prefix, 0 if there is none.
func protocolEnd(name string) int {
	if i := strings.IndexAny(name, ":/"); i >= 0 && name[i] == ':' {
		return i + 1
	}
	return 0
}

// create lays out the extents and writes the descriptor.
func create(ctx context.Context, a formats.CreateArgs) error {
	s, err := designOf(a.Options)
	if err != nil {
		return err
	}
	// The largest size that can be given becomes negative here, as in stock, which then makes an image nobody can open.
	a.Size = (a.Size + sector - 1) &^ (sector - 1)
	parentID := uint32(0xffffffff)
	if s.backing != "" {
		if parentID, err = parentOf(ctx, a.Children["backing"]); err != nil {
			return err
		}
	}
	files, names := []formats.File{a.File}, []string{a.Name}
	own := s.names(a.Name, a.Size)
	if s.split() || s.flat() {
		files, names = nil, own
		for i := range own {
			files = append(files, a.Children[role(i)])
		}
	}
	var lines strings.Builder
	for i, f := range files {
		size := s.sizes(a.Size)[i]
		base := path.Base(names[i][protocolEnd(names[i]):])
		if s.flat() {
			err = f.Truncate(ctx, size, formats.PreallocOff)
			fmt.Fprintf(&lines, "RW %d FLAT \"%s\" 0\n", size/sector, base)
		} else {
			err = s.layOut(ctx, f, size)
			fmt.Fprintf(&lines, "RW %d SPARSE \"%s\"\n", uint64(size)/sector, base)
		}
		if err != nil {
			return err
		}
	}
	at := int64(embeddedAt)
	if own != nil || s.split() || s.flat() {
		at = 0
	}
	if err := a.File.WriteAt(ctx, s.descriptor(a.Size, parentID, lines.String()), at, 0); err != nil {
		return qerr.Errno(qerr.Of(err), "Could not write description")
	}
	return nil
}

// parentOf gives the content ID of the backing file, which must be a VMDK.
func parentOf(ctx context.Context, f formats.File) (uint32, error) {
	p, ok := formats.As[*image](f)
	if !ok {
		name := ""
		if n, ok := f.(interface{ Driver() *formats.Driver }); ok {
			name = n.Driver().Name
		}
		return 0, qerr.New(syscall.EINVAL, "Invalid backing file format: %s. Must be vmdk", name)
	}
	id, err := p.contentID(ctx)
	if err != nil {
		return 0, qerr.New(qerr.Of(err), "Failed to read parent CID")
	}
	return id, nil
}

// descriptor is the text of a new disk.
func (s *design) descriptor(size int64, parentID uint32, extents string) []byte {
	heads, parent := int64(16), ""
	if s.adapter != "ide" {
		heads = 255
	}
	if s.backing != "" {
		parent = fmt.Sprintf("parentFileNameHint=\"%s\"", s.backing)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Disk DescriptorFile\nversion=1\nCID=%x\nparentCID=%x\n", newID(), parentID)
	fmt.Fprintf(&b, "createType=\"%s\"\n%s\n", s.kind, parent)
	fmt.Fprintf(&b, "# Extent description\n%s\n", extents)
	fmt.Fprintf(&b, "# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"%s\"\n", s.hardware)
	for _, line := range []struct {
		key   string
		value any
	}{
		{"geometry.cylinders", size / (63 * heads * sector)}, {"geometry.heads", heads}, {"geometry.sectors", 63},
		{"adapterType", s.adapter}, {"toolsVersion", s.tools},
	} {
		fmt.Fprintf(&b, "ddb.%s = \"%v\"\n", line.key, line.value)
	}
	return []byte(b.String())
}

// layOut writes header, directories and empty tables of a sparse extent: 21 sectors of header and descriptor, the
// redundant directory and its tables, the directory and its tables. Counts have 32 bits, as in stock's header.
func (s *design) layOut(ctx context.Context, f formats.File, size int64) error {
	sectors := uint64(size) / sector
	grains := uint32((sectors + newGrain - 1) / newGrain)
	tables := (grains + newTable - 1) / newTable
	const tableSectors = newTable * 4 / sector
	directory := (tables*4 + sector - 1) / sector
	h := sparseHeader{version: 1, flags: flagNewLines | flagRedundant, capacity: sectors, grain: newGrain,
		descriptor: 1, descriptorN: descriptorArea / sector, tableEntries: newTable, redundant: 1 + descriptorArea/sector}
	if s.zeroed {
		h.version, h.flags = 2, h.flags|flagZeroedGrains
	}
	if s.kind == "streamOptimized" {
		h.version, h.flags, h.compression = 3, h.flags|flagCompressed|flagMarkers, deflated
	}
	part := uint64(directory + tables*tableSectors)
	h.directory = h.redundant + part
	h.data = (h.directory + part + newGrain - 1) / newGrain * newGrain
	if err := f.WriteAt(ctx, h.sectorOf(), 0, 0); err != nil {
		return err
	}
	if err := f.Truncate(ctx, int64(h.data)*sector, formats.PreallocOff); err != nil && f.Size() < int64(h.data)*sector {
		return err
	}
	for _, at := range []uint64{h.redundant, h.directory} {
		if err := writeDirectory(ctx, f, int64(at)*sector, uint32(at)+directory, tables, int(directory)*sector); err != nil {
			return err
		}
	}
	return nil
}

// writeDirectory writes the entries of tables that follow one another from a sector on.
func writeDirectory(ctx context.Context, f formats.File, off int64, first, tables uint32, size int) error {
	p := make([]byte, size)
	for i := range tables {
		binary.LittleEndian.PutUint32(p[i*4:], first+i*(newTable*4/sector))
	}
	if len(p) == 0 {
		return nil
	}
	return f.WriteAt(ctx, p, off, 0)
}
