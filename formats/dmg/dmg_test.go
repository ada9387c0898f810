package dmg

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"platter/formats"
	"platter/formats/protocol/mem"
)

// stored is a chunk to be put into an image.
type stored struct {
	kind        uint32
	first, size uint64 // sectors
	data        []byte
}

func deflated(p []byte) []byte {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(p)
	w.Close()
	return z.Bytes()
}

func sectors(c byte, n int) []byte { return bytes.Repeat([]byte{c, 0, c, c}, n*sectorSize/4) }

// table makes a chunk table; the data begins at offset from of the data fork.
func table(from uint64, chunks ...stored) (mish, data []byte) {
	be := binary.BigEndian
	mish = append([]byte(mishMagic), make([]byte, mishHeader-4)...)
	for _, c := range chunks {
		e := make([]byte, mishEntry)
		be.PutUint32(e, c.kind)
		be.PutUint64(e[8:], c.first)
		be.PutUint64(e[16:], c.size)
		be.PutUint64(e[24:], from+uint64(len(data)))
		be.PutUint64(e[32:], uint64(len(c.data)))
		mish, data = append(mish, e...), append(data, c.data...)
	}
	return mish, data
}

const header = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict><key>blkx</key><array><dict><key>Data</key>`

func plist(tables ...[]byte) []byte {
	s := header
	for _, t := range tables {
		s += "<!-- <data>not this</data> --><data>\n\t" + base64.StdEncoding.EncodeToString(t) + "\n</data>"
	}
	return []byte(s + "</dict></array></dict></plist>\n")
}

func trailer(fields map[int]uint64) []byte {
	k := append([]byte(kolyMagic), make([]byte, kolySize-4)...)
	for at, v := range fields {
		binary.BigEndian.PutUint64(k[at:], v)
	}
	return k
}

// build makes an image with a property list.
func build(total uint64, chunks ...stored) []byte {
	mish, data := table(0, chunks...)
	list := plist([]byte("something else"), mish)
	return bytes.Join([][]byte{data, list, trailer(map[int]uint64{
		0x20: uint64(len(data)), 0xd8: uint64(len(data)), 0xe0: uint64(len(list)), 0x1ec: total})}, nil)
}

// memEnv collects what is warned and reported.
func memEnv(lines *[]string) *formats.Env {
	note := func(f string, a ...any) { *lines = append(*lines, fmt.Sprintf(f, a...)) }
	return &formats.Env{Warn: note, Report: note}
}

func openBytes(b []byte) (formats.Image, error) {
	return open(context.Background(), formats.OpenArgs{Name: "x.dmg", File: mem.NewFile(b), Env: memEnv(new([]string))})
}

func content(t *testing.T, d formats.Image) []byte {
	t.Helper()
	p := make([]byte, d.Size())
	if err := d.ReadAt(context.Background(), p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

var sample = []stored{
	{kindZlib, 8, 4, deflated(sectors('c', 4))},
	{kindZero, 4, 4, nil},
	{kindRaw, 0, 4, sectors('a', 3)},
	{kindIgnore, 12, 1 << 20, nil},
	{kindComment, 0, 9, nil},
	{kindLast, 0, 0, nil},
}

func TestChunks(t *testing.T) {
	d, err := openBytes(build(12+8, sample[:5]...))
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Join([][]byte{sectors('a', 3), make([]byte, 5*sectorSize), sectors('c', 4), make([]byte, 8*sectorSize)}, nil)
	if got := content(t, d); !bytes.Equal(got, want) {
		t.Error("content differs")
	}
	p := make([]byte, 6*sectorSize)
	if err := d.ReadAt(context.Background(), p, 5*sectorSize); err != nil || !bytes.Equal(p, want[5*sectorSize:][:len(p)]) {
		t.Errorf("a part differs (%v)", err)
	}
}

func TestTheSizeOfAnImageThatCountsNoSectors(t *testing.T) {
	d, err := openBytes(build(0, sample[:4]...))
	if err != nil || d.Size() != (12+1<<20)*sectorSize {
		t.Errorf("size %d, %v", d.Size(), err)
	}
}

func TestOddLengths(t *testing.T) {
	for pad := range 512 {
		b := append(make([]byte, 0, 4096), build(4, stored{kindRaw, 0, 4, append(sectors('a', 4), make([]byte, pad)...)})...)
		if d, err := openBytes(b); err != nil || d.Size() != 4*sectorSize {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
	}
}

func TestResourceFork(t *testing.T) {
	mish, data := table(0, sample[0], sample[1], sample[2])
	be := binary.BigEndian
	fork := be.AppendUint32(nil, 256)
	fork = be.AppendUint32(fork, 0)
	fork = be.AppendUint32(fork, uint32(len(mish)+4+4+3))
	fork = append(fork, make([]byte, 256-12)...)
	fork = append(be.AppendUint32(fork, 3), "abc"...)
	fork = append(be.AppendUint32(fork, uint32(len(mish))), mish...)
	b := bytes.Join([][]byte{data, fork, trailer(map[int]uint64{
		0x28: uint64(len(data)), 0x30: uint64(len(fork)), 0x1ec: 12})}, nil)
	d, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, d); !bytes.Equal(got[8*sectorSize:], sectors('c', 4)) {
		t.Error("content differs")
	}
	for at := range 12 {
		bad := bytes.Clone(b)
		bad[len(data)+at] = 0xff
		openBytes(bad)
	}
}

func TestDamage(t *testing.T) {
	good := build(12, sample[:3]...)
	at := bytes.LastIndex(good, []byte(kolyMagic))
	number := func(off int, v uint64) []byte {
		b := bytes.Clone(good)
		binary.BigEndian.PutUint64(b[at+off:], v)
		return b
	}
	replaced := func(a, b string) []byte {
		p := bytes.Replace(good, []byte(a), []byte(b), 1)
		if bytes.Equal(p, good) || len(a) != len(b) {
			t.Fatal(a)
		}
		return p
	}
	const short = "Could not open 'x.dmg': Invalid argument"
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"short":       {good[:100], "dmg file must be at least 512 bytes long"},
		"no trailer":  {make([]byte, 4096), "Could not locate UDIF trailer in dmg file"},
		"data fork":   {number(0x18, 1<<40), short},
		"fork":        {number(0x28, 1<<63), short},
		"plist":       {number(0xe0, 1<<63), short},
		"no plist":    {number(0xe0, 0), short},
		"count":       {number(0x1ec, 1<<63), short},
		"size":        {number(0x1ec, 1<<62), "Could not refresh total sector count: File too large"},
		"unended":     {replaced("</data>\x3c/dict>", "</dato>\x3c/dict>"), short},
		"base64":      {replaced("bWlzaA", "b!lzaA"), short},
		"entity":      {replaced(`<!DOCTYPE plist PUBLIC "-`, `<!DOCTYPE plist [<!ENTITY`), short},
		"declaration": {replaced("<!-- <data>not", "<!ELEMENT <dat"), short},
		"length":      {build(4, stored{kindRaw, 0, 4, make([]byte, maxLength+1)}), short},
		"chunk":       {build(4, stored{kindZlib, 0, maxLength/512 + 1, nil}), short},
		"beyond":      {build(4, stored{kindZero, 1 << 60, 4, nil}), short},
	} {
		if _, err := openBytes(c.b); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	_, err := open(context.Background(), formats.OpenArgs{Name: "x.dmg", File: mem.NewFile(good), Flags: formats.ReadWrite})
	if !errors.Is(err, syscall.EACCES) || err.Error() != "Image is read-only" {
		t.Errorf("for writing: %v", err)
	}
}

