package qcow2_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"platter/chain"
	"platter/formats"
	"platter/formats/all"
)

// damage is one way to break the image that brokenImage makes: 64 KiB clusters, header, refcount table (1), refcount
// block (2), L1 (3), an L2 table (4) and data from cluster 5 on.
type damage struct {
	name string
	do   func(b []byte)
}

func put16(at int64, v uint16) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint16(b[at:], v) }
}

func put64(at int64, v uint64) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint64(b[at:], v) }
}

func or64(at int64, v uint64) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint64(b[at:], binary.BigEndian.Uint64(b[at:])|v) }
}

func and64(at int64, v uint64) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint64(b[at:], binary.BigEndian.Uint64(b[at:])&v) }
}

const (
	cl       = 65536
	refTable = 1 * cl
	refBlock = 2 * cl
	l1Table  = 3 * cl
	l2Table  = 4 * cl
)

var damages = []damage{
	{"none", func([]byte) {}},
	{"refcount of data too high", put16(refBlock+2*6, 2)},
	{"refcount of data much too high", put16(refBlock+2*6, 900)},
	{"refcount of data too low", put16(refBlock+2*6, 0)},
	{"refcount of the header 0", put16(refBlock, 0)},
	{"refcount of the L1 table 3", put16(refBlock+2*3, 3)},
	{"refcount of the L2 table 0", put16(refBlock+2*4, 0)},
	{"refcount of the refcount block 0", put16(refBlock+2*2, 0)},
	{"a free cluster has a refcount", put16(refBlock+2*9, 1)},
	{"many leaks", func(b []byte) {
		for k := range 100 {
			put16(refBlock+2*(100+int64(k)), 1)(b)
		}
	}},
	{"COPIED missing in L1", and64(l1Table, 1<<63-1)},
	{"COPIED missing in L2", and64(l2Table, 1<<63-1)},
	{"COPIED missing in L1 and L2", func(b []byte) { and64(l1Table, 1<<63-1)(b); and64(l2Table+8, 1<<63-1)(b) }},
	{"COPIED set wrongly: refcount 2", put16(refBlock+2*5, 2)},
	{"two entries share a cluster", put64(l2Table+8, 1<<63|5*cl)},
	{"two entries share a cluster with refcount 2", func(b []byte) {
		put64(l2Table+8, 1<<63|5*cl)(b)
		put16(refBlock+2*5, 2)(b)
		put16(refBlock+2*6, 0)(b)
	}},
	{"reserved bits in L1", or64(l1Table, 1<<57)},
	{"low reserved bits in L1", or64(l1Table, 1<<3)},
	{"reserved bits in L2", or64(l2Table, 1<<57)},
	{"unaligned data cluster", or64(l2Table, 512)},
	{"unaligned preallocated zero cluster", or64(l2Table, 512|1)},
	{"unaligned L2 table", or64(l1Table, 1024)},
	{"data past the end of the file", put64(l2Table+16, 1<<63|0x100000000)},
	{"L2 table past the end of the file", put64(l1Table+8, 1<<63|0x200000000)},
	{"data in the header", put64(l2Table+16, 1<<63)},
	{"data in the refcount block", put64(l2Table+16, 1<<63|refBlock)},
	{"data in the L1 table", put64(l2Table+16, 1<<63|l1Table)},
	{"refcount table entry reserved bits", or64(refTable, 1<<3)},
	{"refcount block unaligned", or64(refTable, 512)},
	{"refcount block past the end", put64(refTable+8, 0x1000000)},
	{"refcount block entry missing", put64(refTable, 0)},
	{"refcount block twice", put64(refTable+8, refBlock)},
	{"compressed with COPIED", put64(l2Table+16, 1<<63|1<<62|5*cl)},
	{"compressed cluster in data", put64(l2Table+16, 1<<62|5*cl)},
	{"compressed cluster past the end", put64(l2Table+16, 1<<62|0x100000000)},
	{"dirty bit", or64(72, 1)},
	{"corrupt bit", or64(72, 2)},
	{"dirty and refcounts lost", func(b []byte) { or64(72, 1)(b); put16(refBlock+2*5, 0)(b); put16(refBlock+2*6, 0)(b) }},
	{"corrupt bit and leak", func(b []byte) { or64(72, 2)(b); put16(refBlock+2*9, 1)(b) }},
}

