package parallels

import (
	"context"

	"platter/formats"
)

// checker is one check of an image.
type checker struct {
	*image
	fix formats.FixMode
	env *formats.Env
	res formats.CheckResult
}

// Check finds, and with fix repairs, in QEMU's order and words: the mark of being in use, a wrong start of the data
// area, clusters outside the file, a file that is too long, and clusters that are used twice.
func (d *image) Check(ctx context.Context, fix formats.FixMode, env *formats.Env) (formats.CheckResult, error) {
	c := &checker{image: d, fix: fix, env: env}
	if err := d.Flush(ctx); err != nil {
		return c.res, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.unclean {
		env.Report("%s image was not closed correctly", c.word(formats.FixErrors))
		if c.corrupt() {
			d.unclean = false
		}
	}
	for _, step := range []func(context.Context) error{c.dataOff, c.outside, c.leak, c.duplicates, c.count} {
		if err := step(ctx); err != nil {
			c.res.CheckErrors++
			return c.res, err
		}
	}
	if fix == 0 || !d.writable {
		return c.res, nil
	}
	return c.res, d.flushTable(ctx)
}

// word begins a finding.
func (c *checker) word(mode formats.FixMode) string {
	if c.fix&mode != 0 {
		return "Repairing"
	}
	return "ERROR"
}

// corrupt counts a corruption; true if it is to be repaired.
func (c *checker) corrupt() bool {
	c.res.Corruptions++
	if c.fix&formats.FixErrors == 0 {
		return false
	}
	c.res.CorruptionsFixed++
	return true
}

func (c *checker) dataOff(ctx context.Context) error {
	start, ok := c.head.dataStart(c.fileLen() / sectorSize)
	if ok {
		return nil
	}
	c.env.Report("%s data_off field has incorrect value", c.word(formats.FixErrors))
	if !c.corrupt() {
		return nil
	}
	c.head.dataOff, c.start = start, int64(start)*sectorSize
	return c.putWord(ctx, atDataOff, start)
}

// outside drops entries of clusters that the file does not hold. Like QEMU it takes a file that is shorter than a
// cluster as a fault of every cluster.
func (c *checker) outside(ctx context.Context) error {
	size, high := c.fileLen(), int64(0)
	var failed error
	err := c.eachHeld(ctx, func(b, e uint32) {
		off := int64(e) * c.unit
		if off <= size-c.cluster {
			high = max(high, off)
			return
		}
		c.env.Report("%s cluster %d is outside image", c.word(formats.FixErrors), b)
		if c.corrupt() && failed == nil {
			failed = c.table.Set(ctx, b, 0)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	if high != 0 {
		c.end = high + c.cluster
	}
	c.res.ImageEndOffset = c.end
	return nil
}

func (c *checker) leak(ctx context.Context) error {
	extra := c.fileLen() - c.res.ImageEndOffset
	if extra <= 0 {
		return nil
	}
	c.env.Report("%s space leaked at the end of the image %d", c.word(formats.FixLeaks), extra)
	count := (extra + c.cluster - 1) / c.cluster
	c.res.Leaks += count
	if c.fix&formats.FixLeaks == 0 {
		return nil
	}
	if err := c.dropExtension(ctx); err != nil {
		return err
	}
	if err := c.file.Truncate(ctx, c.res.ImageEndOffset, formats.PreallocOff); err != nil {
		return err
	}
	c.res.LeaksFixed += count
	return nil
}

// duplicates finds clusters that are used twice, or lie before the data area, and gives their entries a copy.
func (c *checker) duplicates(ctx context.Context) error {
	var wrong []uint32
	end := min(c.res.ImageEndOffset, c.fileLen())
	c.used = c.newBitset(end)
	err := c.eachHeld(ctx, func(b, e uint32) {
		host := int64(e) * c.unit
		if e == 0 || host+c.cluster > end || c.used.take(c.index(host)) {
			return
		}
		wrong = append(wrong, b)
	})
	if err != nil {
		return err
	}
	for _, b := range wrong {
		c.env.Report("%s duplicate offset in BAT entry %d", c.word(formats.FixErrors), b)
		if !c.corrupt() {
			continue
		}
		if err := c.move(ctx, b); err != nil {
			return err
		}
	}
	c.res.ImageEndOffset = max(c.res.ImageEndOffset, c.end)
	return nil
}

// move copies block b to a place of its own.
func (c *checker) move(ctx context.Context, b uint32) error {
	from, err := c.where(ctx, int64(b))
	if err != nil {
		return err
	}
	if err := c.dropExtension(ctx); err != nil {
		return err
	}
	to, err := c.place(ctx)
	if err != nil {
		return err
	}
	buf := make([]byte, min(c.cluster, copyPiece))
	for done := int64(0); done < c.cluster; {
		n := min(c.cluster-done, int64(len(buf)))
		if err := c.file.ReadAt(ctx, buf[:n], from+done); err != nil {
			return err
		}
		if err := c.file.WriteAt(ctx, buf[:n], to+done, 0); err != nil {
			return err
		}
		done += n
	}
	return c.table.Set(ctx, b, uint32(to/c.unit))
}

// count makes the statistics.
func (c *checker) count(ctx context.Context) error {
	c.res.TotalClusters = int64(c.head.entries)
	prev := int64(0)
	return c.eachHeld(ctx, func(_, e uint32) {
		off := int64(e) * c.unit
		if off == 0 || off+c.cluster > c.res.ImageEndOffset {
			prev = 0
			return
		}
		if prev != 0 && prev+c.cluster != off {
			c.res.FragmentedClusters++
		}
		prev = off
		c.res.AllocatedClusters++
	})
}