func TestUnreadableChunks(t *testing.T) {
	long := deflated(sectors('x', 5))
	for name, c := range map[string]stored{
		"too long":  {kindZlib, 0, 4, long},
		"too short": {kindZlib, 0, 6, long},
		"noise":     {kindLZFSE, 0, 4, []byte("bvx2 and what else")},
		"gap":       {kindZlib, 1, 5, long},
		"unknown":   {0x80000099, 0, 4, long},
	} {
		var lines []string
		d, err := open(context.Background(), formats.OpenArgs{File: mem.NewFile(build(8, c)), Env: memEnv(&lines)})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.ReadAt(context.Background(), make([]byte, sectorSize), 0); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", name, err)
		}
		if want := c.kind == 0x80000099; want != (len(lines) == 1) {
			t.Errorf("%s: warnings %q", name, lines)
		}
	}
	b := build(8, stored{kindZlib, 0, 5, long})
	b = bytes.Replace(b, long[:20], nil, 1) // everything behind is 20 bytes earlier
	if _, err := openBytes(b); err == nil {
		t.Error("a property list out of its place is taken")
	}
}

// segmented makes two files: a plain chunk and half of a compressed one in the first, the other half in the second.
func segmented() (first, second []byte) {
	mish, data := table(0, stored{kindRaw, 0, 4, sectors('a', 4)}, stored{kindZlib, 4, 4, deflated(sectors('b', 4))})
	list := plist(mish)
	cut := 4*sectorSize + 5
	count := func(n uint64) uint64 { return n<<32 | 2 }
	first = bytes.Join([][]byte{data[:cut], list, trailer(map[int]uint64{
		0x20: uint64(cut), 0x38: count(1), 0xd8: uint64(cut), 0xe0: uint64(len(list)), 0x1ec: 8})}, nil)
	second = append(bytes.Clone(data[cut:]), trailer(map[int]uint64{
		0x10: uint64(cut), 0x20: uint64(len(data) - cut), 0x38: count(2), 0x1ec: 8})...)
	return first, second
}

