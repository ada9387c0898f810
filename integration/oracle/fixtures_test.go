package oracle

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"platter/integration/programs"
)

// A fixture is a folder KIND/FORMAT that stock tools fill once in a test run; every case starts from a copy. In the
// steps $F is the format, $O its create options, $B the format of its backing files. The first word is a stock tool, or one of
//
//	text FILE WORD…            a file with that text, \n beginning a line
//	size FILE BYTES            truncate or extend
//	poke FILE OFFSET HEX       overwrite bytes
//	copy FROM TO; mkdir NAME
//
// A step that begins with ? may fail: not every format can do it.
var fixtureSteps = map[string]string{
	// A disk with some data, the same as raw, and things that are no image.
	"std": `
		qemu-img create -q -f $F $O disk.$F 4M
		qemu-io $I -c 'write -P 0x11 0 64k' -c 'write -P 0x22 1M 200k' -c 'write -P 0x33 3M 4k' $D
		qemu-img create -q -f $F $O blank.$F 4M
		qemu-img create -q -f $F $O small.$F 1M
		qemu-img create -q -f raw plain.raw 4M
		qemu-io -f raw -c 'write -P 0x11 0 64k' -c 'write -P 0x22 1M 200k' -c 'write -P 0x33 3M 4k' plain.raw
		copy disk.$F copy.$F
		text junk.txt no image at all
		text rules [inject-error]\nevent = "l1_update"\n\n[set-state]\nevent = "l2_load"\nnew_state = "2"
		text empty.$F
		mkdir folder`,
	// The same, cut short and with a few bytes turned in the header.
	"broken": `
		qemu-img create -q -f $F $O disk.$F 4M
		qemu-io $I -c 'write -P 0x11 0 64k' -c 'write -P 0x22 1M 200k' $D
		copy disk.$F head.$F
		size head.$F 512
		copy disk.$F stub.$F
		size stub.$F 20
		copy disk.$F half.$F
		size half.$F 200000
		copy disk.$F magic.$F
		poke magic.$F 0 58
		copy disk.$F version.$F
		poke version.$F 4 0000000000000009
		copy disk.$F fields.$F
		poke fields.$F 24 ffffffffffffffff
		copy disk.$F zeroes.$F
		poke zeroes.$F 16 00000000000000000000000000000000`,
	// Three layers of differing sizes, one with a backing file that is not there, and one that backs itself.
	"chain": `
		qemu-img create -q -f $B base.$B 4M
		qemu-io -f $B -c 'write -P 0x11 0 1M' base.$B
		qemu-img create -q -f $F -b base.$B -F $B mid.$F
		qemu-io -f $F -c 'write -P 0x22 512k 1M' mid.$F
		qemu-img create -q -f $F -b mid.$F -F $F top.$F 6M
		qemu-io -f $F -c 'write -P 0x33 1M 1M' -c 'write -z 3M 128k' -c 'write -P 0x44 5M 64k' top.$F
		?qemu-img create -q -u -f $F -b missing.$B -F $B orphan.$F 4M
		?qemu-img create -q -u -f $F -b ./loop.$F -F $F loop.$F 4M
		qemu-img create -q -f $B other.$B 4M
		qemu-io -f $B -c 'write -P 0x11 0 1M' -c 'write -P 0x55 2M 64k' other.$B
		qemu-img create -q -f $B short.$B 1M`,
	"snap": `
		qemu-img create -q -f $F $O disk.$F 4M
		qemu-io -f $F -c 'write -P 0x11 0 256k' disk.$F
		qemu-img snapshot -c first disk.$F
		qemu-io -f $F -c 'write -P 0x22 64k 1M' disk.$F
		qemu-img snapshot -c second disk.$F
		qemu-io -f $F -c 'write -P 0x33 2M 64k' disk.$F
		qemu-img create -q -f $F $O blank.$F 4M`,
	"bitmap": `
		qemu-img create -q -f $F $O disk.$F 4M
		qemu-img bitmap --add -f $F disk.$F b0
		qemu-io -f $F -c 'write -P 0x11 0 256k' disk.$F
		qemu-img bitmap --add --disable -g 32k -f $F disk.$F b1
		qemu-io -f $F -c 'write -P 0x22 1M 64k' disk.$F
		qemu-img create -q -f $F $O other.$F 4M
		qemu-img bitmap --add -f $F other.$F b2
		qemu-io -f $F -c 'write -P 0x22 3M 64k' other.$F`,
	"keys": keySteps(), // encrypted images of qcow2 with key slots
	// Little, for the many cases that end before an image is opened.
	"usage": `
		qemu-img create -q -f qcow2 disk.qcow2 4M
		copy disk.qcow2 copy.qcow2
		qemu-img create -q -f raw plain.raw 4M
		text junk.txt no image at all
		text empty.qcow2
		mkdir folder`,
	// qcow2 metadata errors. 64 KiB clusters: header, refcount table, refcount block, L1, L2, then data.
	"damage": `
		qemu-img create -q -f qcow2 ok.qcow2 4M
		qemu-io -f qcow2 -c 'write -P 0x11 0 256k' ok.qcow2
		copy ok.qcow2 leak.qcow2
		size leak.qcow2 720896
		poke leak.qcow2 131090 0001
		copy ok.qcow2 refzero.qcow2
		poke refzero.qcow2 131082 0000
		copy ok.qcow2 reftwo.qcow2
		poke reftwo.qcow2 131084 0002
		copy ok.qcow2 notcopied.qcow2
		poke notcopied.qcow2 262144 0000000000050000
		copy ok.qcow2 unaligned.qcow2
		poke unaligned.qcow2 262144 8000000000050200
		copy ok.qcow2 outside.qcow2
		poke outside.qcow2 262152 8000000010000000
		copy ok.qcow2 twice.qcow2
		poke twice.qcow2 262152 8000000000050000
		copy ok.qcow2 l2reserved.qcow2
		poke l2reserved.qcow2 262144 8000000000050002
		copy ok.qcow2 l1outside.qcow2
		poke l1outside.qcow2 196608 8000000100000000
		copy ok.qcow2 l1unaligned.qcow2
		poke l1unaligned.qcow2 196608 8000000000040200
		copy ok.qcow2 dirty.qcow2
		poke dirty.qcow2 79 01
		copy ok.qcow2 corrupt.qcow2
		poke corrupt.qcow2 79 02
		copy ok.qcow2 unknown.qcow2
		poke unknown.qcow2 72 80
		copy ok.qcow2 l1size.qcow2
		poke l1size.qcow2 36 7fffffff
		copy ok.qcow2 l1offset.qcow2
		poke l1offset.qcow2 40 0000000000030001
		copy ok.qcow2 clusterbits.qcow2
		poke clusterbits.qcow2 20 00000020
		copy ok.qcow2 reftable.qcow2
		poke reftable.qcow2 48 0000000000010001
		copy ok.qcow2 reforder.qcow2
		poke reforder.qcow2 96 00000007
		copy ok.qcow2 headerlen.qcow2
		poke headerlen.qcow2 100 00000004
		copy ok.qcow2 refblock.qcow2
		poke refblock.qcow2 65536 0000000000020200
		copy ok.qcow2 backingname.qcow2
		poke backingname.qcow2 8 000000000000020000001000
		copy ok.qcow2 snapcount.qcow2
		poke snapcount.qcow2 60 ffffffff`,
}

