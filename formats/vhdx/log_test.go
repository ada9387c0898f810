package vhdx

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/raw"
)

// recovered lets platter and stock open an image that a crash left, each its own copy: both refuse or accept it for
// reading, replay the log, find no fault, and read the same.
func recovered(t *testing.T, data []byte, when string) {
	t.Helper()
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "ours.vhdx"), filepath.Join(dir, "theirs.vhdx")
	for _, name := range []string{ours, theirs} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n, said, err := tryOpen(ours, 0)
	if err == nil {
		n.Close()
	}
	out, code := tryStock(t, "qemu-img", "info", "-f", "vhdx", ours)
	if (err == nil) != (code == 0) || err != nil && said != out {
		t.Errorf("%s: opened for reading: platter %q, stock %q (exit code %d)", when, said, out, code)
	}
	inMemory, memoryErr := readBeyond(t, ours)
	n, said, err = tryOpen(ours, readWrite)
	if (err == nil) != (memoryErr == nil) {
		t.Errorf("%s: replayed in memory: %v, in the file: %v", when, memoryErr, err)
	}
	_, code = tryStock(t, "qemu-img", "check", "-q", "-f", "vhdx", "-r", "all", theirs)
	if (err == nil) != (code == 0) {
		t.Errorf("%s: opened for writing: platter %q, stock's exit code %d", when, said, code)
	}
	if err != nil {
		return
	}
	got := content(t, n)
	same(t, got, stockContent(t, theirs), when)
	same(t, got, inMemory, when+" (replayed in memory)")
	stock(t, "qemu-img", "check", "-q", "-f", "vhdx", ours)
	same(t, got, stockContent(t, ours), when+" (platter's copy)")
}

