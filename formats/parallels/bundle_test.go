package parallels_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/parallels"
	"platter/formats/raw"
)

const (
	topID  = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
	midID  = "{11111111-2222-3333-4444-555555555555}"
	rootID = "{AAAAAAAA-2222-3333-4444-555555555555}"
	sideID = "{66666666-2222-3333-4444-555555555555}"
	noneID = "{00000000-0000-0000-0000-000000000000}"
)

func shots(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "<Shot><GUID>%s</GUID><ParentGUID>%s</ParentGUID></Shot>", pairs[i], pairs[i+1])
	}
	return b.String()
}

func storageXML(start, end int64, images ...string) string {
	var b strings.Builder
	for i := 0; i < len(images); i += 3 {
		fmt.Fprintf(&b, "<Image><GUID>%s</GUID><Type>%s</Type><File>%s</File></Image>", images[i], images[i+1], images[i+2])
	}
	return fmt.Sprintf("<Storage><Start>%d</Start><End>%d</End><Blocksize>128</Blocksize>%s</Storage>", start, end, &b)
}

func bundleXML(size int64, storages, snapshots string) string {
	return fmt.Sprintf("<?xml version='1.0' encoding='UTF-8'?>\n<Parallels_disk_image Version=\"1.0\"><Disk_Parameters>"+
		"<Disk_size>%d</Disk_size><Padding>0</Padding></Disk_Parameters><StorageData>%s</StorageData><Snapshots>%s</Snapshots>"+
		"</Parallels_disk_image>", size, storages, snapshots)
}

