package parallels

import (
	"context"
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// copyPiece bounds what is copied at once, in bytes.
const copyPiece = 1 << 20

// WriteAt overwrites clusters in place and allocates those that are not there.
func (d *image) WriteAt(ctx context.Context, p []byte, off int64, f formats.WriteFlags) error {
	if err := d.write(ctx, p, off); err != nil || f&formats.FUA == 0 {
		return err
	}
	return d.Flush(ctx)
}

func (d *image) write(ctx context.Context, p []byte, off int64) error {
	if err := d.dropExtension(ctx); err != nil {
		return err
	}
	d.moving.RLock()
	defer d.moving.RUnlock()
	for len(p) > 0 {
		host, n, err := d.claim(ctx, off, int64(len(p)))
		switch {
		case err != nil:
		case host != 0:
			err = d.file.WriteAt(ctx, p[:n], host, 0)
		default:
			n = min(n, d.cluster-off%d.cluster)
			err = d.allocate(ctx, p[:n], off, n == int64(len(p)))
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// claim is run, after waiting for whoever allocates the first cluster; if it has none, this caller is now the one who
// does.
func (d *image) claim(ctx context.Context, off, n int64) (host, length int64, err error) {
	c := off / d.cluster
	if c >= int64(d.head.entries) {
		return 0, 0, qerr.New(syscall.EIO, "cluster %d has no entry in the BAT", c)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.pending[uint32(c)] {
		d.settled.Wait()
	}
	host, length, err = d.run(ctx, off, n)
	if err == nil && host == 0 {
		d.pending[uint32(c)] = true
	}
	return host, length, err
}

// place hands out a cluster of the file: the first that is free, or a new one. The caller holds mu.
func (d *image) place(ctx context.Context) (at int64, err error) {
	i := d.used.first()
	at = d.start + i*d.cluster
	if at/d.unit > math.MaxUint32 || at%d.unit != 0 {
		d.used.drop(i)
		return 0, qerr.New(syscall.EFBIG, "no entry of the BAT can name a cluster at offset %d", at)
	}
	d.grow(ctx, at)
	d.end = max(d.end, at+d.cluster)
	return at, nil
}

// allocate writes a new cluster around p, and links it. The cluster is pending. last is set if it is the last that the
// write needs.
func (d *image) allocate(ctx context.Context, p []byte, off int64, last bool) error {
	c := uint32(off / d.cluster)
	d.mu.Lock()
	at, err := d.place(ctx)
	d.mu.Unlock()
	if last {
		formats.TurnOf(ctx).Pass()
	}
	placed := err == nil
	if placed {
		err = d.fill(ctx, at, p, off)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.pending, c)
	d.settled.Broadcast()
	if err == nil {
		err = d.table.Set(context.WithoutCancel(ctx), c, uint32(at/d.unit))
	}
	if err != nil && placed {
		d.used.drop(d.index(at))
	}
	return err
}

// fill writes a whole cluster at at that holds p, which belongs at off of the disk, and elsewhere what lies behind.
func (d *image) fill(ctx context.Context, at int64, p []byte, off int64) error {
	inside := off % d.cluster
	if int64(len(p)) < d.cluster {
		var err error
		if d.backing == nil {
			err = d.file.WriteZeroes(ctx, at, d.cluster, 0)
		} else {
			err = d.copyUp(ctx, at, off-inside)
		}
		if err != nil {
			return err
		}
	}
	return d.file.WriteAt(ctx, p, at+inside, 0)
}

// copyUp fills the cluster at at with what the backing file holds at off.
func (d *image) copyUp(ctx context.Context, at, off int64) error {
	buf := make([]byte, min(d.cluster, copyPiece))
	for done := int64(0); done < d.cluster; {
		n := min(d.cluster-done, int64(len(buf)))
		if err := d.readBehind(ctx, buf[:n], off+done); err != nil {
			return err
		}
		if err := d.file.WriteAt(ctx, buf[:n], at+done, 0); err != nil {
			return err
		}
		done += n
	}
	return nil
}

// WriteZeroes gives whole clusters up, as QEMU's driver does; there is no other way to say zero.
func (d *image) WriteZeroes(ctx context.Context, off, n int64, f formats.WriteFlags) error {
	if err := d.Discard(ctx, off, n); err != nil || f&formats.FUA == 0 {
		return err
	}
	return d.Flush(ctx)
}

// Discard gives whole clusters up; they read as zeroes then. With a backing file its content would show instead.
func (d *image) Discard(ctx context.Context, off, n int64) error {
	first, count := off/d.cluster, n/d.cluster
	if d.backing != nil || off%d.cluster != 0 || n%d.cluster != 0 || first+count > int64(d.head.entries) {
		return syscall.ENOTSUP
	}
	if err := d.dropExtension(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := uint32(first); c < uint32(first+count); c++ {
		for d.pending[c] {
			d.settled.Wait()
		}
		host, err := d.where(ctx, int64(c))
		if err != nil {
			return err
		}
		if host == 0 {
			continue
		}
		if err := d.table.Set(context.WithoutCancel(ctx), c, 0); err != nil {
			return err
		}
		d.given = append(d.given, host)
	}
	return nil
}

// Flush makes data, then the BAT durable; what was given up before is free then.
func (d *image) Flush(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if !d.writable {
		return nil
	}
	if err := d.file.Flush(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	given := d.given
	err := d.flushTable(ctx)
	d.mu.Unlock()
	if err != nil || len(given) == 0 {
		return err
	}
	d.release(ctx, given)
	return nil
}

// flushTable is the BAT's part of Flush. The caller holds mu. After it no entry in the file names what was given up.
func (d *image) flushTable(ctx context.Context) error {
	if !d.table.Dirty() {
		return nil
	}
	// Clusters that were linked since the caller's flush are not durable yet.
	if err := d.file.Flush(ctx); err != nil {
		return err
	}
	if err := d.table.Write(ctx); err != nil {
		return err
	}
	if err := d.file.Flush(ctx); err != nil {
		return err
	}
	d.given = nil
	return nil
}

// release makes clusters free that neither the BAT nor a request in flight names any more.
func (d *image) release(ctx context.Context, given []int64) {
	d.moving.Lock()
	defer d.moving.Unlock()
	for _, host := range given {
		// Storage that stays allocated does no harm: the next owner overwrites the whole cluster.
		_ = d.file.Discard(ctx, host, d.cluster)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, host := range given {
		d.used.drop(d.index(host))
	}
}

// Close writes what is not yet in the file, takes the mark of being in use away, and cuts the file behind the last
// cluster. A file that cannot be cut is left longer, as by QEMU, and so is one whose format extension is still good.
func (d *image) Close() error {
	if !d.writable {
		return nil
	}
	ctx := context.Background()
	if err := d.Flush(ctx); err != nil {
		return err
	}
	if err := d.mark(ctx, 0); err != nil {
		return err
	}
	if d.file.Size() != d.end && !d.extension.Load() {
		_ = d.file.Truncate(ctx, d.end, formats.PreallocOff)
	}
	return nil
}
