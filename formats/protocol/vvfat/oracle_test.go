package vvfat_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"platter/chain"
	"platter/formats"
	"platter/formats/all"
	"platter/formats/qobj"
	"platter/integration/programs"
)

// stock finds the stock qemu-img, or skips.
func stock(t testing.TB) string {
	t.Helper()
	return programs.StockPath(t, "qemu-img")
}

func open(name string, lines *[]string, opts ...string) (*chain.Node, error) {
	note := func(f string, a ...any) { *lines = append(*lines, fmt.Sprintf(f, a...)) }
	d := qobj.NewDict()
	for _, o := range opts {
		k, v, _ := strings.Cut(o, "=")
		d.Set(k, v)
	}
	env := &chain.Env{Registry: all.Registry(), Env: &formats.Env{Warn: note, Report: note}}
	return chain.Open(context.Background(), env, chain.Request{Filename: name, Options: d})
}

// compared is how much of a disk is read: all of the small ones, and of the others more than the samples fill.
const compared = 32 << 20

// disk is the start of what a name opens, read in pieces of an odd length.
func disk(t testing.TB, name string, opts ...string) []byte {
	t.Helper()
	n, err := open(name, new([]string), opts...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer n.Close()
	size := min(n.Size(), compared)
	p := make([]byte, size)
	for off, step := int64(0), int64(3<<20+512*7); off < size; off += step {
		if err := n.ReadAt(context.Background(), p[off:min(off+step, size)], off); err != nil {
			t.Fatalf("read at %d: %v", off, err)
		}
	}
	return p
}

// start is as much of a file that stock made, without what it leaves behind the ends of files.
func start(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, compared))
	if err != nil {
		t.Fatal(err)
	}
	blank(p)
	return p
}

func put(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// sample makes a directory with what is special about names, kinds and sizes.
func sample(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for i, name := range []string{
		"hello.txt", "UPPER.TXT", ".hidden", "..two", "a long name with spaces.data", "a long name with more.data",
		"a long name with dots.and.more.dots", "ünïcode.txt", "日本語のとても長い名前.txt", "🙂.x", "a+b,c=d.tx", "noext", "exactly8.abc",
		"exactly13char", "ninechars", "trailing.", "x.longext", "a.b", "A.B.", "$%'-_@~`", "!(){}^#&.()x", "\x01\x7fctl",
		"bad\xff\xfename.txt", "\xe5abc", "\xc3", ".\xc3.x", "sub/deep/one", "sub/two", "sub/" + strings.Repeat("n", 255),
		"other/" + strings.Repeat("ü", 127),
	} {
		put(t, filepath.Join(dir, name), bytes.Repeat([]byte{byte('a' + i)}, i*1000))
	}
	for c := byte(' '); c < 0x7f; c++ {
		if c != '/' && c != '.' {
			put(t, filepath.Join(dir, "chars", "c"+string(rune(c))+"z"), []byte{c})
		}
	}
	for i := range 130 {
		put(t, filepath.Join(dir, "many", fmt.Sprintf("similar name %d.txt", i)), nil)
	}
	link := func(to, name string) {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("hello.txt", "link")
	link("sub", "dirlink")
	link("nowhere", "dangling")
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Date(1999, 12, 31, 23, 59, 58, 0, time.Local)
	if err := os.Chtimes(filepath.Join(dir, "noext"), time.Now(), old); err != nil {
		t.Fatal(err)
	}
	return dir
}

// blank clears what lies behind the end of each file, which stock leaves as its buffer was: it goes through all the
// directory entries of a FAT16 or FAT12 disk whose files are contiguous.
func blank(p []byte) {
	le := binary.LittleEndian
	boot := 0
	if p[0x1b8] == 0xfa && p[0x1ba] == 0x1a {
		boot = 63
	}
	b := p[boot*512:]
	root := (boot + 1 + 2*int(le.Uint16(b[22:]))) * 512
	seen := map[uint16]bool{}
	var walk func(dir []byte)
	walk = func(dir []byte) {
		for ; len(dir) >= 32 && dir[0] != 0; dir = dir[32:] {
			begin, size := le.Uint16(dir[26:]), int(le.Uint32(dir[28:]))
			if dir[11] == 0x0f || dir[11] == 0x28 || dir[0] == '.' || begin == 0 || seen[begin] {
				continue
			}
			seen[begin] = true
			at := root + int(begin)*8192
			if dir[11] == 0x10 {
				walk(p[at:])
				continue
			}
			clear(p[at+size : at+(size+8191)/8192*8192])
		}
	}
	walk(p[root:])
}

func TestSameBytesAsStock(t *testing.T) {
	qemu, dir := stock(t), sample(t)
	out := filepath.Join(t.TempDir(), "out")
	for _, name := range []string{"fat:", "fat:12:", "fat:floppy:", "fat:floppy:16:", "fat:floppy:12:", "fat:32:", "fat:floppy:32:"} {
		if msg, err := exec.Command(qemu, "convert", "-O", "raw", name+dir, out).CombinedOutput(); err != nil {
			if _, ours := open(name+dir, new([]string)); ours == nil || !strings.Contains(string(msg), ours.Error()) {
				t.Errorf("%s: %v, stock: %s", name, ours, msg)
			}
			continue
		}
		theirs, ours := start(t, out), disk(t, name+dir)
		if len(ours) != len(theirs) {
			t.Errorf("%s: %d bytes, stock has %d", name, len(ours), len(theirs))
			continue
		}
		if !bytes.Equal(ours, theirs) {
			i := 0
			for ours[i] == theirs[i] {
				i++
			}
			k := i / 32 * 32
			t.Errorf("%s: differs at %d: % x, stock has % x", name, i, ours[k:k+32], theirs[k:k+32])
		}
	}
}

// A link to its own directory is followed until the system refuses to.
func TestLinkToItself(t *testing.T) {
	qemu, dir := stock(t), t.TempDir()
	put(t, filepath.Join(dir, "sub", "f"), []byte("content"))
	if err := os.Symlink(".", filepath.Join(dir, "sub", "self")); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if msg, err := exec.Command(qemu, "convert", "-O", "raw", "fat:floppy:"+dir, out).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, msg)
	}
	if !bytes.Equal(disk(t, "fat:floppy:"+dir), start(t, out)) {
		t.Error("other bytes than stock's")
	}
}

