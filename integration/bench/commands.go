package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"platter/integration/programs"
)

// workload is a command line, with what is removed before each run.
type workload struct{ name, line, remove string }

var commandLines = []workload{
	{"convert raw -> qcow2", "convert -f raw -O qcow2 disk.raw out", "out"},
	{"convert qcow2 -> raw", "convert -f qcow2 -O raw disk.qcow2 out", "out"},
	{"convert raw -> raw", "convert -f raw -O raw disk.raw out", "out"},
	{"convert qcow2 -> qcow2", "convert -f qcow2 -O qcow2 disk.qcow2 out", "out"},
	{"convert -c (zlib)", "convert -c -f raw -O qcow2 disk.raw out", "out"},
	{"convert -c (zstd)", "convert -c -f raw -O qcow2 -o compression_type=zstd disk.raw out", "out"},
	{"convert compressed -> raw", "convert -f qcow2 -O raw packed.qcow2 out", "out"},
	{"compare qcow2 raw", "compare -f qcow2 -F raw disk.qcow2 disk.raw", ""},
	{"check qcow2", "check -f qcow2 disk.qcow2", ""},
	{"map qcow2", "map -f qcow2 --output=json disk.qcow2", ""},
	{"info qcow2", "info -f qcow2 disk.qcow2", ""},
	{"create qcow2", "create -q -f qcow2 out 64G", "out"},
	{"create qcow2 preallocated", "create -q -f qcow2 -o preallocation=metadata out 64G", "out"},
}

// commands measures the command line.
func (b *bench) commands(stop <-chan os.Signal) error {
	if err := b.prepare(); err != nil {
		return err
	}
	for _, w := range commandLines {
		err := b.compare(w.name, [2]side{
			{"stock", func() (time.Duration, error) { return b.command(b.stock, w) }},
			{"platter", func() (time.Duration, error) { return b.command(b.platter, w) }},
		}, stop)
		if err != nil {
			return err
		}
	}
	return nil
}

// prepare makes disk.raw, of which a half is data and half of that can be compressed, and its copies.
func (b *bench) prepare() error {
	f, err := os.Create(filepath.Join(b.dir, "disk.raw"))
	if err != nil {
		return err
	}
	defer f.Close()
	src := rand.NewChaCha8([32]byte{1})
	for off := int64(0); off < b.size; off += 4 << 20 {
		p := make([]byte, 2<<20)
		_, _ = io.ReadFull(src, p[:1<<20])
		copy(p[1<<20:], strings.Repeat("some text that compresses well, as file systems have it; ", 1<<20/57))
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
	}
	if err := f.Truncate(b.size); err != nil {
		return err
	}
	for _, line := range []string{"convert -f raw -O qcow2 disk.raw disk.qcow2", "convert -c -f raw -O qcow2 disk.raw packed.qcow2"} {
		if err := b.call(b.stock, line); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) command(p programs.Program, w workload) (time.Duration, error) {
	if w.remove != "" {
		if err := os.RemoveAll(filepath.Join(b.dir, w.remove)); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	err := b.call(p, w.line)
	return time.Since(start), err
}

func (b *bench) call(p programs.Program, line string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if out, err := p.Command(ctx, b.dir, strings.Fields(line)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, strings.TrimSpace(string(out)))
	}
	return nil
}
