package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"platter/formats"
	"platter/formats/option"
)

// openQueued opens name with an aio mode, and skips where the kernel has none.
func openQueued(t *testing.T, name, mode string, flags formats.OpenFlags) *image {
	t.Helper()
	v := &option.Values{}
	for k, s := range map[string]string{"filename": name, "aio": mode} {
		if err := v.Set(openOpts, k, s); err != nil {
			t.Fatal(err)
		}
	}
	env := &formats.Env{Report: func(f string, a ...any) { t.Skipf(f, a...) }}
	img, err := open(context.Background(), formats.OpenArgs{Name: name, Options: v, Flags: flags, Perm: writer, Shared: metaRO, Env: env})
	if err != nil {
		t.Skipf("%s cannot be opened so: %v", name, err)
	}
	f := img.(*image)
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	if mode != "threads" && f.aio.ready(f.fd) == nil {
		t.Fatal("requests do not go through a queue")
	}
	return f
}

// ways are the modes of aio, each with and without O_DIRECT where that can be.
var ways = []struct {
	name  string
	mode  string
	flags formats.OpenFlags
}{
	{"threads", "threads", rwFlags}, {"threads direct", "threads", rwFlags | formats.Direct}, {"native", "native", rwFlags | formats.Direct},
	{"io_uring", "io_uring", rwFlags}, {"io_uring direct", "io_uring", rwFlags | formats.Direct},
}

// TestEveryModeKeepsContent lets many goroutines read, write, zero, sync and discard, each in its own part of a file, and
// compares with what memory says, at the time and in the end.
func TestEveryModeKeepsContent(t *testing.T) {
	const part, parts = 256 << 10, 24
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			f := openQueued(t, tempFile(t, t.TempDir(), part*parts/2), w.mode, w.flags) // the file grows, too
			want := make([]byte, part*parts)
			var wg sync.WaitGroup
			for k := range parts {
				wg.Go(func() { mix(t, f, want[k*part:(k+1)*part], int64(k)*part) })
			}
			wg.Wait()
			got := make([]byte, len(want)+int(f.align))
			if err := f.ReadAt(context.Background(), got, 0); err != nil || !bytes.Equal(got[:len(want)], want) {
				t.Errorf("the file differs in the end (%v)", err)
			}
		})
	}
}

// mix sends requests of all kinds, of random place and memory, to the part of f that begins at base and should hold want.
func mix(t *testing.T, f *image, want []byte, base int64) {
	ctx := context.Background()
	rnd := rand.New(rand.NewPCG(1, uint64(base)))
	memory := make([]byte, len(want)+4096)
	for range 60 {
		off := rnd.Int64N(int64(len(want))/f.align) * f.align
		n := (1 + rnd.Int64N(min(int64(len(want))-off, 64<<10)/f.align)) * f.align
		p := memory[rnd.IntN(4096):][:n]
		var err error
		switch rnd.IntN(6) {
		case 0, 1, 2:
			scramble(p, rnd)
			err = f.WriteAt(ctx, p, base+off, formats.WriteFlags(rnd.IntN(8)/7)*formats.FUA)
			copy(want[off:], p)
		case 3:
			if err = f.WriteZeroes(ctx, base+off, n, 0); errors.Is(err, syscall.ENOTSUP) {
				continue
			}
			clear(want[off : off+n])
		case 4:
			err = f.Flush(ctx)
		default:
			if err = f.ReadAt(ctx, p, base+off); !bytes.Equal(p, want[off:off+n]) {
				t.Errorf("%d bytes at %d differ", n, base+off)
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func scramble(p []byte, rnd *rand.Rand) {
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
}

// TestMoreRequestsThanSlots: callers beyond a queue's places wait for one.
func TestMoreRequestsThanSlots(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			f := openQueued(t, tempFile(t, t.TempDir(), 0), w.mode, w.flags)
			ctx := context.Background()
			var wg sync.WaitGroup
			for k := range int64(3 * queueSlots) {
				wg.Go(func() {
					if err := f.WriteAt(ctx, bytes.Repeat([]byte{byte(k)}, 4096), k*4096, 0); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			got := make([]byte, 4096)
			for k := range int64(3 * queueSlots) {
				if err := f.ReadAt(ctx, got, k*4096); err != nil || got[0] != byte(k) || got[4095] != byte(k) {
					t.Fatalf("block %d: %d (%v)", k, got[0], err)
				}
			}
		})
	}
}

// TestPastTheEndReadsAsZeroes has a read that the end of the file cuts in two, and one beyond.
func TestPastTheEndReadsAsZeroes(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			name := tempFile(t, t.TempDir(), 0)
			if err := os.WriteFile(name, bytes.Repeat([]byte{7}, 5000), 0o600); err != nil {
				t.Fatal(err)
			}
			f := openQueued(t, name, w.mode, w.flags)
			for _, c := range []struct{ off, data int }{{0, 5000}, {4096, 904}, {8192, 0}, {1 << 30, 0}} {
				got := bytes.Repeat([]byte{1}, 8192)
				err := f.ReadAt(context.Background(), got, int64(c.off))
				if want := append(bytes.Repeat([]byte{7}, c.data), make([]byte, 8192-c.data)...); err != nil || !bytes.Equal(got, want) {
					t.Errorf("at %d: %v, or not %d bytes of data", c.off, err, c.data)
				}
			}
		})
	}
}

// TestQueuesReportErrors writes to what was opened for reading.
func TestQueuesReportErrors(t *testing.T) {
	ctx := context.Background()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			name := tempFile(t, t.TempDir(), 8192)
			f := openQueued(t, name, w.mode, w.flags&^formats.ReadWrite)
			if err := f.WriteAt(ctx, make([]byte, 4096), 0, 0); !errors.Is(err, syscall.EBADF) {
				t.Errorf("writing to a file that is open for reading: %v", err)
			}
			if err := f.ReadAt(ctx, make([]byte, 4096), 0); err != nil {
				t.Errorf("reading after an error: %v", err)
			}
		})
	}
}

// TestNoSpaceIsReported fills a small file system.
func TestNoSpaceIsReported(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			f := openQueued(t, tempFile(t, dir, 0), w.mode, w.flags)
			err := f.WriteAt(context.Background(), make([]byte, 2<<20), 0, 0)
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("writing 2 MiB to 1 MiB: %v", err)
			}
		})
	}
}

// TestRefusedQueuesAreReported: requests go on without a queue, and that is told once.
func TestRefusedQueuesAreReported(t *testing.T) {
	var lines []string
	a := &aio{mode: "io_uring", env: &formats.Env{Program: "qemu-img", Report: func(f string, a ...any) { lines = append(lines, fmt.Sprintf(f, a...)) }}}
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	first, second := a.ready(0), a.ready(0)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	a.close()
	want := "qemu-img: Unable to use linux io_uring, falling back to thread pool: failed to init linux io_uring ring: Too many open files"
	if first != nil || second != nil || len(lines) != 1 || lines[0] != want {
		t.Errorf("%v, %v, %q", first, second, lines)
	}
}
