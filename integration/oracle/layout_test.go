package oracle

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/integration/programs"
	"platter/integration/twin"
)

// layoutSteps are what is done to an image, one command after the other: qemu-img verbs, and changes by stock qemu-io. The
// files must be equal after each step but for what nothing refers to: clusters with refcount 0.
var layoutSteps = []struct{ name, steps string }{
	{"shrink", "resize --shrink x 4M\nresize --shrink x 1000k\nresize --shrink x 0"},
	{"grow", "resize x 8200k\nresize x 64M\nio 'write -P 4 60M 1M'\nresize x 2G"},
	{"grow metadata", "resize --preallocation=metadata x 8200k\nresize --preallocation=metadata x 20M\nio 'write 7M 6M'"},
	{"grow falloc", "resize --preallocation=falloc x 8200k\nresize --preallocation=falloc x 20M"},
	{"resize with a snapshot", `
		snapshot -c one x
		io 'write -P 9 1M 1M'
		resize --shrink x 4M
		resize x 30M
		snapshot -d one x
		resize --shrink x 1M`},
	{"bitmaps", `
		bitmap --add x a
		io 'write -P 9 1M 1M'
		bitmap --add -g 512 x b
		bitmap --add --disable x c
		io 'write -P 9 4M 64k'
		bitmap --disable x a
		bitmap --merge a x c
		bitmap --merge b x c
		bitmap --clear x b
		bitmap --enable x a
		bitmap --remove x a
		bitmap --remove x b
		bitmap --remove x c
		io 'write -P 3 0 64k'`},
	{"bitmaps that grow", "bitmap --add x a\nbitmap --add -g 512 x b\nio 'write -P 9 1M 1M'\nresize x 40M\nio 'write -P 9 30M 1M'"},
	{"amend", `
		amend -o compat=v3 x
		amend -o lazy_refcounts=on x
		amend -o refcount_bits=8 x
		amend -o refcount_bits=16 x
		amend -o lazy_refcounts=off x
		amend -o compat=0.10 x
		amend -o size=12M x
		amend -o compat=1.1 x`},
	{"amend with a snapshot", "snapshot -c one x\namend -o refcount_bits=32 x\namend -o compat=0.10,refcount_bits=16 x\nsnapshot -a one x"},
	{"header", "rebase -u -F raw -b base x\nrebase -u -b '' x\namend -o backing_file=foo,backing_fmt=raw x\namend -o data_file=new x"},
}

// layouts are create options of the images.
var layouts = []string{"cluster_size=512", "extended_l2=on,cluster_size=16k", "", "cluster_size=4k,refcount_bits=8",
	"cluster_size=512,refcount_bits=64", "compat=0.10,cluster_size=4k", "lazy_refcounts=on,cluster_size=4k", "cluster_size=2M",
	"data_file=data,cluster_size=4k", "preallocation=metadata,cluster_size=4k", "preallocation=falloc,cluster_size=512"}

// layoutDaily is how many of the layouts every run tries; PLATTER_LONG=1 tries all.
const layoutDaily = 3

func TestLayout(t *testing.T) {
	for k, l := range layouts {
		if k >= layoutDaily && os.Getenv("PLATTER_LONG") == "" {
			break
		}
		t.Run(l, func(t *testing.T) {
			start := layoutStart(t, l)
			for _, s := range layoutSteps {
				if (l == "" || l == "cluster_size=2M") && strings.HasPrefix(s.name, "amend") {
					continue // stock takes minutes to walk over refcount blocks of that size, again and again
				}
				if strings.HasPrefix(l, "data_file") && s.name == "resize with a snapshot" {
					continue // there are no snapshots, and shrinking is "shrink allocates" below
				}
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					twin.Compare(t, func(side *twin.Side) { doLayout(side, start, s.steps) })
				})
			}
		})
	}
}

// layoutGains are lists of steps after which the files differ in clusters that are used, because more is gained.
var layoutGains = []struct{ name, steps, reason string }{
	{"flags of snapshots", "snapshot -c one x\nio 'write -P 9 1M 1M'\nsnapshot -c two x\nio 'write -P 5 0 512k'\nsnapshot -a one x\nsnapshot -d two x",
		"stock sets COPIED flags in tables that a single snapshot is left with; the specification wants them right in the active " +
			"tables only, and here those of snapshots are not read and written once more"},
	{"tail", "resize --shrink x 1000k\nresize x 9M", "what was cut off inside the last cluster shows again when stock grows the disk; " +
		"here the new part reads as zeroes"},
	{"shrink allocates", "bitmap --add x a\nbitmap --add -g 512 x b\nio 'write -P 9 1M 1M'\nresize x 40M\nio 'write -P 9 30M 1M'\nresize --shrink x 8M", "stock allocates an empty L2 " +
		"table for each part without one that it discards, and frees most of them again; here shrinking takes no space"},
	{"amend is refused", "io 'write -c -P 7 4M 64k' 'write -z 2M 64k'\namend -o compat=0.10 x", "stock writes zero clusters " +
		"out before it finds that the compression type stands in the way; here a refused command changes nothing"},
	{"snapshot is refused", "io 'write -P 7 4M 64k'\namend -o refcount_bits=1 x\nsnapshot -c one x", "stock leaks the L1 table of a snapshot that it " +
		"cannot take; here it is given back"},
}

