package fusefs

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"platter/chain"
	"platter/formats"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// idPrefix begins the names under which snapshots are reached by their ID; those whose name is no file name, or is
// that of an earlier one, are listed so.
const idPrefix = "id="

var errIsID = qerr.New(syscall.EINVAL, "names that begin with '%s' stand for IDs", idPrefix)

// snapshots is the directory of the internal snapshots: mkdir takes one, rmdir deletes one.
type snapshots struct {
	img *image

	mu   sync.Mutex
	dirs map[string]*snapshot // by ID
}

func newSnapshots(img *image) *snapshots { return &snapshots{img: img, dirs: map[string]*snapshot{}} }

// keeper finds the node that keeps the snapshots: the image's own, or one that it passes everything on to.
func (d *snapshots) keeper() (*chain.Node, formats.Snapshotter, error) {
	for n := d.img.node; n != nil; n = n.File() {
		if s, ok := formats.As[formats.Snapshotter](n.Unwrap()); ok {
			return n, s, nil
		}
		if len(n.Children()) != 1 || n.Backing() != nil {
			break
		}
	}
	return nil, nil, qerr.New(syscall.EOPNOTSUPP, "format '%s' has no internal snapshots", d.img.node.Driver().Name)
}

// list gives the snapshots and their names as files.
func (d *snapshots) list() ([]formats.Snapshot, []string, error) {
	_, s, err := d.keeper()
	if err != nil {
		return nil, nil, nil // no snapshots, and no error to look
	}
	d.img.control.RLock()
	all, err := s.Snapshots(context.Background())
	d.img.control.RUnlock()
	if errors.Is(err, syscall.ENOTSUP) { // qcow2 with a data file
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, d.img.failed("listing snapshots", 0, 0, err)
	}
	taken, names := map[string]bool{}, make([]string, len(all))
	for i, sn := range all {
		name := escape(sn.Name)
		if name == "" || taken[name] || strings.HasPrefix(name, idPrefix) {
			name = escape(idPrefix + sn.ID)
		}
		taken[name], names[i] = true, name
	}
	return all, names, nil
}

func (d *snapshots) find(name string) (*snapshot, error) {
	all, names, err := d.list()
	if err != nil {
		return nil, err
	}
	for i, sn := range all {
		if names[i] == name || escape(idPrefix+sn.ID) == name {
			return d.dir(sn), nil
		}
	}
	return nil, syscall.ENOENT
}

// dir gives the directory of a snapshot, the same one as long as it exists.
func (d *snapshots) dir(sn formats.Snapshot) *snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.dirs[sn.ID]; s != nil && s.is.DateSec == sn.DateSec && s.is.DateNsec == sn.DateNsec {
		return s
	}
	s := newSnapshot(d, sn)
	d.dirs[sn.ID] = s
	return s
}

func (d *snapshots) attr(a *fuse.Attr) error {
	a.Mode, a.Nlink = syscall.S_IFDIR|0o755, 2
	return nil
}

func (d *snapshots) image() *image { return d.img }

func (d *snapshots) fixed() bool { return false }

