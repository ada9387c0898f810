package parallels_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"platter/chain"
	"platter/formats"
)

const (
	bitmapMagic = 0x20385FAE252CB34A
	diskSize    = 48 << 20
)

var uuid = []byte("\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef")

const uuidName = "01234567-89ab-cdef-0123-456789abcdef"

func u64s(v ...uint64) (p []byte) {
	for _, x := range v {
		p = binary.LittleEndian.AppendUint64(p, x)
	}
	return p
}

// feature is a feature of a format extension, padded to 8 bytes.
func feature(magic, flags uint64, data []byte) []byte {
	return append(append(u64s(magic, flags, uint64(len(data))), data...), make([]byte, -len(data)&7)...)
}

// bitmapData describes a bitmap.
func bitmapData(sectors uint64, granularity, entries uint32, table ...uint64) []byte {
	p := append(u64s(sectors), uuid...)
	p = binary.LittleEndian.AppendUint32(p, granularity)
	p = binary.LittleEndian.AppendUint32(p, entries)
	return append(p, u64s(table...)...)
}

// extended makes a stock image of 4 KiB clusters with a format extension behind it, and data behind that.
func extended(t *testing.T, name string, features, data []byte) {
	t.Helper()
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "parallels", "-o", "cluster_size=4k", name, fmt.Sprint(diskSize))
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint64(b[56:], uint64(len(b)/512))
	cluster := make([]byte, 4096)
	copy(cluster[24:], features)
	sum := md5.Sum(cluster[24:])
	copy(cluster, u64s(0xAB234CEF23DCEA87))
	copy(cluster[8:], sum[:])
	if err := os.WriteFile(name, append(append(b, cluster...), data...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// goodBitmap is one whose parts are clear, all set, and stored, in that order.
func goodBitmap() []byte {
	start := uint64(52<<10) / 512 // of the data: the header's clusters, and that of the extension
	return feature(bitmapMagic, 0, bitmapData(diskSize/512, 1, 3, 0, 1, start))
}

func openRead(name string, flags formats.OpenFlags) (*chain.Node, error) {
	var words strings.Builder
	return chain.Open(context.Background(), testEnv(&words), chain.Request{Filename: name, Format: "parallels", Flags: flags})
}

func TestExtensionsAsStock(t *testing.T) {
	const sectors = diskSize / 512
	good := goodBitmap()
	for name, features := range map[string][]byte{
		"none": nil, "bitmap": good, "end": feature(0, 0, nil), "unknown": feature(5, 0, nil), "flags": feature(0, 1, nil),
		"long": feature(0, 0, make([]byte, 4049)), "no end": feature(bitmapMagic, 0, make([]byte, 4090)),
		"small":        feature(bitmapMagic, 0, make([]byte, 31)),
		"size":         feature(bitmapMagic, 0, bitmapData(sectors+1, 1, 3, 0, 1, 0)),
		"table":        feature(bitmapMagic, 0, bitmapData(sectors, 1, 4, 0, 1, 0)),
		"short table":  feature(bitmapMagic, 0, bitmapData(sectors, 1, 2, 0, 1, 0)),
		"coarse":       feature(bitmapMagic, 0, bitmapData(sectors, 128, 1, 1)),
		"twice":        append(bytes.Clone(good), good...),
		"second flags": append(bytes.Clone(good), feature(0, 1, nil)...),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "d")
			extended(t, file, features, bytes.Repeat([]byte{0xa5}, 4096))
			out, stockErr := exec.Command(stock(t, "qemu-img"), "info", "-f", "parallels", file).CombinedOutput()
			n, err := openRead(file, 0)
			if err == nil {
				n.Close()
			}
			if err != nil && string(out) != fmt.Sprintf("qemu-img: Could not open '%s': %v\n", file, err) || (err == nil) != (stockErr == nil) {
				t.Errorf("ours: %v\nstock: %s", err, out)
			}
		})
	}
}

