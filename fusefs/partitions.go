package fusefs

import (
	"fmt"
	"strconv"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"platter/formats/qobj"
	"platter/fusefs/ptable"
)

// partitions is the directory of a disk's partitions. The table is read again whenever the disk has changed.
type partitions struct {
	img  *image
	disk *dataFile
	json *text
	by   []*links

	mu    sync.Mutex
	known bool
	gen   uint64
	table *ptable.Table
	files map[string]*dataFile // by name
	found map[string]ptable.Content
}

// kinds of links, in the order of listing.
var linkKinds = []string{"by-label", "by-partlabel", "by-partuuid", "by-uuid"}

func newPartitions(disk *dataFile) *partitions {
	d := &partitions{img: disk.img, disk: disk, files: map[string]*dataFile{}}
	d.json = &text{img: disk.img, make: d.describe}
	for _, kind := range linkKinds {
		d.by = append(d.by, &links{of: d, kind: kind})
	}
	return d
}

// asDisk lets package ptable read a content.
type asDisk struct{ content }

func (a asDisk) Size() int64                      { return a.size() }
func (a asDisk) ReadAt(p []byte, off int64) error { return a.readAt(p, off) }

// load reads the table if it may have changed. The lock is held.
func (d *partitions) load() error {
	gen := d.img.gen.Load()
	if d.known && (gen == d.gen || !d.disk.writable) {
		return nil
	}
	t, err := ptable.Read(asDisk{d.disk.content})
	if err != nil {
		return d.img.failed("reading the partition table", 0, 512, err)
	}
	d.known, d.gen, d.table, d.found = true, gen, t, nil
	files := map[string]*dataFile{}
	if t != nil {
		for _, p := range t.Partitions {
			files[partitionName(p)] = d.file(p)
		}
	}
	for n, f := range d.files {
		if files[n] != f {
			d.img.tree.nodes.drop(f)
		}
	}
	d.files = files
	return nil
}

// file keeps the file of a partition that stays where it is.
func (d *partitions) file(p ptable.Partition) *dataFile {
	if f := d.files[partitionName(p)]; f != nil && f.base == d.disk.base+p.Start && f.size() == p.Size {
		return f
	}
	return &dataFile{img: d.img, content: &window{of: d.disk.content, off: p.Start, n: p.Size}, base: d.disk.base + p.Start,
		writable: d.disk.writable, window: d.disk.writable, taken: d.disk.taken, tags: d.disk.tags}
}

// contents recognises what is in the partitions. The lock is held.
func (d *partitions) contents() map[string]ptable.Content {
	if d.found == nil {
		d.found = map[string]ptable.Content{}
		for n, f := range d.files {
			if c, err := ptable.Probe(asDisk{f.content}); err == nil {
				d.found[n] = c
			}
		}
	}
	return d.found
}

func (d *partitions) attr(a *fuse.Attr) error {
	a.Mode, a.Nlink = syscall.S_IFDIR|0o755, 2
	return nil
}

func (d *partitions) image() *image { return d.img }

func (d *partitions) fixed() bool { return false }

// partitionName is p1.raw, or p1a.raw for a partition of a BSD label within partition 1.
func partitionName(p ptable.Partition) string {
	return "p" + strconv.Itoa(p.Number) + p.Letter + ".raw"
}

func (d *partitions) child(name string) (node, error) {
	for _, l := range d.by {
		if l.kind == name {
			return l, nil
		}
	}
	if name == "table.json" {
		return d.json, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.load(); err != nil {
		return nil, err
	}
	if f := d.files[name]; f != nil {
		return f, nil
	}
	return nil, syscall.ENOENT
}

func (d *partitions) entries() ([]entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.load(); err != nil {
		return nil, err
	}
	var list []entry
	if d.table != nil {
		for _, p := range d.table.Partitions {
			list = append(list, entry{partitionName(p), syscall.S_IFREG})
		}
	}
	list = append(list, entry{"table.json", syscall.S_IFREG})
	for _, l := range d.by {
		list = append(list, entry{l.kind, syscall.S_IFDIR})
	}
	return list, nil
}

// describe makes table.json.
func (d *partitions) describe() ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.load(); err != nil {
		return nil, err
	}
	if d.table == nil {
		return []byte("null\n"), nil
	}
	o := qobj.NewDict()
	o.Set("type", d.table.Kind)
	o.Set("id", d.table.ID)
	o.Set("sector-size", d.table.SectorSize)
	o.Set("from-backup", d.table.Backup)
	list, problems := qobj.List{}, qobj.List{}
	for _, p := range d.table.Partitions {
		list = append(list, d.describeOne(p))
	}
	for _, s := range d.table.Problems {
		problems = append(problems, s)
	}
	o.Set("partitions", list)
	o.Set("problems", problems)
	return append(qobj.AppendJSON(nil, o, true), '\n'), nil
}

func (d *partitions) describeOne(p ptable.Partition) *qobj.Dict {
	o, c := qobj.NewDict(), d.contents()[partitionName(p)]
	o.Set("number", p.Number)
	o.Set("file", partitionName(p))
	o.Set("start", p.Start)
	o.Set("size", p.Size)
	o.Set("type", p.Type)
	o.Set("bootable", p.Bootable)
	for key, v := range map[string]string{"partuuid": p.UUID, "partlabel": p.Name, "content": c.Kind, "label": c.Label, "uuid": c.UUID} {
		if v != "" {
			o.Set(key, v)
		}
	}
	return o
}

// links is a directory of symbolic links to partitions, named by one of their attributes.
type links struct {
	of   *partitions
	kind string
}

// names gives the targets by link name. The first of two partitions with the same name has it.
func (l *links) names() ([]string, map[string]string, error) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if err := l.of.load(); err != nil || l.of.table == nil {
		return nil, nil, err
	}
	var order []string
	to := map[string]string{}
	for _, p := range l.of.table.Partitions {
		var name string
		switch l.kind {
		case "by-partuuid":
			name = p.UUID
		case "by-partlabel":
			name = p.Name
		case "by-label":
			name = l.of.contents()[partitionName(p)].Label
		case "by-uuid":
			name = l.of.contents()[partitionName(p)].UUID
		}
		if name = escape(name); name == "" || to[name] != "" {
			continue
		}
		order = append(order, name)
		to[name] = fmt.Sprintf("../%s", partitionName(p))
	}
	return order, to, nil
}

func (l *links) attr(a *fuse.Attr) error {
	a.Mode, a.Nlink = syscall.S_IFDIR|0o755, 2
	return nil
}

func (l *links) image() *image { return l.of.img }

func (l *links) fixed() bool { return false }

func (l *links) child(name string) (node, error) {
	_, to, err := l.names()
	if err != nil {
		return nil, err
	}
	if target, ok := to[name]; ok {
		return link(target), nil
	}
	return nil, syscall.ENOENT
}

func (l *links) entries() ([]entry, error) {
	order, _, err := l.names()
	var list []entry
	for _, name := range order {
		list = append(list, entry{name, syscall.S_IFLNK})
	}
	return list, err
}
