package vvfat

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"platter/formats"
	"platter/formats/qerr"
)

// item is a directory, or a file that is not empty: what has clusters.
type item struct {
	name       string // the root's is the path
	parent     int    // number of the item that is its directory; -1 for the root
	entry      int    // place of its entry in the parent's entries
	begin, end uint32 // clusters
	size       int64  // bytes of a file
	dir        *directory
}

// tree is the directory tree while it is read.
type tree struct {
	geometry
	fat   *table
	items []item
	env   *formats.Env
}

// path is where item i is on this machine.
func path(items []item, i int) string {
	var parts []string
	for ; items[i].parent >= 0; i = items[i].parent {
		parts = append(parts, items[i].name)
	}
	p := items[i].name
	for k := len(parts) - 1; k >= 0; k-- {
		p += "/" + parts[k]
	}
	return p
}

// read lays the tree out, breadth first: an item's clusters follow those of the one found before it.
func (t *tree) read(ctx context.Context, root, label string) error {
	d := newDirectory()
	d.append([shortLen]byte(padded(label)), attrLabel)
	t.items = []item{{name: strings.TrimSuffix(root, "/"), parent: -1, dir: d}}
	cluster := uint32(0)
	for i := 0; i < len(t.items); i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.items[i].begin = cluster
		length := t.items[i].size
		if t.items[i].dir != nil {
			if err := t.readDir(i); err != nil {
				return err
			}
			length = t.dirLength(i)
		}
		m := &t.items[i]
		m.end = cluster + uint32((length+clusterSize-1)/clusterSize)
		if cluster = m.end; cluster > t.clusters {
			return qerr.New(syscall.EINVAL, "Directory does not fit in FAT%d (capacity %.2f MB)", t.kind, float64(t.total)/2000)
		}
		if i > 0 {
			t.begin(m)
			t.fat.chain(m.begin, m.end)
		}
	}
	// What the marks of the reserved entries are, QEMU decides last; a FAT32 root leaves cluster 1 to a file.
	t.fat.set(0, t.fat.end)
	t.fat.set(1, t.fat.end)
	t.fat.bytes[0] = t.media()
	return nil
}

// begin writes where an item begins into its entry.
func (t *tree) begin(m *item) {
	e := t.items[m.parent].dir.entries[m.entry:]
	setBegin(e, m.begin)
}

func setBegin(e []byte, cluster uint32) {
	binary.LittleEndian.PutUint16(e[20:], uint16(cluster>>16))
	binary.LittleEndian.PutUint16(e[26:], uint16(cluster))
}

// dirLength is the length of a directory in bytes. The root has a fixed room at least, which FAT32 does without.
func (t *tree) dirLength(i int) int64 {
	n := int64(len(t.items[i].dir.entries))
	if i == 0 && t.kind != 32 {
		return max(n, rootEntries*entrySize)
	}
	return n
}

// unreadable is the error for a directory; the reason is written before it.
func (t *tree) unreadable(i int) error {
	return qerr.New(syscall.EIO, "Could not read directory %s", path(t.items, i))
}

// readDir makes the entries of directory i and adds what it has to the items.
func (t *tree) readDir(i int) error {
	dir := path(t.items, i)
	names, err := list(dir)
	if err != nil {
		return t.unreadable(i)
	}
	d := t.items[i].dir
	if i > 0 {
		parent := t.items[t.items[i].parent].begin
		t.dots(d, dir, t.items[i].begin, parent)
	}
	for _, name := range names {
		if i == 0 && t.kind != 32 && d.count() >= rootEntries-1 {
			t.env.Report("Too many entries in root directory")
			return t.unreadable(i)
		}
		if err := t.add(i, d, dir, name); err != nil {
			return err
		}
	}
	d.taken, d.tails = nil, nil
	return nil
}

// list gives the names in a directory in its own order. An empty path is no directory.
func list(dir string) ([]string, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// dots adds "." and "..".
func (t *tree) dots(d *directory, dir string, own, parent uint32) {
	for _, e := range []struct {
		name    string
		cluster uint32
	}{{".", own}, {"..", parent}} {
		var st unix.Stat_t
		if unix.Stat(dir+"/"+e.name, &st) != nil {
			continue
		}
		at := d.append([shortLen]byte(padded(e.name)), attrDir)
		stamp(d.entries[at:], &st)
		setBegin(d.entries[at:], e.cluster)
	}
}

// add adds one name to directory i. What cannot be looked at is left out, as QEMU does.
func (t *tree) add(i int, d *directory, dir, name string) error {
	var st unix.Stat_t
	if unix.Stat(dir+"/"+name, &st) != nil {
		return nil
	}
	attr, isDir := byte(attrFile), st.Mode&unix.S_IFMT == unix.S_IFDIR
	if isDir {
		attr = attrDir
	}
	at, err := d.add(name, attr)
	if err != nil {
		t.env.Report("%s: %v", dir, err)
		return t.unreadable(i)
	}
	if !utf8.ValidString(name) {
		t.env.Report("vvfat: invalid UTF-8 name: %s", name)
	}
	stamp(d.entries[at:], &st)
	if st.Size > 0x7fffffff {
		t.env.Report("File %s is larger than 2GB", filepath.Join(dir, name))
		return t.unreadable(i)
	}
	if isDir {
		t.items = append(t.items, item{name: name, parent: i, entry: at, dir: newDirectory()})
		return nil
	}
	binary.LittleEndian.PutUint32(d.entries[at+28:], uint32(st.Size))
	if st.Size > 0 {
		t.items = append(t.items, item{name: name, parent: i, entry: at, size: st.Size})
	}
	return nil
}

// stamp writes the times of an entry, in local time.
func stamp(e []byte, st *unix.Stat_t) {
	le := binary.LittleEndian
	put := func(dateAt, timeAt int, ts unix.Timespec) {
		t := time.Unix(ts.Sec, 0)
		le.PutUint16(e[dateAt:], uint16(t.Day()|int(t.Month())<<5|(t.Year()-1980)<<9))
		if timeAt > 0 {
			le.PutUint16(e[timeAt:], uint16(t.Second()/2|t.Minute()<<5|t.Hour()<<11))
		}
	}
	put(16, 14, st.Ctim)
	put(18, 0, st.Atim)
	put(24, 22, st.Mtim)
}