func TestSegments(t *testing.T) {
	first, second := segmented()
	a := formats.OpenArgs{Name: "dir/x.dmg", File: mem.NewFile(first), Env: memEnv(new([]string))}
	list, err := needs(context.Background(), a)
	if err != nil || len(list) != 1 || list[0].Name != "x.002.dmgpart" {
		t.Fatalf("%+v, %v", list, err)
	}
	a.Children = map[string]formats.File{list[0].Role: mem.NewFile(second)}
	d, err := open(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, d); !bytes.Equal(got, append(sectors('a', 4), sectors('b', 4)...)) {
		t.Error("content differs")
	}
	a.Children[list[0].Role] = mem.NewFile(first)
	if _, err := open(context.Background(), a); err == nil || !strings.HasPrefix(err.Error(), "Segment 2 of") {
		t.Errorf("a wrong segment: %v", err)
	}
	if _, err := openBytes(second); err == nil || !strings.Contains(err.Error(), "open the first one") {
		t.Errorf("the second alone: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(build(12, sample[:4]...))
	first, second := segmented()
	f.Add(first)
	f.Add(second)
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := openBytes(b)
		if err != nil || d.Size() == 0 {
			return
		}
		for _, c := range d.(*image).chunks {
			if !c.empty() && c.size() > 1<<20 {
				return // within the limit, and memory all the same
			}
		}
		d.ReadAt(context.Background(), make([]byte, 64<<10), 0)
		d.ReadAt(context.Background(), make([]byte, sectorSize), d.Size()-sectorSize)
	})
}

// counting counts the requests that reach the file.
type counting struct {
	formats.File
	reads atomic.Int64
}

func (c *counting) ReadAt(ctx context.Context, p []byte, off int64) error {
	c.reads.Add(1)
	return c.File.ReadAt(ctx, p, off)
}

// Reading on, in pieces of whatever length, decompresses each chunk once.
func TestReadingOnDecompressesOnce(t *testing.T) {
	const chunks, each = 40, 64
	var list []stored
	var want []byte
	for i := range chunks {
		p := sectors(byte(i+1), each)
		want = append(want, p...)
		list = append(list, stored{kindZlib, uint64(i * each), each, deflated(p)})
	}
	for _, step := range []int64{sectorSize, 7 * sectorSize, 100 * sectorSize, 1000 * sectorSize} {
		f := &counting{File: mem.NewFile(build(chunks*each, list...))}
		d, err := open(context.Background(), formats.OpenArgs{File: f, Env: memEnv(new([]string))})
		if err != nil {
			t.Fatal(err)
		}
		f.reads.Store(0)
		var got []byte
		for off := int64(0); off < d.Size(); off += step {
			p := make([]byte, min(step, d.Size()-off))
			if err := d.ReadAt(context.Background(), p, off); err != nil {
				t.Fatal(err)
			}
			got = append(got, p...)
		}
		if n := f.reads.Load(); n != chunks || !bytes.Equal(got, want) {
			t.Errorf("in steps of %d: %d reads for %d chunks", step, n, chunks)
		}
	}
}
