package fusefs

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"platter/chain"
	"platter/formats"
	"platter/formats/protocol/mem"
	"platter/tools"
)

// medium is an image whose requests wait until as many are there at once as it can serve.
type medium struct {
	*mem.File
	serves int
	mu     sync.Mutex
	full   *sync.Cond
	here   int
	opened bool
}

func (m *medium) wait() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.here++; m.here == m.serves {
		m.opened = true
		m.full.Broadcast()
	}
	for !m.opened {
		m.full.Wait()
	}
	m.here--
}

func (m *medium) ReadAt(ctx context.Context, p []byte, off int64) error {
	m.wait()
	return m.File.ReadAt(ctx, p, off)
}

func (m *medium) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	m.wait()
	return m.File.WriteAt(ctx, p, off, f)
}

// TestSlowRequestsAreServedAtOnce: while requests wait for a medium, others get there, too; and what does not need the
// medium is answered meanwhile. Writes by several through one descriptor come one by one from the kernel unless the file
// was opened so that it need not keep pages right.
func TestSlowRequestsAreServedAtOnce(t *testing.T) {
	t.Run("reads", func(t *testing.T) { servedAtOnce(t, unix.O_RDONLY|unix.O_DIRECT, unix.Pread) })
	t.Run("writes", func(t *testing.T) { servedAtOnce(t, unix.O_RDWR|unix.O_DIRECT, unix.Pwrite) })
}

func servedAtOnce(t *testing.T, flags int, request func(fd int, p []byte, off int64) (int, error)) {
	const users, block = 12, 4096
	slow := &medium{File: mem.NewFile(make([]byte, users*block)), serves: users}
	slow.full = sync.NewCond(&slow.mu)
	m, dir := mountImage(t, slow)
	defer func() {
		slow.mu.Lock()
		slow.opened = true
		slow.full.Broadcast()
		slow.mu.Unlock()
	}()
	fd, err := unix.Open(filepath.Join(dir, "disk.raw"), flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	done := make(chan error, users)
	for u := range users {
		go func() {
			p, err := unix.Mmap(-1, 0, block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			if err == nil {
				defer unix.Munmap(p)
				_, err = request(fd, p, int64(u)*block)
			}
			done <- err
		}()
	}
	if err := readOnce(filepath.Join(dir, "stats.json")); err != nil {
		t.Error(err)
	}
	patience := time.After(20 * time.Second)
	for range users {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-patience:
			slow.mu.Lock()
			defer slow.mu.Unlock()
			t.Fatalf("%d of %d requests reached the medium, by %d threads", slow.here, users, m.tree.kernel.threads.Load())
		}
	}
}

// mountImage mounts an image until the end of the test.
func mountImage(t *testing.T, i formats.Image) (m *Mount, dir string) {
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skipf("nothing can be mounted: %v", err)
	} else {
		f.Close()
	}
	n := chain.Wrap(&formats.Driver{Name: "medium", Kind: formats.Format}, i, formats.ReadWrite, "medium")
	dir = t.TempDir()
	m, err := New(Config{Mountpoint: dir, Source: "medium"}, n, &tools.Env{Env: &formats.Env{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
		if err := m.Wait(); err != nil {
			t.Error(err)
		}
	})
	return m, dir
}

// puzzle is an image of which every read is computed for a while.
type puzzle struct{ *mem.File }

func (z puzzle) ReadAt(ctx context.Context, p []byte, off int64) error {
	for began := time.Now(); time.Since(began) < 4*slowFrom; {
		continue
	}
	return z.File.ReadAt(ctx, p, off)
}

// distant is an image of which every read waits for a while.
type distant struct{ *mem.File }

func (d distant) ReadAt(ctx context.Context, p []byte, off int64) error {
	time.Sleep(4 * slowFrom)
	return d.File.ReadAt(ctx, p, off)
}

// TestSlowReadsAreShared: several readers of what has to be computed are served by all processors, those of what has to
// be waited for by about as many threads as they are, and one alone by as many as serve memory.
func TestSlowReadsAreShared(t *testing.T) {
	const block = 4096
	file := mem.NewFile(make([]byte, block))
	t.Run("computed", func(t *testing.T) {
		if runtime.NumCPU() < 2 {
			t.Skip("there is one processor only")
		}
		shared(t, puzzle{file}, block, int32(min(runtime.NumCPU(), maxWanted)))
	})
	t.Run("waited for", func(t *testing.T) { shared(t, distant{file}, block, 6) })
}

func shared(t *testing.T, i formats.Image, block int, threads int32) {
	m, dir := mountImage(t, i)
	fd, err := unix.Open(filepath.Join(dir, "disk.raw"), unix.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	crew := &m.tree.kernel.crew
	readUntil := func(users int, so func() bool) {
		var done sync.WaitGroup
		late := time.Now().Add(20 * time.Second)
		for range users {
			done.Go(func() {
				p, err := unix.Mmap(-1, 0, block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
				if err != nil {
					t.Error(err)
					return
				}
				defer unix.Munmap(p)
				for !so() {
					if _, err := unix.Pread(fd, p, 0); err != nil || time.Now().After(late) {
						t.Errorf("%d users are served by %d threads (%v)", users, crew.threads.Load(), err)
						return
					}
				}
			})
		}
		done.Wait()
	}
	readUntil(8, func() bool { return crew.threads.Load() >= threads })
	readUntil(1, func() bool { return crew.threads.Load() <= usual() })
	left := 500
	readUntil(1, func() bool { left--; return left < 0 })
	if n := crew.wanted.Load(); n > usual() {
		t.Errorf("%d threads are wanted for one user", n)
	}
}

// readOnce reads a file of a tree that this process serves itself. Package os would hand the file to the poller of the
// runtime, which asks the tree whether the file is ready while nobody of this process can answer.
func readOnce(name string) error {
	fd, err := unix.Open(name, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Read(fd, make([]byte, 4096))
	return err
}