func (d *snapshots) child(name string) (node, error) {
	if err := d.img.tooLong(name); err != nil {
		return nil, err
	}
	s, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (d *snapshots) entries() ([]entry, error) {
	_, names, err := d.list()
	var list []entry
	for _, name := range names {
		list = append(list, entry{name, syscall.S_IFDIR})
	}
	return list, err
}

func (d *snapshots) mkdir(ctx context.Context, file string) error {
	name, err := given(file)
	if err == nil && strings.HasPrefix(name, idPrefix) {
		err = errIsID
	}
	if err == nil {
		err = d.create(ctx, name)
	}
	if err != nil {
		return d.img.failed("snapshot '"+file+"'", 0, 0, err)
	}
	return nil
}

// create takes a snapshot: what was written, or stored through a mapping, when mkdir(2) was called is in it, what comes
// later is not.
func (d *snapshots) create(ctx context.Context, name string) error {
	n, s, err := d.keeper()
	if err != nil {
		return err
	}
	if d.img.readOnly {
		return syscall.EROFS
	}
	d.img.notifier.collect(d.img)
	d.img.control.Lock()
	defer d.img.control.Unlock()
	all, err := s.Snapshots(ctx)
	if err != nil {
		return err
	}
	for _, sn := range all {
		if sn.Name == name {
			return syscall.EEXIST
		}
	}
	now := time.Now()
	err = n.Exclusive(func() error {
		_, err := s.CreateSnapshot(context.WithoutCancel(ctx), formats.Snapshot{Name: name, DiskSize: d.img.node.Size(),
			DateSec: uint32(now.Unix()), DateNsec: uint32(now.Nanosecond())})
		return err
	})
	d.img.gen.Add(1)
	return errors.Join(err, d.img.node.Flush(context.WithoutCancel(ctx)))
}

func (d *snapshots) rmdir(ctx context.Context, file string) error {
	s, err := d.find(file)
	if err != nil {
		return err
	}
	if err := d.remove(ctx, s); err != nil {
		return d.img.failed("deleting snapshot '"+s.is.Name+"'", 0, 0, err)
	}
	return nil
}

func (d *snapshots) remove(ctx context.Context, s *snapshot) error {
	n, keeper, err := d.keeper()
	if err != nil {
		return err
	}
	if d.img.readOnly {
		return syscall.EROFS
	}
	if err := s.free(); err != nil {
		return err
	}
	d.img.control.Lock()
	defer d.img.control.Unlock()
	if err := s.close(); err != nil {
		return err
	}
	err = n.Exclusive(func() error { return keeper.DeleteSnapshot(context.WithoutCancel(ctx), s.is.ID, s.is.Name) })
	d.img.gen.Add(1)
	if err == nil {
		d.mu.Lock()
		delete(d.dirs, s.is.ID)
		d.mu.Unlock()
		d.img.tree.nodes.drop(s)
	}
	return errors.Join(err, d.img.node.Flush(context.WithoutCancel(ctx)))
}

func (d *snapshots) rename(ctx context.Context, from, to string) error {
	s, err := d.find(from)
	if err != nil {
		return err
	}
	name, err := given(to)
	if err == nil && strings.HasPrefix(name, idPrefix) {
		err = errIsID
	}
	if err == nil && d.img.readOnly {
		err = syscall.EROFS
	}
	if err != nil {
		return d.img.failed("renaming snapshot '"+from+"'", 0, 0, err)
	}
	if _, err := d.find(to); err == nil {
		return syscall.EEXIST
	}
	n, keeper, err := d.keeper()
	if err != nil {
		return err
	}
	r, ok := keeper.(formats.SnapshotRenamer)
	if !ok {
		return d.img.failed("renaming", 0, 0, qerr.New(syscall.EOPNOTSUPP, "snapshots of format '%s' cannot be renamed", n.Driver().Name))
	}
	d.img.control.Lock()
	defer d.img.control.Unlock()
	err = n.Exclusive(func() error { return r.RenameSnapshot(context.WithoutCancel(ctx), s.is.ID, s.is.Name, name) })
	d.img.gen.Add(1)
	if err == nil {
		d.mu.Lock()
		s.is.Name, s.view.name = name, name
		d.mu.Unlock()
	}
	if err = errors.Join(err, d.img.node.Flush(context.WithoutCancel(ctx))); err != nil {
		return d.img.failed("renaming snapshot '"+s.is.Name+"'", 0, 0, err)
	}
	return nil
}

// free returns when none of the files of the snapshot called name is open; see snapshot.free.
func (d *snapshots) free(name string) error {
	d.mu.Lock()
	var is *snapshot
	for _, s := range d.dirs {
		if s.is.Name == name {
			is = s
		}
	}
	d.mu.Unlock()
	if is == nil {
		return nil
	}
	return is.free()
}

// release closes the views that nobody uses, so that the image can change; EBUSY if the snapshot called name is open.
func (d *snapshots) release(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.dirs {
		if err := s.close(); err != nil && s.is.Name == name && name != "" {
			return err
		}
	}
	return nil
}

// closeAll closes the views of all snapshots.
func (d *snapshots) closeAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.dirs {
		s.view.close()
	}
}

// snapshot is the directory of one snapshot.
type snapshot struct {
	*static
	of   *snapshots
	is   formats.Snapshot
	disk *dataFile
	view *snapshotView
	data map[string]*dataFile
}

func newSnapshot(d *snapshots, sn formats.Snapshot) *snapshot {
	s := &snapshot{static: newStatic(d.img), of: d, is: sn}
	if s.is.DiskSize < 0 {
		s.is.DiskSize = d.img.node.Size()
	}
	s.view = &snapshotView{img: d.img, id: sn.ID, name: sn.Name, n: s.is.DiskSize}
	tags := tagsOf(d.img.node, 0)
	tags["user.platter.snapshot-id"] = sn.ID
	taken := time.Unix(int64(sn.DateSec), int64(sn.DateNsec))
	s.disk = &dataFile{img: d.img, content: s.view, taken: taken, tags: tags}
	s.data = map[string]*dataFile{"disk.raw": s.disk}
	s.add("disk.raw", s.disk)
	s.add("partitions", newPartitions(s.disk))
	if sn.VMStateSize > 0 {
		f := &dataFile{img: d.img, content: &vmstate{view: s.view, n: int64(sn.VMStateSize)}, taken: taken, tags: tags}
		s.data["vmstate.raw"] = f
		s.add("vmstate.raw", f)
	}
	s.add("info.json", &text{img: d.img, make: s.info})
	return s
}