func TestRootOfAnySize(t *testing.T) {
	qemu := stock(t)
	out := filepath.Join(t.TempDir(), "out")
	for _, n := range []int{254, 255, 256, 257} {
		dir := t.TempDir()
		for i := range n {
			put(t, filepath.Join(dir, fmt.Sprintf("f%d", i)), []byte("x")[:i/200])
		}
		_, stockErr := exec.Command(qemu, "convert", "-O", "raw", "fat:"+dir, out).CombinedOutput()
		d, err := open("fat:"+dir, new([]string))
		if (err == nil) != (stockErr == nil) {
			t.Errorf("%d files: %v, stock: %v", n, err, stockErr)
		}
		if err != nil || stockErr != nil {
			continue
		}
		d.Close()
		if !bytes.Equal(disk(t, "fat:"+dir), start(t, out)) {
			t.Errorf("%d files: other bytes than stock's", n)
		}
	}
}

// Refusals and the name of an image are stock's.
func TestWordsOfStock(t *testing.T) {
	qemu, dir := stock(t), sample(t)
	big, huge := t.TempDir(), t.TempDir()
	put(t, filepath.Join(big, "f"), nil)
	put(t, filepath.Join(huge, "f"), nil)
	if os.Truncate(filepath.Join(big, "f"), 600<<20) != nil || os.Truncate(filepath.Join(huge, "f"), 3<<30) != nil {
		t.Skip("the file system has no sparse files")
	}
	for _, name := range []string{"fat:" + dir, "fat:floppy:" + dir, "fat:rw:" + dir, "fat:/nonexistent", "fat:", "fat:x:" + dir,
		"fat:32:" + dir, "fat:" + big, "fat:floppy:12:" + big, "fat:" + huge, "fat:" + dir + "/"} {
		var stdout, stderr strings.Builder
		cmd := exec.Command(qemu, "info", name)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		cmd.Run()
		var lines []string
		n, err := open(name, &lines)
		theirs := strings.TrimSuffix(stderr.String(), "\n")
		theirs = strings.ReplaceAll(theirs, "qemu-img: warning: ", "")
		theirs = strings.ReplaceAll(theirs, "qemu-img: Could not open '"+name+"': ", "")
		if err != nil {
			lines = append(lines, err.Error())
		} else {
			if want := "image: " + n.Filename() + "\n"; !strings.HasPrefix(stdout.String(), want) {
				t.Errorf("%s, stock says %.200s", want, stdout.String())
			}
			n.Close()
		}
		if ours := strings.Join(lines, "\n"); ours != theirs {
			t.Errorf("%s: %q, stock says %q", name, ours, theirs)
		}
	}
}