// brokenImage makes the sound image to be damaged, with stock qemu-img.
func brokenImage(t *testing.T, qemuImg string) []byte {
	t.Helper()
	dir := fastDir(t)
	raw, img := filepath.Join(dir, "raw"), filepath.Join(dir, "img")
	content := make([]byte, 1<<20)
	for k := range content[:3*cl] {
		content[k] = byte(k>>8 + k + 1)
	}
	if err := os.WriteFile(raw, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(qemuImg, "convert", "-O", "qcow2", raw, img).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ourCheck is what the driver finds and counts, in the words and numbers that stock prints.
func ourCheck(t *testing.T, name string, fix formats.FixMode) (string, formats.CheckResult) {
	t.Helper()
	var out strings.Builder
	env := &formats.Env{
		Secret: func(string) ([]byte, error) { return nil, os.ErrNotExist },
		Object: func(string) (any, bool) { return nil, false },
		Warn:   func(f string, a ...any) {},
		Report: func(f string, a ...any) { fmt.Fprintf(&out, f+"\n", a...) }, Program: "qemu-img",
	}
	flags := formats.ForCheck
	if fix != 0 {
		flags |= formats.ReadWrite | formats.Resize
	}
	n, err := chain.Open(context.Background(), &chain.Env{Registry: all.Registry(), Env: env},
		chain.Request{Filename: name, Format: "qcow2", Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	c, ok := formats.As[formats.Checker](n)
	if !ok {
		t.Fatal("no Checker")
	}
	var res formats.CheckResult
	n.Exclusive(func() (err error) {
		res, err = c.Check(context.Background(), fix, env)
		if err != nil {
			fmt.Fprintf(&out, "error %v\n", err)
		}
		return nil
	})
	return out.String(), res
}

var findings = regexp.MustCompile(`(?m)^(qemu-img: )?(ERROR|Leaked|Repairing|Rebuilding|Use qemu-img|qcow2:|Can't).*\n`)

// TestDamageIsFoundAndRepairedAsByStock breaks an image in many ways and compares the findings, line by line, with those
// of stock, without and with repair; afterwards stock must find the same in what either has repaired.
func TestDamageIsFoundAndRepairedAsByStock(t *testing.T) {
	t.Parallel()
	qemuImg := oracleTool(t, "qemu-img")
	sound := brokenImage(t, qemuImg)
	for _, d := range damages {
		for fix, arg := range []string{"", "leaks", "all"} {
			t.Run(d.name+"/"+arg, func(t *testing.T) {
				dir := fastDir(t)
				b := append([]byte(nil), sound...)
				d.do(b)
				ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
				for _, name := range []string{ours, theirs} {
					if err := os.WriteFile(name, b, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				args := []string{"check", "-f", "qcow2"}
				mode := formats.FixMode(0)
				if fix > 0 {
					args = append(args, "-r", arg)
					mode = []formats.FixMode{0, formats.FixLeaks, formats.FixLeaks | formats.FixErrors}[fix]
				}
				out, _ := exec.Command(qemuImg, append(args, theirs)...).CombinedOutput()
				want := strings.Join(findings.FindAllString(string(out), -1), "")
				text, _ := ourCheck(t, ours, mode)
				got := strings.Join(findings.FindAllString(text, -1), "")
				if fix > 0 { // stock checks once more after a repair, and prints again what is left
					again, _ := ourCheck(t, ours, 0)
					if strings.Contains(string(out), "has been repaired") || strings.Contains(string(out), "Double checking") {
						got += strings.Join(findings.FindAllString(again, -1), "")
					}
				}
				if got != want {
					t.Errorf("ours:\n%s\nstock:\n%s\nall of stock:\n%s", got, want, out)
				}
				a, _ := exec.Command(qemuImg, "check", "--output=json", "-f", "qcow2", ours).CombinedOutput()
				s, _ := exec.Command(qemuImg, "check", "--output=json", "-f", "qcow2", theirs).CombinedOutput()
				if x, y := strings.ReplaceAll(string(a), ours, "IMG"), strings.ReplaceAll(string(s), theirs, "IMG"); x != y {
					t.Errorf("afterwards stock finds in ours:\n%s\nin its own:\n%s", x, y)
				}
			})
		}
	}
}

// TestCheckOfAnImageInUse: what the writes before a check gave up is no leak, though its refcounts are the last that is
// written.
func TestCheckOfAnImageInUse(t *testing.T) {
	t.Parallel()
	ctx, name := context.Background(), filepath.Join(fastDir(t), "disk")
	stock(t, "qemu-img", "create", "-q", "-f", "qcow2", name, "64M")
	n := openFile(t, name, rw)
	defer n.Close()
	s := snapshotter(t, n)
	c, _ := formats.As[formats.Checker](n.Unwrap())
	var writers sync.WaitGroup
	defer writers.Wait()
	over := make(chan struct{})
	defer close(over)
	for w := range uint64(3) {
		writers.Go(func() {
			rnd, p := rand.New(rand.NewPCG(w, 1)), bytes.Repeat([]byte{1}, 1<<20)
			for {
				select {
				case <-over:
					return
				default:
				}
				off, size := 4096*rnd.Int64N(63<<8), 4096*(1+rnd.Int64N(200))
				err := n.WriteAt(ctx, p[:size], off, 0)
				if rnd.IntN(2) == 0 {
					err = errors.Join(err, n.WriteZeroes(ctx, off, size, formats.MayUnmap))
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for k := range 100 {
		must(t, n, func() error {
			_, err := s.CreateSnapshot(ctx, formats.Snapshot{Name: fmt.Sprint(k)})
			return err
		})
		if k > 1 {
			must(t, n, func() error { return s.DeleteSnapshot(ctx, "", fmt.Sprint(k-2)) })
		}
		time.Sleep(2 * time.Millisecond)
		var res formats.CheckResult
		must(t, n, func() (err error) {
			res, err = c.Check(ctx, 0, &formats.Env{Report: func(format string, a ...any) { t.Logf(format, a...) }})
			return err
		})
		if res.Leaks != 0 || res.Corruptions != 0 {
			t.Fatalf("check %d: %d leaks, %d corruptions", k, res.Leaks, res.Corruptions)
		}
	}
}

// TestCheckOfLazyRefcountsInUse: that refcounts are written late is no damage.
func TestCheckOfLazyRefcountsInUse(t *testing.T) {
	t.Parallel()
	ctx, name := context.Background(), filepath.Join(fastDir(t), "disk")
	stock(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", name, "8M")
	n := openFile(t, name, rw)
	defer n.Close()
	s := snapshotter(t, n)
	c, _ := formats.As[formats.Checker](n.Unwrap())
	for k := range 3 {
		if err := n.WriteAt(ctx, bytes.Repeat([]byte{1}, 1<<20), int64(k)<<19, 0); err != nil {
			t.Fatal(err)
		}
		var res formats.CheckResult
		must(t, n, func() (err error) {
			res, err = c.Check(ctx, 0, &formats.Env{Report: func(format string, a ...any) { t.Logf(format, a...) }})
			return err
		})
		if res.Leaks != 0 || res.Corruptions != 0 {
			t.Fatalf("check %d: %d leaks, %d corruptions", k, res.Leaks, res.Corruptions)
		}
		must(t, n, func() error {
			_, err := s.CreateSnapshot(ctx, formats.Snapshot{Name: fmt.Sprint(k)})
			return err
		})
	}
}