// readBeyond reads an image whose log may be replayed in memory, which leaves the file as it is.
func readBeyond(t *testing.T, name string) ([]byte, error) {
	t.Helper()
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	e := env(&strings.Builder{})
	e.Beyond = true
	n, err := chain.Open(t.Context(), e, chain.Request{Filename: name, Format: "vhdx"})
	if err != nil {
		return nil, err
	}
	p := make([]byte, n.Size())
	if err := n.ReadAt(t.Context(), p, 0); err != nil {
		t.Error(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(name); err != nil || !bytes.Equal(before, after) {
		t.Errorf("reading has changed the file (%v)", err)
	}
	return p, nil
}

// TestDirtyLog makes up logs in all the states that matter.
func TestDirtyLog(t *testing.T) {
	clean := base(t)
	id := newGUID()
	j := journal{off: mib, length: mib, id: id, sequence: 7}
	le := binary.LittleEndian
	change := func(block int, entry uint64) []part { // what the BAT's first sector becomes
		p := part{off: batAt}
		copy(p.data[:], clean[batAt:])
		le.PutUint64(p.data[block*8:], entry)
		return []part{p}
	}
	put := func(b []byte, at int64, e []byte) { // into the ring
		n := copy(b[mib+at:2*mib], e)
		copy(b[mib:], e[n:])
	}
	entry := func(at int64, parts []part, edit func(e []byte)) []byte {
		j.at = at
		e, _ := j.entry(parts, int64(len(clean)))
		if edit != nil {
			edit(e)
			seal(e)
		}
		return e
	}
	drop, move := uint64(stateZero), le.Uint64(clean[batAt+3*8:])
	for name, build := range map[string]func(b []byte){
		"one entry":     func(b []byte) { put(b, 0, entry(0, change(3, drop), nil)) },
		"in the middle": func(b []byte) { put(b, 512<<10, entry(512<<10, change(3, drop), nil)) },
		"around the end": func(b []byte) {
			put(b, mib-4096, entry(0, change(3, drop), func(e []byte) { le.PutUint32(e[12:], mib-4096) }))
		},

		"torn": func(b []byte) {
			e := entry(0, change(3, drop), nil)
			clear(e[5000:6000])
			put(b, 0, e)
		},
		"other GUID": func(b []byte) {
			put(b, 0, entry(0, change(3, drop), func(e []byte) { e[40] ^= 1 }))
		},
		"longer than the file": func(b []byte) {
			put(b, 0, entry(0, change(3, drop), func(e []byte) { le.PutUint64(e[48:], 1<<40) }))
		},
		"file is to grow": func(b []byte) {
			put(b, 0, entry(0, change(3, drop), func(e []byte) { le.PutUint64(e[56:], uint64(len(b))+mib+4096) }))
		},
		"two, both to be replayed": func(b []byte) {
			put(b, 0, entry(0, change(3, drop), nil))
			put(b, 8192, entry(8192, change(0, drop), func(e []byte) { le.PutUint32(e[12:], 0) }))
		},
		"two, the second torn": func(b []byte) {
			put(b, 0, entry(0, change(3, drop), nil))
			e := entry(8192, change(0, drop), nil)
			clear(e[:512])
			put(b, 8192, e)
		},
		"zeroes": func(b []byte) {
			put(b, 0, entry(0, change(3, drop), func(e []byte) {
				d := e[entryHead:]
				clear(d[:descriptor])
				copy(d, "zero")
				le.PutUint64(d[8:], 8192)
				le.PutUint64(d[16:], move&offsetMask)
				le.PutUint64(d[24:], j.sequence)
			}))
		},
		"newer before older": func(b []byte) {
			put(b, 512<<10, entry(512<<10, change(3, drop), nil))
			put(b, 0, entry(0, change(0, drop), nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(clean)
			for _, at := range headerAt {
				copy(b[at+48:], id[:])
				seal(b[at : at+headerSize])
			}
			build(b)
			recovered(t, b, name)
		})
	}
}

// TestCrashClones crashes a workload at moments all over it and lets both recover.
func TestCrashClones(t *testing.T) {
	oracleTool(t, "qemu-img")
	ctx := context.Background()
	name := filepath.Join(t.TempDir(), "a.vhdx")
	stock(t, "qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", name, "6M")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	store := formatstest.NewStore()
	store.Put("a.vhdx", data)
	e := env(&strings.Builder{})
	e.Registry = formats.NewRegistry(store.Driver(), raw.Driver(), Driver())
	start := store.Events()
	n, err := chain.Open(ctx, e, chain.Request{Filename: formatstest.Name("a.vhdx"), Format: "vhdx", Flags: readWrite})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(5) {
		if err := n.WriteAt(ctx, bytes.Repeat([]byte{byte(i + 1)}, 300<<10), i*5%6*mib+i*70000, 0); err != nil {
			t.Fatal(err)
		}
		if err := n.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	end := store.Events()
	for k := start; k <= end; k += 1 + (end-start)/12 {
		crashed := store.Crash(k, rand.New(rand.NewPCG(uint64(k), 1)))
		recovered(t, crashed.Bytes("a.vhdx"), fmt.Sprintf("a crash after event %d", k))
		if t.Failed() {
			t.Fatalf("crash after event %d of %d", k, end)
		}
	}
}

// TestFlushOfManySectors: as many sectors of the BAT change as take more of the log than is used at first.
func TestFlushOfManySectors(t *testing.T) {
	const sectors, apart = 40, 512 << 20
	name := filepath.Join(t.TempDir(), "disk.vhdx")
	stock(t, "qemu-img", "create", "-q", "-f", "vhdx", "-o", "block_size=1M", name, "24G")
	n := mustOpen(t, name, readWrite)
	ctx := context.Background()
	reads := []string{"-f", "vhdx", "-r"}
	for k := range int64(sectors) {
		if err := n.WriteAt(ctx, bytes.Repeat([]byte{byte(k + 1)}, 512), k*apart, 0); err != nil {
			t.Fatal(err)
		}
		reads = append(reads, "-c", fmt.Sprintf("read -P %d %d 512", k+1, k*apart))
	}
	if err := n.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	d, _ := formats.As[*image](n.Unwrap())
	if d.log.length <= leastLog || d.log.length > mib || d.log.room() < sectors {
		t.Errorf("%d bytes of the log are used", d.log.length)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if out, code := tryStock(t, "qemu-io", append(reads, name)...); code != 0 || strings.Contains(out, "verification failed") {
		t.Errorf("stock reads:\n%s", out)
	}
	stock(t, "qemu-img", "check", "-q", name)
}
