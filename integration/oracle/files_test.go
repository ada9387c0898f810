package oracle

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"platter/integration/twin"
)

// compareFolders describes how the files of two folders differ, "" if they do not.
func (r *runner) compareFolders(c testCase, a, b string) string {
	inA, errA := listFiles(a)
	inB, errB := listFiles(b)
	if errA != nil || errB != nil {
		return fmt.Sprintf("listing: %v, %v\n", errA, errB)
	}
	var report strings.Builder
	for _, name := range inA {
		if !slices.Contains(inB, name) {
			fmt.Fprintf(&report, "file %s: only stock leaves it\n", name)
		} else if what := r.compareFile(c, a, b, name); what != "" {
			fmt.Fprintf(&report, "file %s: %s\n", name, what)
		}
	}
	for _, name := range inB {
		if !slices.Contains(inA, name) {
			fmt.Fprintf(&report, "file %s: only ours leaves it\n", name)
		}
	}
	return report.String()
}

func listFiles(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	return names, err
}

// compareFile compares one file: as bytes, and where that is not asked for as an image of the format that its name's
// extension tells.
func (r *runner) compareFile(c testCase, a, b, name string) string {
	row := formatNamed(strings.TrimPrefix(filepath.Ext(name), "."))
	if isUntouched(filepath.Join(a, name)) && isUntouched(filepath.Join(b, name)) {
		return ""
	}
	at, what := compareBytes(filepath.Join(a, name), filepath.Join(b, name), row)
	switch {
	case what == "":
		return compareAllocation(filepath.Join(a, name), filepath.Join(b, name))
	case row.opaque || strings.Contains(strings.Join(c.cmds, " "), "encrypt"):
		// Keys and salts are random, and with them every byte; the size is not.
		if at < 0 {
			return what
		}
		return ""
	case c.exact || row.name == "" || row.name == "raw":
		return what
	}
	return r.compareImages(row.name, a, b, name)
}

func isUntouched(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.ModTime().Equal(untouched)
}

// compareBytes gives the first offset at which two files differ, -1 when their sizes do. Holes are not read.
func compareBytes(a, b string, row format) (int64, string) {
	fa, errA := os.Open(a)
	fb, errB := os.Open(b)
	if errA != nil || errB != nil {
		return -1, fmt.Sprintf("open: %v, %v", errA, errB)
	}
	defer fa.Close()
	defer fb.Close()
	ia, _ := fa.Stat()
	ib, _ := fb.Stat()
	if ia.Size() != ib.Size() && !(row.canon != nil && sameHead(fa, fb, row)) {
		return -1, fmt.Sprintf("stock leaves %d bytes, ours %d", ia.Size(), ib.Size())
	}
	if ia.Size() != ib.Size() {
		return 0, ""
	}
	at, what := int64(0), ""
	visit := func(off, n int64) error {
		for end := off + n; off < end && what == ""; {
			at, what = compareBlock(fa, fb, off, min(end-off, 1<<20), row)
			off += min(end-off, 1<<20)
		}
		return nil
	}
	if err := eachData(fa, visit); err != nil {
		return -1, err.Error()
	}
	if what != "" {
		return at, what
	}
	if err := eachData(fb, visit); err != nil {
		return -1, err.Error()
	}
	return at, what
}

const headSize = 128 << 10

// sameHead says whether two short files are the same but for what canon takes out.
func sameHead(fa, fb *os.File, row format) bool {
	pa, errA := io.ReadAll(io.NewSectionReader(fa, 0, headSize))
	pb, errB := io.ReadAll(io.NewSectionReader(fb, 0, headSize))
	return errA == nil && errB == nil && len(pa) < headSize && len(pb) < headSize &&
		bytes.Equal(row.canon(pa), row.canon(pb))
}

func compareBlock(fa, fb *os.File, off, n int64, row format) (int64, string) {
	pa, pb := make([]byte, n), make([]byte, n)
	if _, err := fa.ReadAt(pa, off); err != nil && err != io.EOF {
		return off, err.Error()
	}
	if _, err := fb.ReadAt(pb, off); err != nil && err != io.EOF {
		return off, err.Error()
	}
	if bytes.Equal(pa, pb) {
		return 0, ""
	}
	if row.mask != nil {
		row.mask(fa, pa, off)
		row.mask(fb, pb, off)
	}
	if row.canon != nil && off == 0 {
		head := min(n, headSize)
		copy(pa, row.canon(bytes.Clone(pa[:head])))
		copy(pb, row.canon(bytes.Clone(pb[:head])))
	}
	for i := range pa {
		if pa[i] != pb[i] {
			end := min(int64(i)+16, n)
			return off + int64(i), fmt.Sprintf("differ at %#x: stock % x, ours % x", off+int64(i), pa[i:end], pb[i:end])
		}
	}
	return 0, ""
}

// compareAllocation reports when ours takes clearly more of the disk than stock's: holes that were lost.
func compareAllocation(a, b string) string {
	var sa, sb syscall.Stat_t
	if syscall.Stat(a, &sa) != nil || syscall.Stat(b, &sb) != nil {
		return "stat failed"
	}
	if have, want := sb.Blocks*512, sa.Blocks*512; have > want+want/10+128<<10 {
		return fmt.Sprintf("ours takes %d bytes of the disk, stock's %d", have, want)
	}
	return ""
}

// compareImages asks stock qemu-img whether two images have the same guest content and are equally sound.
func (r *runner) compareImages(format, a, b, name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// Not -s: that asks for the same allocation, too. That the sizes differ is told by a warning.
	args := []string{"compare", "-f", format, "-F", format, filepath.Join(a, name), filepath.Join(b, name)}
	if out, err := r.stock.Command(ctx, a, args...).CombinedOutput(); err != nil || string(out) != "Images are identical.\n" {
		// Images that stock cannot open, damaged ones, have their bytes as content.
		if r.stock.Command(ctx, a, "info", "-f", format, name).Run() == nil || !sameBytes(a, b, name) {
			return fmt.Sprintf("stock compare: %v: %s", err, strings.TrimSpace(string(out)))
		}
	}
	want := r.stock.Command(ctx, a, "check", "-f", format, name)
	wantText, _ := want.CombinedOutput()
	have := r.stock.Command(ctx, b, "check", "-f", format, name)
	haveText, _ := have.CombinedOutput()
	if want.ProcessState.ExitCode() != have.ProcessState.ExitCode() {
		return "stock check:\n" + twin.Unified("check", string(wantText), string(haveText))
	}
	return compareAllocation(filepath.Join(a, name), filepath.Join(b, name))
}

func sameBytes(a, b, name string) bool {
	_, what := compareBytes(filepath.Join(a, name), filepath.Join(b, name), format{})
	return what == ""
}