// splitBundle makes a disk of two parts of 1 MiB: the first on a plain file, the second on an expanding one, both under
// a snapshot, the active image, and a snapshot that nothing stands on. It gives the folder, and what each shows.
func splitBundle(t *testing.T) (dir string, content map[string][]byte) {
	t.Helper()
	img, io := stock(t, "qemu-img"), stock(t, "qemu-io")
	dir = filepath.Join(t.TempDir(), "disk.hdd")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	content = map[string][]byte{rootID: make([]byte, 2<<20)}
	write := func(id, file string, part int, pattern byte, off, n int) {
		run(t, io, "-f", "parallels", "-c", fmt.Sprintf("write -P %d %d %d", pattern, off, n), filepath.Join(dir, file))
		copy(content[id][part<<20+off:], bytes.Repeat([]byte{pattern}, n))
	}
	clone := func(to, from string) { content[to] = bytes.Clone(content[from]) }
	for _, f := range []string{"1root", "0mid", "1mid", "0top", "1top", "0side", "1side"} {
		run(t, img, "create", "-q", "-f", "parallels", "-o", "cluster_size=64k", filepath.Join(dir, f+".hds"), "1M")
	}
	plain := bytes.Repeat([]byte{1}, 1<<20)
	if err := os.WriteFile(filepath.Join(dir, "0root"), plain, 0o600); err != nil {
		t.Fatal(err)
	}
	copy(content[rootID], plain)
	write(rootID, "1root.hds", 1, 2, 0, 200<<10)
	clone(midID, rootID)
	write(midID, "0mid.hds", 0, 3, 64<<10, 64<<10)
	write(midID, "1mid.hds", 1, 4, 128<<10, 64<<10)
	clone(topID, midID)
	clone(sideID, midID)
	write(topID, "0top.hds", 0, 5, 960<<10, 64<<10)
	write(topID, "1top.hds", 1, 6, 0, 64<<10)
	write(sideID, "1side.hds", 1, 7, 512<<10, 64<<10)
	text := bundleXML(4096, storageXML(2048, 4096, rootID, "Compressed", "1root.hds", midID, "Compressed", "1mid.hds",
		topID, "Compressed", "1top.hds", sideID, "Compressed", "1side.hds")+
		storageXML(0, 2048, rootID, "Plain", "0root", topID, "Compressed", "0top.hds", midID, "Compressed", "0mid.hds",
			sideID, "Compressed", "0side.hds"),
		shots(topID, midID, midID, rootID, rootID, noneID, sideID, midID))
	if err := os.WriteFile(filepath.Join(dir, "DiskDescriptor.xml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, content
}

func openBundle(t *testing.T, name string, flags formats.OpenFlags) *chain.Node {
	t.Helper()
	var words strings.Builder
	n, err := chain.Open(context.Background(), testEnv(&words), chain.Request{Filename: name, Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	if n.Driver().Name != "parallels" || words.Len() > 0 {
		t.Errorf("opened as %s, said %q", n.Driver().Name, &words)
	}
	return n
}

func shows(t *testing.T, what string, f formats.Image, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if err := f.ReadAt(context.Background(), got, 0); err != nil {
		t.Fatal(err)
	}
	if f.Size() != int64(len(want)) || !bytes.Equal(got, want) {
		t.Errorf("%s shows something else (%d bytes, want %d)", what, f.Size(), len(want))
	}
	for off := int64(0); off < f.Size(); {
		e, err := f.Status(context.Background(), off, f.Size()-off)
		if err != nil || e.Len <= 0 {
			t.Fatalf("%s: status at %d: %+v, %v", what, off, e, err)
		}
		if e.State&(formats.Data|formats.Raw) == 0 && len(bytes.Trim(want[off:off+e.Len], "\x00")) > 0 {
			t.Errorf("%s: data at %d is called %+v", what, off, e)
		}
		off += e.Len
	}
}

func TestBundleReads(t *testing.T) {
	dir, content := splitBundle(t)
	for _, name := range []string{dir, filepath.Join(dir, "DiskDescriptor.xml")} {
		n := openBundle(t, name, 0)
		shows(t, name, n, content[topID])
		s, ok := formats.As[formats.Snapshotter](n)
		if !ok {
			t.Fatal("no snapshots")
		}
		list, err := s.Snapshots(context.Background())
		if err != nil || len(list) != 3 {
			t.Errorf("snapshots: %v, %v", list, err)
		}
		for _, id := range []string{midID, rootID, sideID} {
			v, err := s.OpenSnapshot(context.Background(), strings.ToLower(strings.Trim(id, "{}")), "")
			if err != nil {
				t.Fatal(err)
			}
			shows(t, id, v, content[id])
		}
		if _, err := s.OpenSnapshot(context.Background(), "", "nosuch"); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("no such snapshot: %v", err)
		}
		n.Close()
	}
}

// Writes change the active images alone.
func TestBundleWrites(t *testing.T) {
	dir, content := splitBundle(t)
	before := map[string][]byte{}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		if !strings.Contains(f, "top") {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			before[f] = b
		}
	}
	n, want := openBundle(t, dir, formats.ReadWrite), content[topID]
	ctx := context.Background()
	for i, w := range [][2]int{{1000<<10 + 7, 100 << 10}, {70 << 10, 5}, {1<<20 - 1, 2}, {2<<20 - 9, 9}} {
		p := bytes.Repeat([]byte{byte(0x80 + i)}, w[1])
		if err := n.WriteAt(ctx, p, int64(w[0]), 0); err != nil {
			t.Fatal(err)
		}
		copy(want[w[0]:], p)
	}
	if err := n.WriteZeroes(ctx, 900<<10, 300<<10, formats.MayUnmap); err != nil {
		t.Fatal(err)
	}
	clear(want[900<<10 : 1200<<10])
	shows(t, "the open disk", n, want)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = openBundle(t, dir, formats.ForCheck)
	defer n.Close()
	shows(t, "the disk", n, want)
	c, ok := formats.As[formats.Checker](n)
	if !ok {
		t.Fatal("cannot be checked")
	}
	var words strings.Builder
	if r, err := c.Check(ctx, 0, testEnv(&words).Env); err != nil || r.Corruptions+r.Leaks > 0 || r.AllocatedClusters == 0 {
		t.Errorf("check: %+v, %v: %s", r, err, &words)
	}
	for f, b := range before {
		if now, err := os.ReadFile(f); err != nil || !bytes.Equal(now, b) {
			t.Errorf("%s was changed (%v)", f, err)
		}
	}
}

func TestBadDescriptors(t *testing.T) {
	const hds = "d.hds"
	good := bundleXML(2048, storageXML(0, 2048, topID, "Compressed", hds), shots(topID, noneID))
	swap := func(from, to string) string { return strings.Replace(good, from, to, 1) }
	for want, text := range map[string]string{
		"":                         good,
		"version '2.0'":            swap(`"1.0"`, `"2.0"`),
		"padding":                  swap("<Padding>0", "<Padding>1"),
		"Encrypted":                swap("<Padding>", "<Encryption><Engine>{00000000-0000-0000-0000-000000000001}</Engine></Encryption><Padding>"),
		"0 sectors":                swap("<Disk_size>2048", "<Disk_size>0"),
		"9223372036854775807 sect": swap("<Disk_size>2048", "<Disk_size>9223372036854775807"),
		"end at sector 2048":       swap("<Disk_size>2048", "<Disk_size>4096"),
		"overlap, at sector 0":     bundleXML(2048, storageXML(0, 2048, topID, "Compressed", hds)+storageXML(0, 2048), ""),
		"sectors from 5 to 2":      swap("<Start>0</Start><End>2048", "<Start>5</Start><End>2"),
		"end at sector 0 of":       bundleXML(2048, "", ""),
		"type 'Sparse'":            swap("Compressed", "Sparse"),
		"two images":               bundleXML(2048, storageXML(0, 2048, topID, "Compressed", hds, topID, "Plain", hds), ""),
		"'nbd:x' is no file name":  swap(hds, "nbd:x"),
		"'json:{}' is no file":     swap(hds, "json:{}"),
		"'' is no file name":       swap(hds, ""),
		"no image '5fbaabe3":       swap(topID, midID),
		"stand on one another":     swap(noneID, topID),
		"is no image":              swap("<Snapshots>", "<Snapshots><TopGUID>"+noneID+"</TopGUID>"),
		"No such file":             swap(hds, "missing.hds"),
		"invalid character entity": swap(hds, "&bomb;"),
		"unexpected EOF":           good[:len(good)-5],
		"that are supported":       good + strings.Repeat(" ", 4<<20),
	} {
		dir := t.TempDir()
		run(t, stock(t, "qemu-img"), "create", "-q", "-f", "parallels", filepath.Join(dir, hds), "1M")
		if err := os.WriteFile(filepath.Join(dir, "DiskDescriptor.xml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var words strings.Builder
		n, err := chain.Open(context.Background(), testEnv(&words), chain.Request{Filename: dir})
		if err == nil {
			n.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func openIn(store *formatstest.Store, base string, flags formats.OpenFlags) (*chain.Node, error) {
	var words strings.Builder
	env := testEnv(&words)
	env.Registry = formats.NewRegistry(store.Driver(), raw.Driver(), parallels.Driver())
	return chain.Open(context.Background(), env, chain.Request{Filename: formatstest.Name(base), Format: "parallels", Flags: flags})
}
