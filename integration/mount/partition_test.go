package mount

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A write through a partition is seen in disk.raw at once, although the kernel had its pages, and the other way round;
// shared mappings of both agree after msync.
func TestPartitionAndDiskAgree(t *testing.T) {
	need(t, "sfdisk")
	_, mnt, disk := mountRaw(t, 64<<20)
	sh(t, `printf 'label: dos\nstart=2048,size=32768\n' | sfdisk -q "$D"`, "D="+disk)
	part := filepath.Join(mnt, "partitions", "p1.raw")
	d, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	buf := make([]byte, 8192)
	for round := range byte(50) {
		d.ReadAt(buf, 1<<20) // into the page cache
		from, to, a, b := p, d, int64(4000), int64(1<<20+4000)
		if round%2 == 1 {
			from, to, a, b = d, p, b, a
		}
		if _, err := from.WriteAt(bytes.Repeat([]byte{round}, 300), a); err != nil {
			t.Fatal(err)
		}
		if _, err := to.ReadAt(buf[:300], b); err != nil || buf[0] != round || buf[299] != round {
			t.Fatalf("round %d: %d %d, %v", round, buf[0], buf[299], err)
		}
	}
	md, err := unix.Mmap(int(d.Fd()), 1<<20, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	mp, err := unix.Mmap(int(p.Fd()), 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	for round := range byte(20) {
		_ = mp[5000] + md[5000]
		md[5000] = round
		unix.Msync(md, unix.MS_SYNC)
		if mp[5000] != round {
			t.Fatalf("mapping of the partition has %d, want %d", mp[5000], round)
		}
		mp[5000] = round + 100
		unix.Msync(mp, unix.MS_SYNC)
		if md[5000] != round+100 {
			t.Fatalf("mapping of the disk has %d, want %d", md[5000], round+100)
		}
	}
}

// Writers to the same bytes through both files, with dirty shared mappings of both, do not hang.
func TestWritersThroughBothFilesEnd(t *testing.T) {
	need(t, "sfdisk")
	_, mnt, disk := mountRaw(t, 16<<20)
	sh(t, `printf 'label: dos\nstart=2048,size=8192\n' | sfdisk -q "$D"`, "D="+disk)
	var wg sync.WaitGroup
	for i := range 6 {
		name, off := disk, int64(1<<20)
		if i%2 == 1 {
			name, off = filepath.Join(mnt, "partitions", "p1.raw"), 0
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			m, err := unix.Mmap(int(f.Fd()), off, 1<<18, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				t.Error(err)
				return
			}
			defer unix.Munmap(m)
			buf := bytes.Repeat([]byte{byte(i)}, 1<<16)
			for k := range 100 {
				m[k*1000%len(m)] = byte(k)
				if _, err := f.WriteAt(buf, off+int64(k%3)<<16); err != nil {
					t.Error(err)
				}
				if k%10 == 0 {
					f.Sync()
				}
			}
		}()
	}
	wg.Wait()
}

func TestPartitionsAsFiles(t *testing.T) {
	need(t, "sfdisk", "mkfs.ext4", "fsck.ext4", "debugfs")
	image, mnt, _ := mountRaw(t, 128<<20)
	if b, _ := os.ReadFile(filepath.Join(mnt, "partitions", "table.json")); string(b) != "null\n" {
		t.Errorf("table of an empty disk: %s", b)
	}
	sh(t, `printf 'label: gpt\nsize=64M,name="a/b"\nsize=32M,name=two\n' | sfdisk -q "$M/disk.raw"
		mkfs.ext4 -q -L first "$M/partitions/by-partlabel/a\\x2fb"
		echo hello > "$T/hello"; debugfs -w -R "write $T/hello hello" "$M/partitions/p1.raw" 2>/dev/null
		[ "$(debugfs -R 'cat hello' "$M/partitions/by-label/first" 2>/dev/null)" = hello ]
		fsck.ext4 -fn "$M/partitions/p1.raw"
		cmp -n 67108864 -i 1048576:0 "$M/disk.raw" "$M/partitions/p1.raw"`, "M="+mnt, "T="+t.TempDir())
	b, err := os.ReadFile(filepath.Join(mnt, "partitions", "table.json"))
	if err != nil || !strings.Contains(string(b), `"label": "first"`) || !strings.Contains(string(b), `"type": "gpt"`) {
		t.Errorf("table.json: %s, %v", b, err)
	}
	st, _ := os.Stat(filepath.Join(mnt, "partitions", "table.json"))
	if st.Size() != int64(len(b)) {
		t.Errorf("table.json has size %d in stat and %d bytes", st.Size(), len(b))
	}
	if err := os.WriteFile(filepath.Join(mnt, "partitions", "p2.raw"), []byte("x"), 0); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(filepath.Join(mnt, "partitions", "p2.raw"), 1<<20); err == nil {
		t.Error("a partition was resized")
	}
	unmount(t, mnt)
	sh(t, `sfdisk -V "$I"; fsck.ext4 -fn "$I?offset=1048576"`, "I="+image)
}
