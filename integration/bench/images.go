package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"platter/integration/programs"
)

// recipe makes an image out of others: what must be there before, and the stock command lines, in which SIZE is the
// size of the disk in bytes; or the content of a raw file.
type recipe struct {
	of    []string
	lines []string
	fill  func(f *os.File, size int64) error
}

// recipes of all images, by name.
var recipes = map[string]recipe{
	// A half is data, of which a half can be compressed; the rest are holes.
	"disk.raw": {fill: func(f *os.File, size int64) error {
		src := rand.NewChaCha8([32]byte{1})
		for off := int64(0); off < size; off += 4 << 20 {
			if err := fillAt(f, off, 1<<20, src); err != nil {
				return err
			}
			if err := fillAt(f, off+1<<20, 1<<20, words(src)); err != nil {
				return err
			}
		}
		return f.Truncate(size)
	}},
	"full.raw": {fill: func(f *os.File, size int64) error { return fillAt(f, 0, size, rand.NewChaCha8([32]byte{2})) }},
	"text.raw": {fill: func(f *os.File, size int64) error {
		return fillAt(f, 0, size/4, words(rand.NewChaCha8([32]byte{3})))
	}},
	"random.raw": {fill: func(f *os.File, size int64) error { return fillAt(f, 0, size/4, rand.NewChaCha8([32]byte{4})) }},
	// Small extents, far from each other.
	"sparse.raw": {fill: func(f *os.File, size int64) error {
		src := rand.NewChaCha8([32]byte{5})
		for k := range int64(1000) {
			if err := fillAt(f, k*(20<<20), 16<<10, src); err != nil {
				return err
			}
		}
		return f.Truncate(20 << 30)
	}},
	"disk.qcow2":   {of: []string{"disk.raw"}, lines: []string{"convert -f raw -O qcow2 disk.raw disk.qcow2"}},
	"disk.vmdk":    {of: []string{"disk.raw"}, lines: []string{"convert -f raw -O vmdk disk.raw disk.vmdk"}},
	"full.qcow2":   {of: []string{"full.raw"}, lines: []string{"convert -f raw -O qcow2 full.raw full.qcow2"}},
	"sparse.qcow2": {of: []string{"sparse.raw"}, lines: []string{"convert -f raw -O qcow2 sparse.raw sparse.qcow2"}},
	"zlib.qcow2":   {of: []string{"text.raw"}, lines: []string{"convert -c -f raw -O qcow2 text.raw zlib.qcow2"}},
	"zstd.qcow2": {of: []string{"text.raw"},
		lines: []string{"convert -c -f raw -O qcow2 -o compression_type=zstd text.raw zstd.qcow2"}},
	"blank.qcow2": {lines: []string{"create -q -f qcow2 blank.qcow2 SIZE"}},
	"meta.qcow2":  {lines: []string{"create -q -f qcow2 -o preallocation=metadata meta.qcow2 64G"}},
	"snaps.qcow2": {of: []string{"meta.qcow2"}, lines: []string{"cp meta.qcow2 snaps.qcow2", "snapshot -c one snaps.qcow2",
		"snapshot -c two snaps.qcow2", "snapshot -c three snaps.qcow2"}},
	// Four layers, each of which holds every fourth 64 MiB.
	"chain.qcow2": {of: []string{"full.qcow2"}, lines: []string{
		"create -q -f qcow2 -b full.qcow2 -F qcow2 chain1.qcow2", "IO chain1.qcow2 0 1",
		"create -q -f qcow2 -b chain1.qcow2 -F qcow2 chain2.qcow2", "IO chain2.qcow2 1 2",
		"create -q -f qcow2 -b chain2.qcow2 -F qcow2 chain.qcow2", "IO chain.qcow2 2 3"}},
	// An overlay with some changes, to be committed or rebased.
	"top.qcow2": {of: []string{"disk.qcow2"}, lines: []string{"cp disk.qcow2 low.qcow2",
		"create -q -f qcow2 -b low.qcow2 -F qcow2 top.qcow2", "IO top.qcow2 0 1"}},
}

// make prepares an image and what it is made of.
func (b *bench) make(name string) error {
	if b.made[name] {
		return nil
	}
	r, ok := recipes[name]
	if !ok {
		return fmt.Errorf("nobody knows how to make %s", name)
	}
	for _, o := range r.of {
		if err := b.make(o); err != nil {
			return err
		}
	}
	if r.fill != nil {
		f, err := os.Create(filepath.Join(b.dir, name))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := r.fill(f, b.size); err != nil {
			return err
		}
	}
	for _, line := range r.lines {
		if err := b.step(line); err != nil {
			return err
		}
	}
	b.made[name] = true
	return nil
}

// step does what is not measured: "cp FROM TO", "rm FILES", "IO FILE FROM TO" (writes every such quarter of each 256
// MiB, or of the disk if that is smaller), or a command line of stock qemu-img.
func (b *bench) step(line string) error {
	f := b.arguments(line)
	switch f[0] {
	case "cp", "rm":
		cmd := exec.Command(f[0], append([]string{"-f"}, f[1:]...)...)
		cmd.Dir = b.dir
		return cmd.Run()
	case "IO":
		return b.writeQuarters(f[1], f[2], f[3])
	}
	_, err := b.call(b.stock, f...)
	return err
}

// arguments splits a line at single spaces: two of them have an empty argument in between.
func (b *bench) arguments(line string) []string {
	return strings.Split(strings.ReplaceAll(strings.TrimSpace(line), "SIZE", fmt.Sprint(b.size)), " ")
}

func (b *bench) writeQuarters(image, from, to string) error {
	io, err := programs.Stock("qemu-io")
	if err != nil {
		return err
	}
	quarter := min(b.size, 256<<20) / 4
	var first, last int64
	if _, err := fmt.Sscan(from+" "+to, &first, &last); err != nil {
		return err
	}
	args := []string{"-f", "qcow2"}
	for off := int64(0); off < b.size; off += 4 * quarter {
		args = append(args, "-c", fmt.Sprintf("write -P 0xa5 %d %d", off+first*quarter, (last-first)*quarter))
	}
	_, err = b.call(io, append(args, image)...)
	return err
}

// fillAt writes n bytes of src at off.
func fillAt(f *os.File, off, n int64, src io.Reader) error {
	p := make([]byte, 1<<20)
	for end := off + n; off < end; off += int64(len(p)) {
		p = p[:min(int64(len(p)), end-off)]
		if _, err := io.ReadFull(src, p); err != nil {
			return err
		}
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
	}
	return nil
}

// words is an endless text out of a few thousand words, which compresses about as well as the files of a system.
func words(src rand.Source) io.Reader {
	rnd := rand.New(src)
	list := make([]string, 4096)
	for k := range list {
		w := make([]byte, 2+rnd.IntN(9))
		for j := range w {
			w[j] = byte('a' + rnd.IntN(26))
		}
		list[k] = string(w) + " "
	}
	return bufio.NewReader(&text{rnd, list, nil})
}

type text struct {
	rnd  *rand.Rand
	list []string
	rest []byte
}

func (t *text) Read(p []byte) (int, error) {
	for len(t.rest) < len(p) {
		t.rest = append(t.rest, t.list[t.rnd.IntN(len(t.list))]...)
	}
	n := copy(p, t.rest)
	t.rest = append(t.rest[:0], t.rest[n:]...)
	return n, nil
}

// call runs a program and tells what it took.
func (b *bench) call(p programs.Program, args ...string) (sample, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := p.Command(ctx, b.dir, args...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	s := sample{wall: time.Since(start)}
	if err != nil {
		return s, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return s, nil
}
