package mount

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// info.json, map.json and check.json are byte for byte what the verbs print for the same image, and as long as stat says.
func TestDescriptionsAreTheVerbs(t *testing.T) {
	dir, qemu := t.TempDir(), stock(t, "qemu-img")
	src := filepath.Join(dir, "src.raw")
	os.WriteFile(src, append(make([]byte, 3<<20), bytes.Repeat([]byte{7}, 1<<20)...), 0o600)
	os.Truncate(src, 8<<20)
	var images [][]string
	for _, format := range []string{"raw", "qcow2", "qed", "vdi", "vmdk", "vpc", "vhdx", "parallels", "qcow"} {
		name := filepath.Join(dir, "disk."+format)
		run(t, qemu, "convert", "-f", "raw", "-O", format, src, name)
		images = append(images, []string{format, name})
	}
	rich, top := filepath.Join(dir, "disk.qcow2"), filepath.Join(dir, "top.qcow2")
	run(t, qemu, "snapshot", "-c", "one", rich)
	run(t, qemu, "bitmap", "--add", rich, "b")
	run(t, qemu, "create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", top)
	run(t, stock(t, "qemu-io"), "-c", "write -P 1 0 64k", top)
	beside := filepath.Join(dir, "beside.qcow2")
	run(t, qemu, "convert", "-f", "raw", "-O", "qcow2", "-o", "data_file="+beside+".data", src, beside)
	images = append(images, []string{"qcow2", top}, []string{"qcow2", beside})
	for _, c := range images {
		format, image := c[0], c[1]
		want := map[string]string{}
		for _, verb := range []string{"info", "map", "check"} {
			out, _, _ := try(t, platter, verb, "-f", format, "--output=json", image)
			want[verb+".json"] = out
		}
		if strings.HasSuffix(image, "top.qcow2") {
			want["chain/1/info.json"], _, _ = try(t, platter, "info", "-f", "qcow2", "--output=json", rich)
		}
		mnt := mountAt(t, "-r", "-o", "format="+format, image)
		for name, w := range want {
			st, err := os.Stat(filepath.Join(mnt, name))
			if err != nil {
				t.Fatal(err)
			}
			if w == "" { // the format has no checks
				continue
			}
			if st.Size() != int64(len(w)) {
				t.Errorf("%s %s: stat says %d bytes, the verb prints %d", filepath.Base(image), name, st.Size(), len(w))
			}
			if got, err := os.ReadFile(filepath.Join(mnt, name)); err != nil || string(got) != w {
				t.Errorf("%s %s:\n%s\nthe verb prints\n%s(%v)", filepath.Base(image), name, got, w, err)
			}
		}
		if want["check.json"] == "" {
			if _, err := os.ReadFile(filepath.Join(mnt, "check.json")); err == nil || !strings.Contains(errorLog(t, mnt), "does not support checks") {
				t.Errorf("%s: check.json: %v; %s", format, err, errorLog(t, mnt))
			}
		}
		if _, err := os.ReadDir(filepath.Join(mnt, "snapshots")); err != nil { // also where there can be none
			t.Errorf("%s: %v", filepath.Base(image), err)
		}
		unmount(t, mnt)
	}
}