// Stock aborts where the granularity is no power of two, and shows nonsense where the bits lie behind the file.
func TestDamagedBitmapsAreRefused(t *testing.T) {
	const sectors = diskSize / 512
	for what, features := range map[string][]byte{
		"granularity of 3 sectors": feature(bitmapMagic, 0, bitmapData(sectors, 3, 3, 0, 1, 0)),
		"granularity of 0 sectors": feature(bitmapMagic, 0, bitmapData(sectors, 0, 3, 0, 1, 0)),
		"sector 123456 is outside": feature(bitmapMagic, 0, bitmapData(sectors, 1, 3, 0, 1, 123456)),
	} {
		file := filepath.Join(t.TempDir(), "d")
		extended(t, file, features, nil)
		n, err := openRead(file, 0)
		if err == nil {
			_, err = bitmapsOf(t, n).Bitmaps(context.Background())
			n.Close()
		}
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func bitmapsOf(t *testing.T, n *chain.Node) formats.BitmapReader {
	t.Helper()
	r, ok := formats.As[formats.BitmapReader](n)
	if !ok {
		t.Fatal("bitmaps cannot be read")
	}
	return r
}

// dirty lists what bitmap name of file marks, as offset and length.
func dirty(t *testing.T, file, name string) (list [][2]int64) {
	t.Helper()
	n, err := openRead(file, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	bits, err := bitmapsOf(t, n).Bitmap(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	for off, length := bits.Next(0); length > 0; off, length = bits.Next(off + length) {
		list = append(list, [2]int64{off, length})
	}
	return list
}

// stockDirty asks stock's NBD server for the same.
func stockDirty(t *testing.T, file, name string) (list [][2]int64) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	server := exec.Command(stock(t, "qemu-nbd"), "-r", "-f", "parallels", "-B", name, "-k", socket, file)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait() // it ends with its first client
	for range 500 {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	out, err := exec.Command(stock(t, "qemu-img"), "map", "--output=json", "--image-opts",
		"driver=nbd,server.type=unix,server.path="+socket+",x-dirty-bitmap=qemu:dirty-bitmap:"+name).Output()
	if err != nil {
		server.Process.Kill()
		t.Fatalf("map: %v", err)
	}
	var ranges []struct {
		Start, Length int64
		Data          bool
	}
	if err := json.Unmarshal(out, &ranges); err != nil {
		t.Fatal(err)
	}
	for _, r := range ranges {
		if !r.Data { // this is how it shows dirty ones
			list = append(list, [2]int64{r.Start, r.Length})
		}
	}
	return list
}

func TestBitmapsAsStock(t *testing.T) {
	made := filepath.Join(t.TempDir(), "d")
	extended(t, made, goodBitmap(), bytes.Repeat([]byte{0xa5, 0, 0xff, 0}, 1024))
	files := map[string]string{made: uuidName}
	dir := os.Getenv("PLATTER_CORPUS")
	if dir == "" {
		dir = "../../../shared/corpus"
	}
	real := filepath.Join(dir, "qemu-parallels-bitmap/parallels-with-bitmap")
	if _, err := os.Stat(real); err == nil {
		files[real] = "e4f2eed0-37fe-4539-b50b-85d2e7fd235f"
	} else {
		t.Logf("without the corpus's image: %v (PLATTER_CORPUS names its folder)", err)
	}
	for file, name := range files {
		ours, theirs := dirty(t, file, name), stockDirty(t, file, name)
		if len(ours) == 0 || fmt.Sprint(ours) != fmt.Sprint(theirs) {
			t.Errorf("%s: ours %.200v, stock %.200v", file, ours, theirs)
		}
		n, err := openRead(file, 0)
		if err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		for _, r := range ours {
			sum += r[1]
		}
		list, err := bitmapsOf(t, n).Bitmaps(context.Background())
		if err != nil || len(list) != 1 || list[0].Name != name || list[0].Count != sum || !list[0].Transient {
			t.Errorf("%+v, %v; want %d bytes dirty", list, err, sum)
		}
		n.Close()
	}
}

// An image that was opened for writing keeps its extension until something changes; then the header no longer names it,
// so that stock, which leaves it damaged, opens what we wrote.
func TestExtensionIsDroppedByWrites(t *testing.T) {
	file := filepath.Join(t.TempDir(), "d")
	extended(t, file, goodBitmap(), bytes.Repeat([]byte{0xa5}, 4096))
	before := dirty(t, file, uuidName)
	n, err := openRead(file, formats.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := bitmapsOf(t, n).Bitmaps(context.Background()); err != nil || len(list) != 0 {
		t.Errorf("open for writing: %v, %v", list, err)
	}
	n.Close()
	if after := dirty(t, file, uuidName); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("unwritten: %v, was %v", after, before)
	}
	if n, err = openRead(file, formats.ReadWrite); err != nil {
		t.Fatal(err)
	}
	if err := n.WriteAt(context.Background(), []byte("x"), 70_000, 0); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, stock(t, "qemu-img"), "check", "-f", "parallels", file)
	run(t, stock(t, "qemu-io"), "-r", "-f", "parallels", "-c", "read -P 120 70000 1", file)
	if n, err = openRead(file, 0); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if list, err := bitmapsOf(t, n).Bitmaps(context.Background()); err != nil || len(list) != 0 {
		t.Errorf("written: %v, %v", list, err)
	}
}