type fixture struct {
	once sync.Once
	dir  string
	err  error
}

var fixtures struct {
	sync.Mutex
	top   string
	named map[string]*fixture
}

// copyFixture makes dir a copy of a fixture, which is built when it is asked for first. "" is an empty folder.
func copyFixture(name, dir string) error {
	if name == "" {
		return os.MkdirAll(dir, 0o755)
	}
	fixtures.Lock()
	if fixtures.named == nil {
		top, err := os.MkdirTemp(scratchTop(), "platter-fixtures-")
		if err != nil {
			fixtures.Unlock()
			return err
		}
		fixtures.top, fixtures.named = top, map[string]*fixture{}
	}
	f := fixtures.named[name]
	if f == nil {
		f = &fixture{dir: filepath.Join(fixtures.top, strings.ReplaceAll(name, "/", "-"))}
		fixtures.named[name] = f
	}
	fixtures.Unlock()
	f.once.Do(func() { f.err = buildFixture(name, f.dir) })
	if f.err != nil {
		return fmt.Errorf("fixture %s: %w", name, f.err)
	}
	return copyTree(f.dir, dir)
}

func dropFixtures() {
	if fixtures.top != "" {
		os.RemoveAll(fixtures.top)
	}
}

func buildFixture(name, dir string) error {
	kind, format, _ := strings.Cut(name, "/")
	steps, ok := fixtureSteps[kind]
	row := formatNamed(format)
	if !ok || row.name == "" {
		return errors.New("no such fixture")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, step := range strings.Split(strings.TrimSpace(steps), "\n") {
		line := row.expand(strings.TrimSpace(step))
		line, may := strings.CutPrefix(line, "?")
		if err := runStep(dir, words(line)); err != nil && !may {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return nil
}

func runStep(dir string, w []string) error {
	path := filepath.Join(dir, w[1])
	switch w[0] {
	case "text":
		return os.WriteFile(path, []byte(strings.ReplaceAll(strings.Join(w[2:], " "), `\n`, "\n")), 0o644)
	case "mkdir":
		return os.Mkdir(path, 0o755)
	case "copy":
		return copyFile(path, filepath.Join(dir, w[2]))
	case "size":
		n, err := strconv.ParseInt(w[2], 10, 64)
		if err != nil {
			return err
		}
		return os.Truncate(path, n)
	case "poke":
		return poke(path, w[2], w[3])
	}
	tool, err := programs.Stock(w[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := tool.Command(ctx, dir, w[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

func poke(path, off, digits string) error {
	at, err := strconv.ParseInt(off, 10, 64)
	if err != nil {
		return err
	}
	p, err := hex.DecodeString(digits)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(p, at)
	return errors.Join(err, f.Close())
}

func copyTree(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		a, b := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if e.IsDir() {
			err = copyTree(a, b)
		} else {
			err = copyFile(a, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies data and holes as they are.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	err = eachData(in, func(off, n int64) error {
		_, err := io.Copy(io.NewOffsetWriter(out, off), io.NewSectionReader(in, off, n))
		return err
	})
	if fi, e := in.Stat(); err == nil && e == nil {
		err = out.Truncate(fi.Size())
	}
	return errors.Join(err, out.Close(), os.Chtimes(to, untouched, untouched))
}

// untouched is the time stamp of a file that a case found and did not write to.
var untouched = time.Unix(1_000_000_000, 0)

// scratchTop is where folders are made: in memory where that is possible, because every image that is written is also
// flushed, which on a disk takes most of the time. TMPDIR decides otherwise.
func scratchTop() string {
	var fs syscall.Statfs_t
	if os.Getenv("TMPDIR") == "" && syscall.Statfs("/dev/shm", &fs) == nil && int64(fs.Bavail)*fs.Bsize > 2<<30 {
		return "/dev/shm"
	}
	return os.TempDir()
}

const (
	seekData = 3 // SEEK_DATA of lseek(2)
	seekHole = 4
)

// eachData calls do for each part of a file that is no hole.
func eachData(f *os.File, do func(off, n int64) error) error {
	for pos := int64(0); ; {
		start, err := f.Seek(pos, seekData)
		if errors.Is(err, syscall.ENXIO) {
			return nil
		} else if err != nil {
			return err
		}
		end, err := f.Seek(start, seekHole)
		if err != nil {
			return err
		}
		if err := do(start, end-start); err != nil {
			return err
		}
		pos = end
	}
}