// A description is that of the moment at which it was opened.
func TestDescriptionsAreCapturedAtOpen(t *testing.T) {
	image := qcow2Image(t, "8M")
	mnt := mountAt(t, image)
	for _, name := range []string{"info.json", "map.json", "check.json", "partitions/table.json"} {
		f, err := os.Open(filepath.Join(mnt, name))
		if err != nil {
			t.Fatal(err)
		}
		st, _ := f.Stat()
		if err := os.Mkdir(filepath.Join(mnt, "snapshots", filepath.Base(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		d, _ := os.OpenFile(filepath.Join(mnt, "disk.raw"), os.O_RDWR, 0)
		d.WriteAt(bytes.Repeat([]byte{1}, 1<<20), 2<<20)
		d.Close()
		b, err := io.ReadAll(f)
		if err != nil || int64(len(b)) != st.Size() || strings.Contains(string(b), `"name": "`+filepath.Base(name)) {
			t.Errorf("%s: %d bytes, stat at open said %d, %v", name, len(b), st.Size(), err)
		}
		f.Close()
	}
}

// vmstate.raw is the state of a virtual machine: clusters that stock qemu-io wrote behind the disk, in a snapshot that
// stock took; only the length of the state, which a running QEMU alone sets, is put into the table by hand.
func TestStateOfAVirtualMachine(t *testing.T) {
	image := qcow2Image(t, "16M")
	run(t, stock(t, "qemu-io"), "-c", "write -P 1 0 1M", "-c", "write -b -P 7 0 1M", "-c", "write -b -P 9 1M 64k", image)
	run(t, stock(t, "qemu-img"), "snapshot", "-c", "running", image)
	const length = 1<<20 + 1000
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b [8]byte
	f.ReadAt(b[:], 64) // snapshots_offset (docs/interop/qcow2.rst)
	at := int64(binary.BigEndian.Uint64(b[:]))
	f.WriteAt(binary.BigEndian.AppendUint32(nil, length), at+32)
	f.WriteAt(binary.BigEndian.AppendUint64(nil, length), at+40)
	f.Close()
	if out := run(t, stock(t, "qemu-img"), "snapshot", "-l", image); !strings.Contains(out, "1 MiB") {
		t.Fatalf("stock lists\n%s", out)
	}
	mnt := mountAt(t, image)
	got, err := os.ReadFile(filepath.Join(mnt, "snapshots", "running", "vmstate.raw"))
	if err != nil || len(got) != length {
		t.Fatalf("%d bytes, %v; %s", len(got), err, errorLog(t, mnt))
	}
	if !bytes.Equal(got[:1<<20], bytes.Repeat([]byte{7}, 1<<20)) || !bytes.Equal(got[1<<20:], bytes.Repeat([]byte{9}, 1000)) {
		t.Error("another content than was written")
	}
	if first(t, filepath.Join(mnt, "snapshots", "running", "disk.raw")) != 1 {
		t.Error("the snapshot's disk is another")
	}
	if s, _ := os.ReadFile(filepath.Join(mnt, "snapshots", "running", "info.json")); !strings.Contains(string(s), `"vm-state-size": `+itoa(length)) {
		t.Errorf("info.json: %s", s)
	}
	if err := os.Mkdir(filepath.Join(mnt, "snapshots", "without"), 0o755); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(mnt, "snapshots", "without", "vmstate.raw")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("vmstate.raw of a snapshot without: %v", err)
	}
	unmount(t, mnt)
	clean(t, image)
}

// Extended attributes say what a file shows.
func TestAttributes(t *testing.T) {
	need(t, "getfattr")
	base := qcow2Image(t, "8M")
	top := filepath.Join(filepath.Dir(base), "top.vmdk")
	run(t, stock(t, "qemu-img"), "convert", "-O", "vmdk", base, base+".vmdk")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "vmdk", "-b", base+".vmdk", "-F", "vmdk", top)
	mnt := mountAt(t, top)
	get := func(name, attr string) string {
		out, _, _ := try(t, "getfattr", "--only-values", "-n", "user.platter."+attr, filepath.Join(mnt, name))
		return out
	}
	for _, c := range [][3]string{
		{"disk.raw", "format", "vmdk"}, {"disk.raw", "layer", "0"}, {"disk.raw", "host-path", top}, {"disk.raw", "snapshot-id", ""},
		{"chain/1/disk.raw", "layer", "1"}, {"chain/1/own.raw", "host-path", base + ".vmdk"},
	} {
		if got := get(c[0], c[1]); got != c[2] {
			t.Errorf("%s %s: %q, want %q", c[0], c[1], got, c[2])
		}
	}
	unmount(t, mnt)
	mnt = mountAt(t, base)
	os.Mkdir(filepath.Join(mnt, "snapshots", "s"), 0o755)
	before, _ := os.Stat(filepath.Join(mnt, "snapshots/s/disk.raw"))
	os.WriteFile(filepath.Join(mnt, "disk.raw"), []byte("x"), 0)
	if after, err := os.Stat(filepath.Join(mnt, "snapshots/s/disk.raw")); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("a write to the disk changed the time of a snapshot: %v", err)
	}
	for attr, want := range map[string]string{"snapshot-id": "1", "format": "qcow2", "layer": "0", "host-path": base} {
		if got := get("snapshots/s/disk.raw", attr); got != want {
			t.Errorf("snapshot's %s: %q, want %q", attr, got, want)
		}
	}
}

// A mount of one snapshot shows the check of the image that it is in.
func TestCheckOfASnapshotIsTheImages(t *testing.T) {
	image := qcow2Image(t, "8M")
	run(t, stock(t, "qemu-img"), "snapshot", "-c", "one", image)
	want := run(t, stock(t, "qemu-img"), "check", "--output=json", image)
	mnt := mountAt(t, "-o", "snapshot=one", image)
	if got, err := os.ReadFile(filepath.Join(mnt, "check.json")); err != nil || string(got) != want {
		t.Errorf("check.json is\n%s\nwant\n%s(%v)\n%s", got, want, err, errorLog(t, mnt))
	}
}

// An image that can only be written compressed is mounted read-only, with the reason; an overlay takes the writes.
func TestStreamOptimizedIsReadOnly(t *testing.T) {
	needFUSE(t)
	dir := t.TempDir()
	raw, image, mnt := filepath.Join(dir, "raw"), filepath.Join(dir, "disk.vmdk"), filepath.Join(dir, "mnt")
	sh(t, `head -c 1M /dev/urandom > "$R"; "$Q" convert -O vmdk -o subformat=streamOptimized "$R" "$I"; mkdir "$M"`,
		"Q="+stock(t, "qemu-img"), "R="+raw, "I="+image, "M="+mnt)
	before := sum(t, image)
	t.Cleanup(func() { give(mnt) })
	_, said, code := try(t, platter, "mount", image, mnt)
	if code != 0 || !strings.Contains(said, "disk.vmdk' cannot be written and is mounted read-only: what it holds is compressed") {
		t.Fatalf("exit status %d: %s", code, said)
	}
	if st, err := os.Stat(filepath.Join(mnt, "disk.raw")); err != nil || st.Mode().Perm()&0o222 != 0 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	run(t, "cmp", raw, filepath.Join(mnt, "disk.raw"))
	unmount(t, mnt)
	run(t, platter, "mount", "-o", "overlay", image, mnt)
	sh(t, `printf changed | dd of="$M/disk.raw" conv=notrunc status=none; [ "$(head -c 7 "$M/disk.raw")" = changed ]`, "M="+mnt)
	unmount(t, mnt)
	if sum(t, image) != before {
		t.Error("the image changed")
	}
}
