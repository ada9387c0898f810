package ptable_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/fusefs/ptable"
)

type memory []byte

func (m memory) Size() int64 { return int64(len(m)) }
func (m memory) ReadAt(p []byte, off int64) error {
	copy(p, m[off:off+int64(len(p))])
	return nil
}

// record puts an entry into a boot record.
func record(sector []byte, i int, active, kind byte, start, count uint32) {
	e := sector[446+16*i:]
	e[0], e[4] = active, kind
	binary.LittleEndian.PutUint32(e[8:], start)
	binary.LittleEndian.PutUint32(e[12:], count)
	sector[510], sector[511] = 0x55, 0xaa
}

func TestMBRWithLogicalPartitions(t *testing.T) {
	d := make(memory, 1<<20)
	binary.LittleEndian.PutUint32(d[440:], 0xdeadbeef)
	record(d, 0, 0x80, 0x83, 64, 100)
	record(d, 1, 0, 0x05, 200, 1000)
	record(d[200*512:], 0, 0, 0x83, 10, 50)
	record(d[200*512:], 1, 0, 0x05, 100, 100)
	record(d[300*512:], 0, 0, 0x82, 10, 5000)
	got, err := ptable.Read(d)
	if err != nil || got == nil || got.Kind != "dos" || len(got.Partitions) != 4 {
		t.Fatalf("%+v, %v", got, err)
	}
	p := got.Partitions
	if p[0].Number != 1 || p[0].Start != 64*512 || !p[0].Bootable || p[0].UUID != "deadbeef-01" {
		t.Errorf("first %+v", p[0])
	}
	if p[2].Number != 5 || p[2].Start != 210*512 || p[2].Size != 50*512 {
		t.Errorf("logical %+v", p[2])
	}
	if p[3].Start+p[3].Size != 1<<20 || len(got.Problems) != 1 {
		t.Errorf("cut %+v, problems %q", p[3], got.Problems)
	}
}

func TestLogicalLoopEnds(t *testing.T) {
	d := make(memory, 1<<20)
	record(d, 0, 0, 0x05, 100, 1000)
	record(d[100*512:], 0, 0, 0x83, 1, 1)
	record(d[100*512:], 1, 0, 0x05, 0, 100)
	got, err := ptable.Read(d)
	if err != nil || got == nil || len(got.Problems) == 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNoTable(t *testing.T) {
	fat := make(memory, 1<<20)
	copy(fat[0x36:], "FAT16")
	copy(fat[446:], "Insert another disk and press a key")
	fat[510], fat[511] = 0x55, 0xaa
	for name, d := range map[string]memory{"empty": make(memory, 4096), "tiny": make(memory, 100), "boot sector": fat} {
		if got, err := ptable.Read(d); got != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// gpt makes a table of one partition in sectors of the given size, with its backup.
func gpt(sector int64) memory {
	d := make(memory, 4<<20)
	record(d, 0, 0, 0xee, 1, 0xffffffff)
	table := make([]byte, 128*128)
	copy(table, bytes.Repeat([]byte{0xab}, 32))
	binary.LittleEndian.PutUint64(table[32:], 64)
	binary.LittleEndian.PutUint64(table[40:], 127)
	copy(table[56:], "r\x00o\x00o\x00t\x00")
	last := int64(len(d))/sector - 1
	put := func(at, entries int64) {
		copy(d[entries*sector:], table)
		h := d[at*sector:][:sector]
		copy(h, "EFI PART")
		binary.LittleEndian.PutUint32(h[12:], 92)
		binary.LittleEndian.PutUint64(h[24:], uint64(at))
		binary.LittleEndian.PutUint64(h[72:], uint64(entries))
		binary.LittleEndian.PutUint32(h[80:], 128)
		binary.LittleEndian.PutUint32(h[84:], 128)
		binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(table))
		binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
	}
	put(1, 2)
	put(last, last-128*128/sector)
	return d
}

func TestGPTAndItsBackup(t *testing.T) {
	for _, sector := range []int64{512, 4096} {
		for _, damage := range []bool{false, true} {
			d := gpt(sector)
			if damage {
				d[sector+60]++
			}
			got, err := ptable.Read(d)
			if err != nil || got == nil || len(got.Partitions) != 1 {
				t.Fatalf("sectors of %d, damaged %v: %+v, %v", sector, damage, got, err)
			}
			p := got.Partitions[0]
			if p.Name != "root" || p.Start != 64*sector || p.Size != 64*sector || got.Backup != damage || (len(got.Problems) > 0) != damage {
				t.Errorf("sectors of %d, damaged %v: %+v", sector, damage, got)
			}
		}
	}
}

// What mkfs writes is recognised with the label that it was given.
func TestProbeKnowsFileSystems(t *testing.T) {
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	for kind, cmd := range map[string][]string{
		"ext4": {"mkfs.ext4", "-q", "-L", "label"}, "xfs": {"mkfs.xfs", "-q", "-L", "label"},
		"btrfs": {"mkfs.btrfs", "-q", "-L", "label"}, "swap": {"mkswap", "-q", "-L", "label"},
	} {
		t.Run(kind, func(t *testing.T) {
			if _, err := exec.LookPath(cmd[0]); err != nil {
				t.Skipf("%s is not installed", cmd[0])
			}
			name := filepath.Join(t.TempDir(), "fs")
			os.WriteFile(name, nil, 0o600)
			os.Truncate(name, 320<<20)
			if out, err := exec.Command(cmd[0], append(cmd[1:], name)...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, err := ptable.Probe(onDisk{f})
			if err != nil || got.Kind != kind || got.Label != "label" || strings.Count(got.UUID, "-") != 4 {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

type onDisk struct{ *os.File }

func (f onDisk) Size() int64 { st, _ := f.Stat(); return st.Size() }
func (f onDisk) ReadAt(p []byte, off int64) error {
	_, err := f.File.ReadAt(p, off)
	return err
}

// FuzzRead: no table makes the program crash, and every partition lies within the disk.
func FuzzRead(f *testing.F) {
	f.Add([]byte(gpt(512)[:64<<10]))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ptable.Read(memory(data))
		if err != nil || got == nil {
			return
		}
		for _, p := range got.Partitions {
			if p.Start < 0 || p.Size < 0 || p.Start+p.Size > int64(len(data)) {
				t.Errorf("%+v does not lie within %d bytes", p, len(data))
			}
		}
	})
}
