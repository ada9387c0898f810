package file

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"platter/formats"
)

// TestViewsComeAndGo: a file larger than all views can be lent from one end to the other, what is lent is what was
// written, and no view is taken away from who has it.
func TestViewsComeAndGo(t *testing.T) {
	name := filepath.Join(t.TempDir(), "large")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const places = maxViews + 3
	mark := func(k int) []byte { return bytes.Repeat([]byte{byte('a' + k)}, 64<<10) }
	for k := range places {
		if _, err := f.WriteAt(mark(k), int64(k+1)*viewSize-32<<10); err != nil {
			t.Fatal(err)
		}
	}
	img, err := openFile(t, name, 0, reader, formats.PermAll)
	if err != nil {
		t.Fatal(err)
	}
	lender := img.(formats.Lender)
	var l formats.Loan
	if !lender.Lend(0, 4096, &l) {
		t.Skipf("what is mapped is not known to be what is read on the file system of %s", name)
	}
	l.Release()
	for k := range places { // each crosses from one view into the next
		if !lender.Lend(int64(k+1)*viewSize-32<<10, 64<<10, &l) {
			t.Fatalf("place %d is not lent", k)
		}
		if got := bytes.Join(l.Parts, nil); !bytes.Equal(got, mark(k)) || len(l.Parts) != 2 {
			t.Errorf("place %d: %d parts, not what was written", k, len(l.Parts))
		}
		l.Release()
	}
	var kept [maxViews]formats.Loan
	for k := range kept {
		if !lender.Lend(int64(k)*viewSize, 4096, &kept[k]) {
			t.Fatalf("view %d is not lent", k)
		}
	}
	if lender.Lend(maxViews*viewSize, 4096, &l) {
		t.Error("a view more than there are was lent")
	}
	l.Release()
	kept[3].Release()
	if !lender.Lend(maxViews*viewSize, 4096, &l) {
		t.Error("a view that was given back is not lent again")
	}
	l.Release()
	if size := int64(places)*viewSize + 32<<10; lender.Lend(size-4096, 8192, &l) {
		t.Error("lent past the end of the file")
	}
	l.Release()
	for k := range kept {
		kept[k].Release()
	}
}

// TestReadingTakesNoSpace: to look at a hole must not fill it, as it does where tmpfs is mapped.
func TestReadingTakesNoSpace(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "platter")
	if err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "holes")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const size = 16 << 20
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	img, err := openFile(t, name, 0, reader, formats.PermAll)
	if err != nil {
		t.Fatal(err)
	}
	var l formats.Loan
	sum := 0
	if img.(formats.Lender).Lend(0, size, &l) {
		for _, p := range l.Parts {
			for k := 0; k < len(p); k += 4096 {
				sum += int(p[k])
			}
		}
	}
	l.Release()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if taken := info.Sys().(*syscall.Stat_t).Blocks * 512; taken != 0 || sum != 0 {
		t.Errorf("reading holes made them take %d bytes (sum %d)", taken, sum)
	}
}
