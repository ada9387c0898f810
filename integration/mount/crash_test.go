package mount

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

const crashBlock = 4096

// block is what a test knows of a block of the disk: the number written last before a completed fsync, and the number of
// the last attempt.
type block struct{ synced, tried uint64 }

// kill -9 of the daemon during writes: stock check finds no corruption, what was fsynced is there, and the image can be
// mounted again.
func TestKillDuringWrites(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 5
	}
	base := qcow2Image(t, "64M")
	run(t, stock(t, "qemu-io"), "-c", "write -P 0 0 1M", base)
	image := filepath.Join(filepath.Dir(base), "top.qcow2")
	run(t, stock(t, "qemu-img"), "create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", image)
	blocks := make([]block, 64<<20/crashBlock)
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		mnt := mountAt(t, image)
		daemon := pid(t, mnt)
		disk := filepath.Join(mnt, "disk.raw")
		verify(t, disk, blocks, round)
		var wg sync.WaitGroup
		for k := range 4 {
			wg.Add(1)
			seed := rng.Uint64()
			go func() {
				defer wg.Done()
				crashWriter(disk, blocks[k*len(blocks)/4:(k+1)*len(blocks)/4], int64(k*len(blocks)/4), seed)
			}()
		}
		time.Sleep(time.Duration(20+rng.IntN(150)) * time.Millisecond)
		syscall.Kill(daemon, syscall.SIGKILL)
		wg.Wait()
		waitGone(t, daemon)
		run(t, platter, "unmount", mnt)
		out, stderr, code := try(t, stock(t, "qemu-img"), "check", "-f", "qcow2", image)
		if code != 0 && code != 3 {
			t.Fatalf("round %d: stock check: exit status %d\n%s%s", round, code, tail(out), stderr)
		}
		if t.Failed() {
			return
		}
	}
}

// crashWriter writes numbered blocks until the mount is gone.
func crashWriter(disk string, blocks []block, first int64, seed uint64) {
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	rng := rand.New(rand.NewPCG(seed, 3))
	var dirty []int
	for n := 0; ; n++ {
		at := rng.IntN(len(blocks) - 16)
		count := 1 + rng.IntN(16)
		buf := make([]byte, 0, count*crashBlock)
		for i := at; i < at+count; i++ {
			blocks[i].tried++
			buf = append(buf, bytes.Repeat(binary.LittleEndian.AppendUint64(nil, blocks[i].tried), crashBlock/8)...)
			dirty = append(dirty, i)
		}
		if _, err := f.WriteAt(buf, (first+int64(at))*crashBlock); err != nil {
			return
		}
		if n%8 != 7 {
			continue
		}
		if f.Sync() != nil {
			return
		}
		for _, i := range dirty {
			blocks[i].synced = blocks[i].tried
		}
		dirty = dirty[:0]
	}
}

// verify compares the disk with what is known, and takes what it finds for known from then on.
func verify(t *testing.T, disk string, blocks []block, round int) {
	t.Helper()
	got, err := os.ReadFile(disk)
	if err != nil || len(got) != len(blocks)*crashBlock {
		t.Fatalf("round %d: %d bytes, %v", round, len(got), err)
	}
	for i := range blocks {
		b := got[i*crashBlock:][:crashBlock]
		for s := 0; s < crashBlock; s += 512 {
			n := binary.LittleEndian.Uint64(b[s:])
			if n < blocks[i].synced || n > blocks[i].tried {
				t.Fatalf("round %d: block %d at +%d has number %d; %d was fsynced, %d was tried", round, i, s, n, blocks[i].synced, blocks[i].tried)
			}
		}
		blocks[i].synced = min(blocks[i].synced, blocks[i].tried)
	}
}
