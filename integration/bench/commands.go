package main

import (
	"fmt"
	"strings"

	"platter/integration/programs"
)

// commandLine is a workload of the command line: the images it needs, what is done before each run, and the line.
type commandLine struct {
	name   string
	images string
	before string
	line   string
}

var commandLines = []commandLine{
	{"convert raw -> qcow2", "disk.raw", "rm out", "convert -f raw -O qcow2 disk.raw out"},
	{"convert qcow2 -> raw", "disk.qcow2", "rm out", "convert -f qcow2 -O raw disk.qcow2 out"},
	{"convert raw -> raw", "disk.raw", "rm out", "convert -f raw -O raw disk.raw out"},
	{"convert qcow2 -> qcow2", "disk.qcow2", "rm out", "convert -f qcow2 -O qcow2 disk.qcow2 out"},
	{"convert full raw -> qcow2", "full.raw", "rm out", "convert -f raw -O qcow2 full.raw out"},
	{"convert chain of 4 -> raw", "chain.qcow2", "rm out", "convert -f qcow2 -O raw chain.qcow2 out"},
	{"convert sparse raw -> qcow2", "sparse.raw", "rm out", "convert -f raw -O qcow2 sparse.raw out"},
	{"convert sparse qcow2 -> raw", "sparse.qcow2", "rm out", "convert -f qcow2 -O raw sparse.qcow2 out"},
	{"convert raw -> vmdk", "disk.raw", "rm out", "convert -f raw -O vmdk disk.raw out"},
	{"convert vmdk -> raw", "disk.vmdk", "rm out", "convert -f vmdk -O raw disk.vmdk out"},
	{"convert raw -> vdi", "disk.raw", "rm out", "convert -f raw -O vdi disk.raw out"},
	{"convert raw -> vhdx", "disk.raw", "rm out", "convert -f raw -O vhdx disk.raw out"},
	{"convert raw -> vpc", "disk.raw", "rm out", "convert -f raw -O vpc disk.raw out"},
	{"convert -c (zlib)", "text.raw", "rm out", "convert -c -f raw -O qcow2 text.raw out"},
	{"convert -c (zlib), -m 16 -W", "text.raw", "rm out", "convert -c -m 16 -W -f raw -O qcow2 text.raw out"},
	{"convert -c (zstd)", "text.raw", "rm out", "convert -c -f raw -O qcow2 -o compression_type=zstd text.raw out"},
	{"convert -c of random data", "random.raw", "rm out", "convert -c -f raw -O qcow2 random.raw out"},
	{"convert zlib -> raw", "zlib.qcow2", "rm out", "convert -f qcow2 -O raw zlib.qcow2 out"},
	{"convert zstd -> raw", "zstd.qcow2", "rm out", "convert -f qcow2 -O raw zstd.qcow2 out"},
	{"compare qcow2 raw", "disk.qcow2", "", "compare -f qcow2 -F raw disk.qcow2 disk.raw"},
	{"compare full qcow2 raw", "full.qcow2", "", "compare -f qcow2 -F raw full.qcow2 full.raw"},
	{"check qcow2", "disk.qcow2", "", "check -f qcow2 disk.qcow2"},
	{"check, 64 GiB of metadata", "meta.qcow2", "", "check -f qcow2 meta.qcow2"},
	{"check, 3 snapshots", "snaps.qcow2", "", "check -f qcow2 snaps.qcow2"},
	{"map qcow2", "disk.qcow2", "", "map -f qcow2 --output=json disk.qcow2"},
	{"map, 64 GiB of metadata", "meta.qcow2", "", "map -f qcow2 --output=json meta.qcow2"},
	{"map sparse raw", "sparse.raw", "", "map -f raw --output=json sparse.raw"},
	{"measure raw", "disk.raw", "", "measure -f raw -O qcow2 disk.raw"},
	{"measure qcow2", "sparse.qcow2", "", "measure -f qcow2 -O qcow2 sparse.qcow2"},
	{"measure, 64 GiB of metadata", "meta.qcow2", "", "measure -f qcow2 -O qcow2 meta.qcow2"},
	{"info qcow2", "disk.qcow2", "", "info -f qcow2 disk.qcow2"},
	{"info --backing-chain, 4 layers", "chain.qcow2", "", "info --backing-chain --output=json chain.qcow2"},
	{"create qcow2", "", "rm out", "create -q -f qcow2 out 64G"},
	{"create qcow2, metadata", "", "rm out", "create -q -f qcow2 -o preallocation=metadata out 64G"},
	{"create qcow2, falloc", "", "rm out", "create -q -f qcow2 -o preallocation=falloc out SIZE"},
	{"create qcow2, full", "", "rm out", "create -q -f qcow2 -o preallocation=full out SIZE"},
	{"create raw, full", "", "rm out", "create -q -f raw -o preallocation=full out SIZE"},
	{"resize, grow", "disk.qcow2", "cp disk.qcow2 out", "resize -q -f qcow2 out +10G"},
	{"resize, grow with metadata", "blank.qcow2", "cp blank.qcow2 out", "resize -q -f qcow2 --preallocation=metadata out +32G"},
	{"resize --shrink", "meta.qcow2", "cp meta.qcow2 out", "resize -q -f qcow2 --shrink out 1G"},
	{"snapshot -c", "meta.qcow2", "cp meta.qcow2 out", "snapshot -c new out"},
	{"snapshot -a", "snaps.qcow2", "cp snaps.qcow2 out", "snapshot -a one out"},
	{"snapshot -d", "snaps.qcow2", "cp snaps.qcow2 out", "snapshot -d two out"},
	{"snapshot -l", "snaps.qcow2", "", "snapshot -l snaps.qcow2"},
	{"commit", "top.qcow2", "cp disk.qcow2 low.qcow2; cp top.qcow2 out", "commit -q -f qcow2 out"},
	{"commit -d", "top.qcow2", "cp disk.qcow2 low.qcow2; cp top.qcow2 out", "commit -q -d -f qcow2 out"},
	{"rebase", "top.qcow2", "cp top.qcow2 out", "rebase -q -f qcow2 -b disk.raw -F raw out"},
	{"rebase to none", "top.qcow2", "cp top.qcow2 out", "rebase -q -f qcow2 -b  out"},
	{"rebase -u", "top.qcow2", "cp top.qcow2 out", "rebase -q -u -f qcow2 -b disk.raw -F raw out"},
	{"amend, refcounts of 32 bits", "meta.qcow2", "cp meta.qcow2 out", "amend -q -f qcow2 -o refcount_bits=32 out"},
	{"amend, version 2", "disk.qcow2", "cp disk.qcow2 out", "amend -q -f qcow2 -o compat=0.10 out"},
	{"bitmap --add", "disk.qcow2", "cp disk.qcow2 out", "bitmap --add -f qcow2 out new"},
	{"dd qcow2 -> raw", "disk.qcow2", "rm out", "dd -f qcow2 -O raw bs=1M if=disk.qcow2 of=out"},
	{"bench, reads", "full.qcow2", "", "bench -f qcow2 -c 20000 full.qcow2"},
	{"bench, writes", "full.qcow2", "cp full.qcow2 out", "bench -f qcow2 -w -c 20000 out"},
}

// commands measures the command line.
func (b *bench) commands() error {
	for _, w := range commandLines {
		if !b.wanted(w.name) {
			continue
		}
		if w.images != "" {
			if err := b.make(w.images); err != nil {
				return err
			}
		}
		err := b.compare(w.name, [2]side{
			{"stock", func() (sample, error) { return b.command(b.stock, w) }},
			{"platter", func() (sample, error) { return b.command(b.platter, w) }},
		})
		if err != nil {
			return err
		}
	}
	return b.step("rm out")
}

func (b *bench) command(p programs.Program, w commandLine) (sample, error) {
	for line := range strings.SplitSeq(w.before, ";") {
		if line == "" {
			continue
		}
		if err := b.step(line); err != nil {
			return sample{}, fmt.Errorf("%s: %w", line, err)
		}
	}
	return b.call(p, b.arguments(w.line)...)
}