func TestLayoutGains(t *testing.T) {
	for _, g := range layoutGains {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			opts := "cluster_size=4k"
			if g.name == "amend is refused" {
				opts += ",compression_type=zstd"
			}
			if g.name == "flags of snapshots" {
				opts = "cluster_size=512"
			}
			if g.name == "tail" {
				opts = ""
			}
			start := layoutStart(t, opts)
			twin.Differs(t, g.reason, func(side *twin.Side) { doLayout(side, start, g.steps) })
		})
	}
}

// layoutStart has stock make an image x with some of everything, and gives it, and its data file if it has one.
func layoutStart(t *testing.T, opts string) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	run := func(tool string, args ...string) error {
		return programs.NeedStock(t, tool).Command(context.Background(), dir, args...).Run()
	}
	err := run("qemu-img", "create", "-q", "-f", "qcow2", "-o", strings.TrimPrefix(opts+",size=8M", ","), "x")
	if err == nil {
		err = run("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 3M", "-c", "write -P 2 5M 512k", "-c", "write -P 3 7900k 200k", "x")
	}
	if err != nil {
		t.Fatal(err)
	}
	// Not every layout can do these.
	_ = run("qemu-io", "-f", "qcow2", "-c", "write -c -P 7 4M 64k", "-c", "discard 1M 256k", "-c", "write -z 2M 64k", "x")
	files := map[string][]byte{}
	for _, name := range []string{"x", "data"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			files[name] = b
		}
	}
	return files
}

// doLayout does the steps on a copy of an image.
func doLayout(s *twin.Side, start map[string][]byte, steps string) {
	s.Normalise(`#block\d+`, "#blockN")
	for name, b := range start {
		s.Write(name, b)
	}
	for _, line := range strings.Split(strings.TrimSpace(steps), "\n") {
		line = strings.TrimSpace(line)
		if io, ok := strings.CutPrefix(line, "io "); ok {
			s.Try("qemu-io -f qcow2 -c " + strings.ReplaceAll(io, "' '", "' -c '") + " x")
		} else {
			s.Img(line)
		}
		noteClusters(s, "x")
		s.NoteSums("data")
	}
}

// noteClusters notes an image's size and the sums of its parts of 64 KiB, snapshots' dates and free clusters blanked.
func noteClusters(s *twin.Side, name string) {
	b, err := os.ReadFile(s.Path(name))
	if err != nil {
		s.Fatal(err)
	}
	s.Note("%s: %d bytes", name, len(b))
	blankDates(b)
	blankFree(b)
	const part = 64 << 10
	for off := 0; off < len(b); off += part {
		s.Note("%#x: %x", off, sha256.Sum256(b[off:min(off+part, len(b))]))
	}
}

// blankDates takes out when snapshots were taken.
func blankDates(b []byte) {
	be := binary.BigEndian
	off := be.Uint64(b[64:])
	for range be.Uint32(b[60:]) {
		off = (off + 7) &^ 7
		e := b[off:]
		clear(e[16:24])
		off += 40 + uint64(be.Uint32(e[36:])) + uint64(be.Uint16(e[12:])) + uint64(be.Uint16(e[14:]))
	}
}

// blankFree takes out the clusters of a qcow2 image that nothing refers to, those with refcount 0.
func blankFree(b []byte) {
	be := binary.BigEndian
	size, order := 1<<be.Uint32(b[20:]), uint32(4)
	if be.Uint32(b[4:]) >= 3 {
		order = be.Uint32(b[96:])
	}
	table := b[be.Uint64(b[48:]):][:int(be.Uint32(b[56:]))*size]
	perBlock := size * 8 >> order
	for c := 0; c*size < len(b); c++ {
		var block uint64
		if at := c / perBlock * 8; at < len(table) {
			block = be.Uint64(table[at:]) &^ 511
		}
		if block == 0 || !counted(b[block:], c%perBlock, order) {
			clear(b[c*size : min((c+1)*size, len(b))])
		}
	}
}

// counted says whether refcount k of a block is not 0.
func counted(block []byte, k int, order uint32) bool {
	if order < 3 {
		bit := k << order
		return block[bit/8]>>(bit%8)&(1<<(1<<order)-1) != 0
	}
	n := 1 << (order - 3)
	for _, v := range block[k*n : (k+1)*n] {
		if v != 0 {
			return true
		}
	}
	return false
}
