package qcow2_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// wound is a change of bytes of an image, in hexadecimal.
type wound struct {
	name string
	at   int64
	hex  string
	list string // -o of create
}

func be64(v uint64) string { return fmt.Sprintf("%016x", v) }

func be32(v uint32) string { return fmt.Sprintf("%08x", v) }

// wounds are given to an image of 4 MiB with clusters of 64 KiB whose header is cluster 0, refcount table 1, refcount block 2,
// L1 table 3, L2 table 4, data 5 and 6.
var wounds = []wound{
	{"magic", 0, "51464900", ""}, {"version 1", 4, be32(1), ""}, {"version 4", 4, be32(4), ""},
	{"cluster bits 8", 20, be32(8), ""}, {"cluster bits 22", 20, be32(22), ""}, {"cluster bits huge", 20, be32(1 << 31), ""},
	{"header length 100", 100, be32(100), ""}, {"header length huge", 100, be32(1 << 30), ""},
	{"header longer than a cluster", 100, be32(65536 + 8), ""}, {"backing offset", 8, be64(1 << 20), ""},
	{"backing name too long", 8, be64(0x200) + be32(1024), ""}, {"backing name over the cluster's end", 8, be64(0xfff8) + be32(9), ""},
	{"unknown feature", 72, be64(1 << 63), ""}, {"known name", 72, be64(1 << 5), ""}, {"two features", 72, be64(1<<5 | 1<<40), ""},
	{"compression bit", 72, be64(1 << 3), ""}, {"compression type 1", 104, "01", ""}, {"compression type 7", 104, "07", ""},
	{"data file bit", 72, be64(1 << 2), ""}, {"raw without data file", 88, be64(2), ""},
	{"extended with small clusters", 72, be64(1 << 4), "cluster_size=4k"},
	{"refcount order 7", 96, be32(7), ""}, {"no refcount table", 56, be32(0), ""}, {"refcount table too large", 56, be32(1 << 20), ""},
	{"refcount table unaligned", 48, be64(0x10001), ""}, {"refcount table past 2^63", 48, be64(1 << 63), ""},
	{"too many snapshots", 60, be32(65537), ""}, {"snapshots unaligned", 60, be32(1) + be64(0x11), ""},
	{"L1 too large", 36, be32(1<<22 + 1), ""}, {"L1 unaligned", 40, be64(0x30010), ""}, {"L1 past the end of numbers", 40, be64(1<<64 - 1<<16), ""},
	{"L1 too small", 36, be32(0), ""}, {"size too large", 24, be64(1 << 62), ""}, {"size huge", 24, be64(1<<64 - 512), ""},
	{"encryption 3", 32, be32(3), ""}, {"encryption luks without header", 32, be32(2), ""}, {"encryption aes", 32, be32(1), ""},
	{"extension too long", 112, be32(0x12345678) + be32(1<<20), ""}, {"extension at the end", 112, be32(0x12345678) + be32(0xff90), ""},
	{"format too long", 112, be32(0xe2792aca) + be32(16), ""}, {"crypto extension", 112, be32(0x0537be77) + be32(16), ""},
	{"bitmaps of wrong length", 112, be32(0x23852875) + be32(16), ""},
	{"L1 entry unaligned", 0x30000, be64(1<<63 | 0x40200), ""}, {"L1 entry past the end", 0x30000, be64(1<<63 | 1<<40), ""},
	{"L2 entry unaligned", 0x40000, be64(1<<63 | 0x50200), ""}, {"L2 entry past the end", 0x40000, be64(1<<63 | 1<<40), ""},
	{"zero flag in version 2", 0x40000, be64(1<<63 | 0x50001), "compat=0.10"},
	{"zero with an unaligned offset", 0x40000, be64(1<<63 | 0x50201), ""},
	{"compressed rubbish", 0x40000, be64(1<<62 | 0x50000), ""}, {"compressed past the end", 0x40000, be64(1<<62 | 1<<40), ""},
	{"subcluster both", 0x40008, be64(1<<32 | 1), "extended_l2=on"}, {"subcluster without cluster", 0x40000, be64(0) + be64(1), "extended_l2=on"},
	{"compressed with subclusters", 0x40000, be64(1<<62|0x50000) + be64(1), "extended_l2=on"},
}

func (d wound) apply(t *testing.T, name string) {
	t.Helper()
	list := d.list
	if list == "" {
		list = "cluster_size=64k"
	}
	stock(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", list, name, "4M")
	stock(t, "qemu-io", "-f", "qcow2", "-c", "write -P 1 0 128k", name)
	raw := make([]byte, len(d.hex)/2)
	if _, err := fmt.Sscanf(d.hex, "%x", &raw); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(raw, d.at); err != nil {
		t.Fatal(err)
	}
}

// said is what stock says of an image that is read whole, without program names and the parts that name the image.
func said(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.Command(oracleTool(t, "qemu-img"), "convert", "-f", "qcow2", "-O", "raw", name, filepath.Join(fastDir(t), "out"))
	out, _ := cmd.CombinedOutput()
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		l = strings.TrimPrefix(l, "qemu-img: ")
		l = strings.TrimPrefix(l, "Could not open '"+name+"': ")
		if k := strings.Index(l, "rror while reading"); k >= 0 {
			l = l[strings.LastIndex(l, ": ")+2:]
		}
		lines = append(lines, l)
	}
	return strings.Join(lines, "\n")
}