func TestOptions(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "f"), []byte("content"))
	for opts, want := range map[string]string{
		"driver=vvfat": "vvfat block driver requires a 'dir' option",
		"driver=vvfat,dir=" + dir + ",fat-type=13":        "Valid FAT types are only 12, 16 and 32",
		"driver=vvfat,dir=" + dir + ",label=abcdefghijkl": "vvfat label cannot be longer than 11 bytes",
	} {
		if _, err := open("", new([]string), strings.Split(opts, ",")...); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", opts, err, want)
		}
	}
	p := disk(t, "", "driver=vvfat", "dir="+dir, "floppy=on", "label=my label")
	if string(p[43:54]) != "my label   " || string(p[2560:2571]) != "my label   " {
		t.Errorf("labels %q and %q", p[43:54], p[2560:2571])
	}
	env := &chain.Env{Registry: all.Registry(), Env: &formats.Env{Warn: t.Logf, Report: t.Logf}}
	_, err := chain.Open(context.Background(), env, chain.Request{Filename: "fat:rw:" + dir, Flags: formats.ReadWrite})
	if err == nil || err.Error() != "Writing to a directory through vvfat is not supported" {
		t.Errorf("for writing: %v", err)
	}
}

// mtools reads every file back.
func TestFilesByMtools(t *testing.T) {
	mcopy, err := exec.LookPath("mcopy")
	if err != nil {
		t.Skip("mtools are absent: ", err)
	}
	dir, img, back := t.TempDir(), filepath.Join(t.TempDir(), "img"), t.TempDir()
	for name, n := range map[string]int{"one.txt": 1, "a longer name.bin": 8192, "sub dir/third file": 70_001, "sub dir/deep/x": 8193} {
		put(t, filepath.Join(dir, name), bytes.Repeat([]byte(name), n)[:n])
	}
	for name, at := range map[string]string{"fat:": "@@32256", "fat:12:": "@@32256", "fat:floppy:": ""} {
		put(t, img, disk(t, name+dir))
		os.RemoveAll(back)
		os.Mkdir(back, 0o755)
		if out, err := exec.Command(mcopy, "-s", "-i", img+at, "::/", back).CombinedOutput(); err != nil {
			t.Errorf("%s: %v %s", name, err, out)
			continue
		}
		if out, err := exec.Command("diff", "-r", dir, back).CombinedOutput(); err != nil {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
}

// The disk keeps its form while the files change.
func TestChangingFiles(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	put(t, name, bytes.Repeat([]byte("x"), 10000))
	n, err := open("fat:floppy:"+dir, new([]string))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	const at = 2560 + 2*8192
	read := func() ([]byte, error) {
		p := make([]byte, 16384)
		return p, n.ReadAt(context.Background(), p, at)
	}
	put(t, name, bytes.Repeat([]byte("y"), 5000))
	if p, err := read(); err != nil || p[4999] != 'y' || len(bytes.TrimLeft(p[5000:], "\x00")) > 0 {
		t.Errorf("a shorter file: %v", err)
	}
	put(t, name, bytes.Repeat([]byte("z"), 16384))
	if p, err := read(); err != nil || p[9999] != 'z' || p[10000] != 0 {
		t.Errorf("a longer file: %v", err)
	}
	os.Remove(name)
	if _, err := read(); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("a file that is gone: %v", err)
	}
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := read(); err == nil {
		t.Error("a pipe in a file's place is read")
	}
}
