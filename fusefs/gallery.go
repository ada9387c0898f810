package fusefs

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"platter/chain"
	"platter/formats/qerr"
)

// Opener opens an image by its host path. Words that are not errors (warnings) go to say.
type Opener func(path string, say func(format string, a ...any)) (*chain.Node, *chain.Env, error)

// gallery is the root of a mount of several images: a directory for each. The images are those of a list, or the
// regular files of a host directory, whatever these are at the moment.
type gallery struct {
	mount *Mount
	dir   string // host directory; "" if the list is fixed
	open  Opener

	mu    sync.Mutex
	slots map[string]*slot
	order []string
}

// slot is the directory of one image of a gallery. The image is opened at the first use, and closed when the kernel has
// nothing of it any more. An image that cannot be opened shows the reason in error_log.
type slot struct {
	of   *gallery
	path string

	mu     sync.Mutex
	img    *image
	root   *static
	failed time.Time
	used   time.Time
}

func newGallery(m *Mount, dir string, open Opener) *gallery {
	return &gallery{mount: m, dir: dir, open: open, slots: map[string]*slot{}}
}

// add puts an image of the list in, and opens it.
func (g *gallery) add(path string) error {
	name := escape(filepath.Base(path))
	for n := 2; g.slots[name] != nil; n++ {
		name = escape(filepath.Base(path)) + "~" + strconv.Itoa(n)
	}
	s := &slot{of: g, path: path}
	g.slots[name] = s
	g.order = append(g.order, name)
	return s.load()
}

func (g *gallery) attr(a *fuse.Attr) error {
	a.Mode, a.Nlink = syscall.S_IFDIR|0o755, 2
	return nil
}

func (g *gallery) fixed() bool { return false }

// names gives the present names.
func (g *gallery) names() ([]string, error) {
	if g.dir == "" {
		return g.order, nil
	}
	list, err := os.ReadDir(g.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range list {
		if st, err := os.Stat(filepath.Join(g.dir, e.Name())); err == nil && st.Mode().IsRegular() && escape(e.Name()) != "" {
			names = append(names, escape(e.Name()))
		}
	}
	return names, nil
}

func (g *gallery) child(name string) (node, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.slots[name]
	if s != nil && (g.dir == "" || s.image() != nil) { // what is open stays, even if its file has been removed
		return s, nil
	}
	file, err := plain(name)
	if g.dir == "" || err != nil {
		return nil, syscall.ENOENT
	}
	path := filepath.Join(g.dir, file)
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return nil, syscall.ENOENT
	}
	if s != nil {
		return s, nil
	}
	s = &slot{of: g, path: path}
	g.slots[name] = s
	return s, nil
}

func (g *gallery) entries() ([]entry, error) {
	names, err := g.names()
	var list []entry
	for _, name := range names {
		list = append(list, entry{name, syscall.S_IFDIR})
	}
	return list, err
}

// all gives the open images.
func (g *gallery) all() []*image {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []*image
	for _, s := range g.slots {
		s.mu.Lock()
		if s.img != nil {
			list = append(list, s.img)
		}
		s.mu.Unlock()
	}
	return list
}

// tidy closes what has been idle; it runs until stop is closed.
func (g *gallery) tidy(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(max(g.mount.config.Idle/3, 100*time.Millisecond)):
		}
		g.mu.Lock()
		slots := map[string]*slot{}
		for name, s := range g.slots {
			slots[name] = s
		}
		g.mu.Unlock()
		for name, s := range slots {
			s.closeIdle(name)
		}
	}
}

func (s *slot) attr(a *fuse.Attr) error {
	a.Mode, a.Nlink = syscall.S_IFDIR|0o755, 2
	return nil
}

func (s *slot) image() *image {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.img
}

func (s *slot) fixed() bool { return false }

func (s *slot) child(name string) (node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	return s.root.child(name)
}

func (s *slot) entries() ([]entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load()
	return s.root.entries()
}

// load opens the image if it is not open. After a failure it tries again a second later at the earliest. The lock is
// held, or nobody else knows the slot.
func (s *slot) load() error {
	s.used = time.Now()
	if s.img != nil || time.Since(s.failed) < time.Second {
		return nil
	}
	log := &errorLog{}
	n, env, err := s.of.open(s.path, log.add)
	if err != nil {
		s.failed = time.Now()
		log.add("%s", qerr.Text(err))
		s.root = newStatic(nil)
		b, _ := log.text()
		s.root.add("error_log", &words{b})
		return err
	}
	s.img = newImage(n, env, s.of.mount.tree)
	s.img.name, s.img.log, s.img.shrink = s.path, log, s.of.mount.config.Shrink
	s.root = newStatic(nil)
	fillRoot(s.root, s.img, s.of.mount.config.Interpret)
	return nil
}

// closeIdle closes the image if it was not used for a while and the kernel forgets all of it when asked to.
func (s *slot) closeIdle(name string) {
	t := s.of.mount.tree
	s.mu.Lock()
	// While a file is open its directories cannot be dropped, and would not be dropped later.
	idle := s.img != nil && s.of.dir != "" && time.Since(s.used) > s.of.mount.config.Idle && s.img.opens.Load() == 0
	var names []string
	if idle {
		names = s.root.names
	}
	s.mu.Unlock()
	if !idle || t.kernel == nil {
		return
	}
	if id, ok := t.nodes.known(s); ok {
		for _, below := range names {
			t.kernel.dropName(id, below)
		}
	}
	t.kernel.dropName(1, name)
	time.Sleep(50 * time.Millisecond) // the kernel sends what it forgets on its own time
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := t.nodes.known(s); known || s.img == nil {
		return
	}
	if err := s.img.close(); err != nil {
		s.of.mount.keep(s.img.incomplete(err, "it was closed for want of use"))
	}
	s.img, s.root = nil, nil
	t.nodes.purge()
}

// words is a file whose content never changes.
type words struct{ b []byte }

func (f *words) attr(a *fuse.Attr) error {
	a.Mode, a.Size = syscall.S_IFREG|0o444, uint64(len(f.b))
	return nil
}

func (f *words) open(uint32) (handle, uint32, error) {
	return bytesHandle(f.b), fuse.FOPEN_DIRECT_IO, nil
}
