package fusefs

import (
	"io"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"platter/chain"
	"platter/formats/qerr"
)

// Config says where and how a tree is mounted.
type Config struct {
	Mountpoint string
	Source     string // shown by mount(8) as what is mounted
	ReadOnly   bool
	AllowOther bool    // users other than the mounting one may look, as far as permissions let them
	NonEmpty   bool    // mount over a directory that is not empty
	Shrink     bool    // truncate(2) may make a disk smaller
	Flags      uintptr // of mount(2) beside read-only: MS_NOSUID, MS_SYNCHRONOUS …
	UID, GID   uint32  // owner of all files
	Umask      uint32  // permission bits that are taken away
	// Idle is after what time an image of a directory is closed that nobody uses.
	Idle time.Duration
	// Interpret understands the lines that are written to ctl; nil leaves flush and cancel.
	Interpret Interpreter
}

// Mount is a mounted tree.
type Mount struct {
	config  Config
	tree    *tree
	single  *image   // what a mount of one image shows …
	gallery *gallery // … or the several
	session *session
	served  chan struct{}

	once   sync.Once
	mu     sync.Mutex
	result error // the first failure of an image's last flush
}

// New mounts one open image. The node is the mount's from then on; on an error it stays the caller's.
func New(c Config, n *chain.Node, env *chain.Env) (*Mount, error) {
	if err := prepare(&c, hostFiles(n)); err != nil {
		return nil, err
	}
	root := newStatic(nil)
	m := newMount(c, root, nil)
	img := newImage(n, env, m.tree)
	img.name, img.shrink, img.readOnly = c.Source, c.Shrink, img.readOnly || c.ReadOnly
	m.single = img
	fillRoot(root, img, c.Interpret)
	if err := m.start(); err != nil {
		close(img.stopped)
		return nil, err
	}
	return m, nil
}

// NewList mounts several images, each as a directory with the name of its file.
func NewList(c Config, paths []string, open Opener) (*Mount, error) {
	if err := prepare(&c, paths); err != nil {
		return nil, err
	}
	m := newMount(c, nil, open)
	for _, p := range paths {
		if err := m.gallery.add(p); err != nil {
			m.finish()
			return nil, err
		}
	}
	return m.startGallery()
}

// NewDirectory mounts a host directory: each regular file in it is a directory that shows it as an image, opened at
// the first use and closed when it is idle.
func NewDirectory(c Config, dir string, open Opener) (*Mount, error) {
	if err := prepare(&c, []string{dir}); err != nil {
		return nil, err
	}
	if _, err := os.ReadDir(dir); err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Could not read directory '%s'", dir)
	}
	m := newMount(c, nil, open)
	m.gallery.dir = dir
	return m.startGallery()
}

func newMount(c Config, root node, open Opener) *Mount {
	m := &Mount{config: c, served: make(chan struct{})}
	if root == nil {
		m.gallery = newGallery(m, "", open)
		root = m.gallery
	}
	m.tree = newTree(root)
	m.tree.owner, m.tree.umask, m.tree.readOnly = fuse.Owner{Uid: c.UID, Gid: c.GID}, c.Umask, c.ReadOnly
	m.tree.space = m.space
	return m
}

func (m *Mount) startGallery() (*Mount, error) {
	if err := m.start(); err != nil {
		m.finish()
		return nil, err
	}
	go m.gallery.tidy(m.served)
	return m, nil
}

// images are those that are open.
func (m *Mount) images() []*image {
	if m.gallery != nil {
		return m.gallery.all()
	}
	return []*image{m.single}
}

// start mounts the tree and serves it.
func (m *Mount) start() error {
	fd, err := attach(&m.config)
	if err != nil {
		return err
	}
	device, _, err := glance(m.config.Mountpoint)
	if err == nil {
		listening := make(chan struct{})
		go func() { // while the kernel's first request is answered
			defer close(listening)
			m.listen(device)
		}()
		if m.tree.kernel, err = newTransport(m.tree, fd, m.options()); err == nil {
			go func() { // the name of the socket may still be taken: nobody who uses the tree waits for that
				m.tree.kernel.serve()
				close(m.served)
			}()
		}
		<-listening
	}
	if err != nil {
		if m.session != nil {
			m.session.listener.Close()
		}
		detach(m.config.Mountpoint, true)
		return qerr.Prepend(err, "Could not mount on '%s': ", m.config.Mountpoint)
	}
	readAhead(device) // the first request says how far the kernel goes by itself, and the answer limits it to that
	return nil
}

// listen opens the control socket.
func (m *Mount) listen(device string) {
	var err error
	if m.session, err = listen(device, m); err != nil {
		m.log("no control socket: %v", err)
	}
}

