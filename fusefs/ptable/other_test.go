package ptable_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/fusefs/ptable"
)

// shown is what libblkid finds on a disk, in units of 512 bytes: number, start and length of each partition.
func shown(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("partx", "-g", "-r", "-o", "NR,START,SECTORS", name).CombinedOutput()
	if err != nil {
		t.Fatalf("partx: %v: %s", err, out)
	}
	return string(out)
}

// Tables that parted makes are read as libblkid reads them.
func TestTablesOfParted(t *testing.T) {
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	for _, tool := range []string{"parted", "partx"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	for label, make := range map[string][]string{
		"mac": {"mkpart", "first", "hfs", "1MiB", "20MiB", "mkpart", "second", "hfs", "20MiB", "60MiB"},
		"bsd": {"mkpart", "ext2", "1MiB", "20MiB", "mkpart", "ext2", "20MiB", "60MiB"},
		"gpt": {"mkpart", "first", "1MiB", "20MiB"}, "msdos": {"mkpart", "primary", "1MiB", "20MiB"},
	} {
		t.Run(label, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			os.Truncate(name, 64<<20)
			if out, err := exec.Command("parted", append([]string{"-s", name, "mklabel", label}, make...)...).CombinedOutput(); err != nil {
				t.Fatalf("parted: %v: %s", err, out)
			}
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, err := ptable.Read(onDisk{f})
			if err != nil || got == nil || len(got.Problems) > 0 && label != "bsd" { // parted's checksum is wrong
				t.Fatalf("%+v, %v", got, err)
			}
			if label == "bsd" {
				rightChecksum(t, name)
			}
			want := shown(t, name)
			var lines strings.Builder
			for _, p := range got.Partitions {
				fmt.Fprintf(&lines, "%d %d %d\n", p.Number, p.Start/512, p.Size/512)
				if label == "mac" && p.Number == 2 && (p.Name != "first" || p.Type != "Apple_HFS") {
					t.Errorf("%+v", p)
				}
			}
			if lines.String() != want {
				t.Errorf("found\n%slibblkid finds\n%s", lines.String(), want)
			}
		})
	}
}

// rightChecksum mends a label of parted's, for newer ones of libblkid read no wrong one.
func rightChecksum(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 4096)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte{0x57, 0x45, 0x56, 0x82})
	if at < 0 {
		t.Fatal("no label")
	}
	checksum(b[at:])
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
}

// disklabel puts a label of sectors of 512 bytes at off; parts are starts and sizes in sectors.
func disklabel(d memory, off int, parts ...[2]uint32) {
	b := d[off:]
	le := binary.LittleEndian
	le.PutUint32(b, 0x82564557)
	le.PutUint32(b[132:], 0x82564557)
	le.PutUint32(b[40:], 512)
	le.PutUint16(b[138:], uint16(len(parts)))
	for i, p := range parts {
		e := b[148+16*i:]
		le.PutUint32(e, p[1])
		le.PutUint32(e[4:], p[0])
		if i != 2 {
			e[12] = 7
		}
	}
	checksum(b)
}

// checksum puts the right checksum into a label.
func checksum(b []byte) {
	le := binary.LittleEndian
	sum := uint16(0)
	le.PutUint16(b[136:], sum)
	for i := 0; i < 148+16*int(le.Uint16(b[138:])); i += 2 {
		sum ^= le.Uint16(b[i:])
	}
	le.PutUint16(b[136:], sum)
}

// Partitions within a slice have its number and their letter; FreeBSD counts from the slice, OpenBSD from the disk.
func TestLabelWithinAPartition(t *testing.T) {
	for kind, base := range map[byte]uint32{0xa5: 0, 0xa6: 64} {
		d := make(memory, 1<<20)
		record(d, 0, 0x80, kind, 64, 1000)
		record(d, 1, 0, 0x83, 1100, 100)
		disklabel(d, 65*512, [2]uint32{base + 16, 100}, [2]uint32{base + 200, 300}, [2]uint32{base, 1000}, [2]uint32{base + 900, 200})
		got, err := ptable.Read(d)
		if err != nil || got == nil || len(got.Partitions) != 4 {
			t.Fatalf("%#x: %+v, %v", kind, got, err)
		}
		p := got.Partitions[2:]
		if p[0].Number != 1 || p[0].Letter != "a" || p[0].Start != 80*512 || p[0].Size != 100*512 || p[1].Letter != "b" || p[1].Start != 264*512 {
			t.Errorf("%#x: %+v", kind, p)
		}
		if len(got.Problems) != 1 || !strings.Contains(got.Problems[0], "1d lies outside") {
			t.Errorf("%#x: %q", kind, got.Problems)
		}
	}
}

// A label with a wrong checksum is one with a problem; without its second mark it is none.
func TestDamagedLabel(t *testing.T) {
	d := make(memory, 1<<20)
	disklabel(d, 512, [2]uint32{16, 100})
	if got, err := ptable.Read(d); err != nil || got == nil || got.Kind != "bsd" || len(got.Partitions) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	d[512+100]++
	if got, err := ptable.Read(d); err != nil || got == nil || len(got.Problems) != 1 {
		t.Errorf("damaged: %+v, %v", got, err)
	}
	d[512+132]++
	if got, err := ptable.Read(d); got != nil || err != nil {
		t.Errorf("without mark: %+v, %v", got, err)
	}
}