func TestDamagesAreToldAsStockDoes(t *testing.T) {
	oracleTool(t, "qemu-img")
	for _, d := range wounds {
		t.Run(d.name, func(t *testing.T) {
			name := filepath.Join(fastDir(t), "a.qcow2")
			d.apply(t, name)
			before, _ := os.ReadFile(name)
			var lines []string
			note := func(f string, a ...any) { lines = append(lines, fmt.Sprintf(f, a...)) }
			e := env(nil)
			e.Warn = func(f string, a ...any) { note("warning: "+f, a...) }
			e.Report = note
			if err := readWhole(e, name); err != nil {
				note("%s", qerr.Text(err))
			}
			if got, want := strings.Join(lines, "\n"), said(t, name); got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if after, _ := os.ReadFile(name); string(after) != string(before) {
				t.Error("reading has changed the file")
			}
		})
	}
}

func readWhole(e *chain.Env, name string) error {
	n, err := chain.Open(context.Background(), e, chain.Request{Filename: name, Format: "qcow2"})
	if err != nil {
		return err
	}
	defer n.Close()
	p := make([]byte, 64<<10)
	for off := int64(0); off < min(n.Size(), 8<<20); off += int64(len(p)) {
		if err := n.ReadAt(context.Background(), p[:min(int64(len(p)), n.Size()-off)], off); err != nil {
			return err
		}
	}
	return nil
}

// An entry that leads to metadata must not be written through, and marks the image.
func TestOverlapsMarkTheImageCorrupt(t *testing.T) {
	oracleTool(t, "qemu-img")
	for _, c := range []struct {
		host uint64
		want string
	}{{0x40000, "active L2 table"}, {0x30000, "active L1 table"}, {0x20000, "refcount block"}, {0x10000, "refcount table"}} {
		t.Run(c.want, func(t *testing.T) {
			name := filepath.Join(fastDir(t), "a.qcow2")
			wound{at: 0x40000, hex: be64(1<<63 | c.host)}.apply(t, name)
			twin := name + ".twin"
			data, _ := os.ReadFile(name)
			if err := os.WriteFile(twin, data, 0o600); err != nil {
				t.Fatal(err)
			}
			out, _ := tryStock(t, "qemu-io", "-f", "qcow2", "-c", "write 0 512", twin)
			var lines []string
			e := env(nil)
			e.Report = func(f string, a ...any) { lines = append(lines, fmt.Sprintf(f, a...)) }
			n, err := chain.Open(context.Background(), e, chain.Request{Filename: name, Format: "qcow2", Flags: formats.ReadWrite})
			if err != nil {
				t.Fatal(err)
			}
			if err := n.WriteAt(context.Background(), make([]byte, 512), 0, 0); err == nil {
				t.Error("written")
			}
			if err := n.WriteAt(context.Background(), make([]byte, 512), 1<<20, 0); err == nil {
				t.Error("written after the image was marked")
			}
			n.Close()
			if len(lines) != 1 || !strings.Contains(out, lines[0]) {
				t.Errorf("said %q, stock %q", lines, out)
			}
			got, _ := os.ReadFile(name)
			want, _ := os.ReadFile(twin)
			compareFiles(t, "image", got, want)
			if binary.BigEndian.Uint64(got[72:])&2 == 0 {
				t.Error("the corrupt bit is not set")
			}
		})
	}
}

// TestRuntimeOptionsAsStock compares what is said of runtime options, on images with and without a data file.
func TestRuntimeOptionsAsStock(t *testing.T) {
	oracleTool(t, "qemu-img")
	t.Chdir(fastDir(t))
	stock(t, "qemu-img", "create", "-q", "-f", "qcow2", "plain", "8M")
	stock(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", "old", "8M")
	stock(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=gone", "apart", "8M")
	for name, size := range map[string]int64{"other": 1 << 20, "gone": 0} {
		os.Remove(name)
		if size > 0 {
			os.WriteFile(name, make([]byte, size), 0o600)
		}
	}
	for _, o := range []string{"lazy-refcounts=on", "discard-no-unref=on", "overlap-check=foo", "overlap-check.template=foo",
		"overlap-check=all,overlap-check.template=none", "overlap-check.inactive-l2=on", "l2-cache-size=1E", "l2-cache-size=0",
		"l2-cache-entry-size=256", "l2-cache-entry-size=1000", "l2-cache-entry-size=128k", "refcount-cache-size=1E",
		"cache-size=1M,l2-cache-size=2M", "cache-size=1M,refcount-cache-size=2M", "cache-size=1M,l2-cache-size=1k,refcount-cache-size=1k",
		"cache-clean-interval=99999999999", "encrypt.format=luks", "encrypt.key-secret=nosuch", "data-file.filename=other",
		"data-file=nosuch", "data-file.filename=missing", "data-file.driver=nosuch", "data-file.filename=other,l2-cache-entry-size=256"} {
		for _, image := range []string{"plain", "old", "apart"} {
			list := "driver=qcow2,file.filename=" + image + "," + o
			out, _ := tryStock(t, "qemu-img", "check", "--image-opts", list)
			want := ""
			if _, message, failed := strings.Cut(out, "Could not open '"+list+"': "); failed {
				want = strings.TrimSpace(message)
			}
			opts := qobj.NewDict()
			for _, pair := range strings.Split(list, ",") {
				k, v, _ := strings.Cut(pair, "=")
				opts.Set(k, v)
			}
			n, err := chain.Open(context.Background(), env(nil), chain.Request{Options: opts, Flags: formats.ForCheck})
			got := ""
			if err != nil {
				got = qerr.Text(err)
			} else {
				n.Close()
			}
			if got != want {
				t.Errorf("%s: %q, want %q", list, got, want)
			}
		}
	}
}
