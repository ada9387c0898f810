package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
)

// openFile opens name as a format's storage for reading or writing.
func openFile(t *testing.T, name string, flags formats.OpenFlags, perm, shared formats.Perm) (formats.File, error) {
	t.Helper()
	v := &option.Values{}
	if err := v.Set(openOpts, "filename", name); err != nil {
		t.Fatal(err)
	}
	img, err := open(context.Background(), formats.OpenArgs{Name: name, Options: v, Flags: flags, Perm: perm, Shared: shared})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { img.Close() })
	return img.(*image), nil
}

const (
	reader  = formats.PermConsistentRead
	writer  = formats.PermConsistentRead | formats.PermWrite | formats.PermResize
	metaRO  = formats.PermAll &^ (formats.PermWrite | formats.PermResize)
	rwFlags = formats.ReadWrite | formats.Unmap
)

func tempFile(t *testing.T, dir string, size int) string {
	t.Helper()
	name := filepath.Join(dir, "disk")
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestLengtheningKeepsOtherWrites lets writers and writers of zeroes lengthen a file at once: none may cut off what
// another has written behind the old end. Memory file systems have no fallocate for zeroes, so they take another way.
func TestLengtheningKeepsOtherWrites(t *testing.T) {
	dirs := []string{t.TempDir()}
	if shm, err := os.MkdirTemp("/dev/shm", "platter"); err == nil {
		defer os.RemoveAll(shm)
		dirs = append(dirs, shm)
	}
	for _, dir := range dirs {
		for _, flags := range []formats.WriteFlags{0, formats.MayUnmap} {
			t.Run(fmt.Sprintf("%s/%d", filepath.Dir(dir), flags), func(t *testing.T) {
				lengthen(t, tempFile(t, dir, 0), flags)
			})
		}
	}
}

func lengthen(t *testing.T, name string, flags formats.WriteFlags) {
	const workers, pieces, piece = 4, 64, 64 << 10
	ctx := context.Background()
	f, err := openFile(t, name, rwFlags, writer, metaRO)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for k := w; k < pieces; k += workers {
				off := int64(k) * piece
				if w%2 == 0 {
					err := f.WriteZeroes(ctx, off, piece, flags)
					if err != nil && !errors.Is(err, syscall.ENOTSUP) {
						t.Error(err)
					}
					continue
				}
				if err := f.WriteAt(ctx, bytes.Repeat([]byte{byte(k)}, piece), off, 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for k := range pieces {
		want := byte(k)
		if k%workers%2 == 0 {
			want = 0
		}
		if end := (k + 1) * piece; end > len(got) || !bytes.Equal(got[k*piece:end], bytes.Repeat([]byte{want}, piece)) {
			t.Fatalf("piece %d of a file of %d bytes is not what was written", k, len(got))
		}
	}
}

func TestLocksAreQEMUs(t *testing.T) {
	name := tempFile(t, t.TempDir(), 4096)
	if _, err := openFile(t, name, rwFlags, writer, metaRO); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flags        formats.OpenFlags
		perm, shared formats.Perm
		want         string
	}{
		{rwFlags, writer, metaRO, `Failed to get "write" lock`},
		{0, reader, metaRO, `Failed to get shared "write" lock`},
		{formats.ForceShare, reader, formats.PermAll, ""},
	} {
		_, err := openFile(t, name, c.flags, c.perm, c.shared)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("sharing everything: %v", err)
		case c.want != "" && (err == nil || err.Error() != c.want):
			t.Errorf("perm %d shared %d: %v, want %s", c.perm, c.shared, err, c.want)
		case c.want != "" && qerr.Hint(err) != "Is another process using the image ["+name+"]?\n":
			t.Errorf("hint %q", qerr.Hint(err))
		}
	}
}

func TestNothingThatBlocksIsOpened(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Skipf("no FIFO can be made here: %v", err)
	}
	for _, name := range []string{fifo, dir, "/dev/null"} {
		_, err := openFile(t, name, 0, reader, formats.PermAll)
		if err == nil || !strings.Contains(err.Error(), "'file' driver requires '"+name+"' to be a regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHolesAreFoundAndMade(t *testing.T) {
	const mib = 1 << 20
	ctx := context.Background()
	name := tempFile(t, t.TempDir(), 0)
	f, err := openFile(t, name, rwFlags, writer, metaRO)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.WriteAt(ctx, bytes.Repeat([]byte{1}, 3*mib), 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Discard(ctx, mib, mib); errors.Is(err, syscall.ENOTSUP) {
		t.Skip("this file system punches no holes")
	} else if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		off, n int64
		state  formats.State
	}{{0, mib, formats.Data}, {mib, mib, formats.Zero}, {2 * mib, mib, formats.Data}, {3 * mib, mib, formats.Zero}} {
		e, err := f.Status(ctx, c.off, 4*mib-c.off)
		if err != nil || e.State != c.state || e.Len != c.n {
			t.Errorf("at %d: %+v (%v), want %d bytes of state %d", c.off, e, err, c.n, c.state)
		}
	}
	got := make([]byte, 4*mib)
	if err := f.ReadAt(ctx, got, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[mib:2*mib], make([]byte, mib)) || !bytes.Equal(got[3*mib:], make([]byte, mib)) || got[2*mib] != 1 {
		t.Error("holes and what lies past the end do not read as zeroes")
	}
}

func TestDirectReadsAndWritesAnyMemory(t *testing.T) {
	ctx := context.Background()
	name := tempFile(t, t.TempDir(), 1<<20)
	f, err := openFile(t, name, rwFlags|formats.Direct, writer, metaRO)
	if err != nil {
		t.Skipf("O_DIRECT does not work here: %v", err)
	}
	align := f.Limits().Align
	if align < 512 {
		t.Fatalf("alignment %d", align)
	}
	odd := make([]byte, 64<<10+1)[1:] // memory that is aligned to nothing
	for i := range odd {
		odd[i] = byte(i * 7)
	}
	if err := f.WriteAt(ctx, odd, align, 0); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(odd)+1)[1:]
	if err := f.ReadAt(ctx, got, align); err != nil || !bytes.Equal(got, odd) {
		t.Errorf("read back differs (%v)", err)
	}
}