// releaseWait is how long a snapshot that is to be deleted may still be open: the kernel tells of the end of a file only
// after close(2) has returned.
const releaseWait = 200 * time.Millisecond

// free returns when no file of the snapshot is open; EBUSY if one stays open.
func (s *snapshot) free() error {
	for end := time.Now().Add(releaseWait); ; time.Sleep(time.Millisecond) {
		if err := s.busy(); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// busy names a file of the snapshot that is open, in an error of kind EBUSY.
func (s *snapshot) busy() error {
	for name, f := range s.data {
		if f.opens.Load() > 0 {
			return errOpen(name)
		}
	}
	parts := s.nodes["partitions"].(*partitions)
	parts.mu.Lock()
	defer parts.mu.Unlock()
	for name, f := range parts.files {
		if f.opens.Load() > 0 {
			return errOpen("partitions/" + name)
		}
	}
	return nil
}

func errOpen(name string) error {
	return qerr.New(syscall.EBUSY, "its %s is open: close it, or end the program that reads it, and try again", name)
}

// close closes the view; EBUSY while a file of the snapshot is open.
func (s *snapshot) close() error {
	if err := s.busy(); err != nil {
		return err
	}
	return s.view.close()
}

// info is what QAPI's SnapshotInfo says.
func (s *snapshot) info() ([]byte, error) {
	d := qobj.NewDict()
	d.Set("vm-clock-nsec", s.is.VMClock%1e9)
	d.Set("name", s.is.Name)
	d.Set("date-sec", s.is.DateSec)
	d.Set("date-nsec", s.is.DateNsec)
	d.Set("vm-clock-sec", s.is.VMClock/1e9)
	d.Set("id", s.is.ID)
	d.Set("vm-state-size", s.is.VMStateSize)
	if s.is.ICount != ^uint64(0) {
		d.Set("icount", s.is.ICount)
	}
	return append(qobj.AppendJSON(nil, d, true), '\n'), nil
}

// snapshotView is the disk as it was. It is opened at the first use.
type snapshotView struct {
	img      *image
	id, name string
	n        int64

	mu   sync.RWMutex
	node *chain.Node
}

func (v *snapshotView) size() int64 { return v.n }

// get gives the open view.
func (v *snapshotView) get() (*chain.Node, error) {
	v.mu.RLock()
	n := v.node
	v.mu.RUnlock()
	if n != nil {
		return n, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.node != nil {
		return v.node, nil
	}
	keeper, s, err := v.img.kept.keeper()
	if err != nil {
		return nil, err
	}
	img, err := s.OpenSnapshot(context.Background(), v.id, v.name)
	if err != nil {
		return nil, err
	}
	v.node = keeper.View(img)
	return v.node, nil
}

func (v *snapshotView) capture() (content, error) {
	_, err := v.get()
	return v, err
}

func (v *snapshotView) close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.node == nil {
		return nil
	}
	err := v.node.Close()
	v.node = nil
	return err
}

func (v *snapshotView) readAt(p []byte, off int64) error {
	n, err := v.get()
	if err != nil {
		return err
	}
	return n.ReadAt(context.Background(), p, off)
}

func (v *snapshotView) run(off, n int64) (int64, bool, error) {
	node, err := v.get()
	if err != nil {
		return 0, false, err
	}
	return (&view{node: node}).run(off, n)
}

// allocated is what the whole image takes: clusters are shared between snapshots.
func (v *snapshotView) allocated() int64 { return (&view{node: v.img.node}).allocated() }

// vmstate is the saved state of the virtual machine.
type vmstate struct {
	view *snapshotView
	n    int64
}

func (s *vmstate) size() int64                         { return s.n }
func (s *vmstate) allocated() int64                    { return s.n }
func (s *vmstate) run(_, n int64) (int64, bool, error) { return n, true, nil }
func (s *vmstate) readAt(p []byte, off int64) error {
	n, err := s.view.get()
	if err != nil {
		return err
	}
	r, ok := formats.As[formats.VMStateReader](n)
	if !ok {
		return qerr.New(syscall.EOPNOTSUPP, "the state of the virtual machine cannot be read")
	}
	return r.ReadVMState(context.Background(), p, off)
}