func (m *Mount) options() *fuse.MountOptions {
	return &fuse.MountOptions{
		Name: "platter", FsName: m.config.Source,
		MaxWrite:      maxTransfer,
		MaxBackground: 64,
		// Splicing costs three system calls a read where the data is in memory already.
		DisableSplice: true,
		// The daemon is the only writer and tells of every change, so the kernel keeps its cache until told.
		ExplicitDataCacheControl: true,
		// A plain ls must not make the content of every description.
		DisableReadDirPlus: true,
		// Files of ordinary file systems may be read by the kernel in our place (passthrough.go).
		MaxStackDepth: 1,
		// HANDLE_KILLPRIV_V2 saves a question for security.capability with each write.
		ExtraCapabilities: fuse.CAP_ASYNC_DIO | fuse.CAP_DIRECT_IO_ALLOW_MMAP | fuse.CAP_HANDLE_KILLPRIV_V2,
		Logger:            log.New(io.Discard, "", 0),
		PanicHandler:      m.panicked,
	}
}

// panicked turns a panic into EIO for the request that met it.
func (m *Mount) panicked(v any) fuse.Status {
	buf := make([]byte, 16<<10)
	buf = buf[:runtime.Stack(buf, false)]
	m.log("panic: %v; %s", v, buf)
	return fuse.EIO
}

func (m *Mount) log(format string, a ...any) {
	for _, img := range m.images() {
		img.log.add(format, a...)
	}
}

// readAhead lets the kernel read 1 MiB ahead, which the protocol cannot ask for and only root may set.
func readAhead(device string) {
	os.WriteFile("/sys/class/bdi/"+device+"/read_ahead_kb", []byte("1024"), 0)
}

// space tells what the host file system has left, which is what the images can grow by.
func (m *Mount) space(out *fuse.StatfsOut) {
	for _, img := range m.images() {
		size, used := img.node.Size(), img.disk.allocated()
		out.Blocks += uint64(size+4095) / 4096
		var st unix.Statfs_t
		if name := hostPath(img.node); name != "" && unix.Statfs(filepath.Dir(name), &st) == nil {
			out.Bfree += min(uint64(max(size-used, 0))/4096, st.Bavail*uint64(st.Bsize)/4096)
		}
	}
	out.Bavail = out.Bfree
}

// Mountpoint is the directory, absolute.
func (m *Mount) Mountpoint() string { return m.config.Mountpoint }

// Wait returns when the tree is unmounted and the images are final on disk; the error is that of the last flush.
func (m *Mount) Wait() error {
	<-m.served
	if m.session != nil {
		m.session.listener.Close() // the kernel may give the number, and so the name, to another mount now
	}
	return m.finish()
}

// isOver reports whether the tree is unmounted.
func (m *Mount) isOver() bool {
	select {
	case <-m.served:
		return true
	default:
		return false
	}
}

// finish closes the images, once.
func (m *Mount) finish() error {
	m.once.Do(func() {
		for _, img := range m.images() {
			if err := img.close(); err != nil {
				m.keep(img.incomplete(err, "'"+m.config.Mountpoint+"' is unmounted"))
			}
		}
		if m.session != nil {
			m.session.end(m.failure())
		}
	})
	return m.failure()
}

// keep remembers the first failure.
func (m *Mount) keep(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.result == nil {
		m.result = err
	}
}

func (m *Mount) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.result
}

// Stop unmounts, with force if files are in use: their users then get errors. The images are final on disk when it
// returns.
func (m *Mount) Stop() error {
	for _, img := range m.images() {
		img.flush()
	}
	err := detach(m.config.Mountpoint, false)
	if err == nil {
		return m.Wait()
	}
	if !isMounted(m.config.Mountpoint) {
		return m.Wait()
	}
	if e := detach(m.config.Mountpoint, true); e != nil {
		m.log("%v", e)
	}
	return m.finish()
}

func isMounted(mountpoint string) bool {
	_, ok := find(mountpoint)
	return ok
}

// hostFiles lists the files of this machine that a graph of images consists of.
func hostFiles(n *chain.Node) []string {
	var names []string
	if n.File() == nil {
		if name := hostPath(n); name != "" {
			names = append(names, name)
		}
	}
	for _, c := range n.Children() {
		names = append(names, hostFiles(c.Node)...)
	}
	return names
}

// fillRoot makes the tree of one image.
func fillRoot(root *static, img *image, interpret Interpreter) {
	root.owner = img
	root.add("disk.raw", img.disk)
	img.disk.tags = tagsOf(img.node, 0)
	root.add("partitions", newPartitions(img.disk))
	root.add("chain", newLayers(img))
	root.add("snapshots", img.kept)
	root.add("bitmaps", newBitmaps(img))
	root.add("info.json", &text{img: img, make: func() ([]byte, error) { return infoJSON(img, img.node) }})
	root.add("map.json", &text{img: img, make: func() ([]byte, error) { return mapJSON(img) }})
	root.add("check.json", &text{img: img, lazy: true, make: func() ([]byte, error) { return checkJSON(img) }})
	root.add("ctl", &control{img, interpret})
	root.add("stats.json", &text{img: img, fresh: true, make: img.statsText})
	root.add("error_log", &text{img: img, fresh: true, make: img.log.text})
}
