package vmdk

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/internal/chunkcache"
	"platter/formats/qerr"
)

// Driver is the VMDK format.
func Driver() *formats.Driver {
	return &formats.Driver{
		Name: "vmdk", Kind: formats.Format, Backing: true, Compresses: true,
		CreateOpts:  createOptions,
		Probe:       probe,
		Needs:       needs,
		Open:        open,
		CreateNeeds: createNeeds,
		Create:      create,
	}
}

// probe knows the magics, and a descriptor by its comments and blank lines followed by the version.
func probe(head []byte, _ string) int {
	if m := magicOf(head); m == magicSparse || m == magicCOWD {
		return 100
	}
	for rest := string(head); rest != ""; {
		line, after, whole := strings.Cut(rest, "\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, " ") && strings.Trim(strings.TrimSuffix(line, "\r"), " ") == "" && whole:
		default:
			line = strings.TrimSuffix(line, "\r")
			if whole && (line == "version=1" || line == "version=2" || line == "version=3") {
				return 100
			}
			return 0
		}
		rest = after
	}
	return 0
}

func magicOf(head []byte) string { return string(head[:min(4, len(head))]) }

// layout is what the first bytes of the primary file tell.
type layout struct {
	sparse bool // the file is itself a sparse extent
	kind   string
	lines  []extentLine
}

// layoutOf reads the descriptor, or finds that there is only a sparse file.
func layoutOf(ctx context.Context, f formats.File) (l layout, err error) {
	text, err := readText(ctx, f, 0)
	if err != nil {
		return l, err
	}
	switch magicOf(text) {
	case magicCOWD:
		l.sparse = true
		return l, nil
	case magicSparse:
		h, err := readSparse(ctx, f, nameOf(f))
		if err != nil || h.capacity != 0 || h.descriptor == 0 {
			l.sparse = true
			return l, err
		}
		if h.descriptor > maxSectors {
			return l, qerr.New(syscall.EINVAL, "Could not read from file: %s", qerr.Text(syscall.EIO))
		}
		if text, err = readText(ctx, f, int64(h.descriptor)*sector); err != nil {
			return l, err
		}
	}
	if l.kind, err = createType(untilNUL(text)); err == nil {
		l.lines, err = extentLines(untilNUL(text))
	}
	return l, err
}

func role(i int) string { return fmt.Sprintf("extents.%d", i) }

// needs are the files that the descriptor names.
func needs(ctx context.Context, a formats.OpenArgs) ([]formats.Need, error) {
	l, err := layoutOf(ctx, a.File)
	if err != nil {
		return nil, err
	}
	var list []formats.Need
	for i, line := range l.lines {
		list = append(list, formats.Need{Role: role(i), Name: line.name})
	}
	return list, nil
}

func open(ctx context.Context, a formats.OpenArgs) (formats.Image, error) {
	l, err := layoutOf(ctx, a.File)
	if err != nil {
		return nil, err
	}
	d := &image{file: a.File, name: a.Name, env: a.Env, writable: a.Flags.Has(formats.ReadWrite), createType: l.kind,
		pending: map[place]bool{}, decoded: chunkcache.New(decodedBytes)}
	d.free.L = &d.mu
	d.tables.all, d.tables.changed = map[tableKey]*table{}, map[tableKey]*table{}
	head := make([]byte, 4)
	if err := a.File.ReadAt(ctx, head, 0); err != nil {
		return nil, err
	}
	if m := magicOf(head); m == magicSparse || m == magicCOWD {
		d.textAt = embeddedAt
	}
	if l.sparse {
		err = d.openByMagic(ctx, a.File)
	}
	for i, line := range l.lines {
		if err == nil {
			err = d.openExtent(ctx, a.Children[role(i)], line)
		}
	}
	if err == nil {
		err = d.readDescriptor(ctx)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// openExtent adds what a line of the descriptor names.
func (d *image) openExtent(ctx context.Context, f formats.File, line extentLine) error {
	var err error
	switch {
	case line.flat():
		err = d.add(&extent{file: f, events: formats.EventsOf(f), sectors: line.sectors, flat: true, offset: line.offset * sector})
	case line.kind == "SESPARSE":
		err = d.openSE(ctx, f)
	default:
		err = d.openByMagic(ctx, f)
	}
	if err == nil {
		d.extents[len(d.extents)-1].kind = line.kind
	}
	return err
}

func (d *image) openByMagic(ctx context.Context, f formats.File) error {
	if f.Size() < 4 {
		return qerr.New(syscall.EINVAL, "File is too small, not a valid image")
	}
	head := make([]byte, 4)
	if err := f.ReadAt(ctx, head, 0); err != nil {
		return qerr.Errno(qerr.Of(err), "Could not read from file")
	}
	switch magicOf(head) {
	case magicCOWD:
		return d.openCOWD(ctx, f)
	case magicSparse:
		return d.openSparse(ctx, f)
	}
	return qerr.New(syscall.EINVAL, "Image not in VMDK format")
}

// readDescriptor finds the parent's name and both content IDs.
func (d *image) readDescriptor(ctx context.Context) error {
	invalid := qerr.Errno(syscall.EINVAL, "Could not open '%s'", d.name)
	text, err := d.text(ctx)
	if err != nil {
		return err
	}
	var ok bool
	if d.parent, ok = parentName(text); !ok {
		return invalid
	}
	if d.cid, _, _, ok = contentID(text, "CID"); !ok {
		return invalid
	}
	if d.parentCID, _, _, ok = contentID(text, "parentCID"); !ok {
		return invalid
	}
	return nil
}

// text is the descriptor as it stands in the file now.
func (d *image) text(ctx context.Context) (string, error) {
	n := int64(descriptorArea)
	if d.textAt == 0 {
		n = max(n, min(d.file.Size(), maxText))
	}
	p := make([]byte, n)
	if err := d.file.ReadAt(ctx, p, d.textAt); err != nil {
		return "", err
	}
	return untilNUL(p), nil
}

// contentID reads the content ID of a parent at the moment.
func (d *image) contentID(ctx context.Context) (uint32, error) {
	text, err := d.text(ctx)
	if err != nil {
		return 0, err
	}
	id, _, _, ok := contentID(text, "CID")
	if !ok {
		return 0, qerr.New(syscall.EINVAL, "'%s' has no content ID", d.name)
	}
	return id, nil
}
