package formatstest

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// Scheme is the prefix of file names in a Store.
const Scheme = "store"

// Store is a set of named files in memory with a log of all changes.
type Store struct {
	mu    sync.Mutex
	files map[string]*file
	log   []event
	fault *Fault
}

// NewStore makes an empty store.
func NewStore() *Store { return &Store{files: map[string]*file{}} }

// Name is the file name under which the chain opens a file of a store.
func Name(base string) string { return Scheme + ":" + base }

// Put adds a file with that content, as flushed.
func (s *Store) Put(base string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[base] = &file{store: s, base: base, data: bytes.Clone(content)}
	s.log = append(s.log, event{kind: evCreate, base: base, data: bytes.Clone(content)})
}

// Clone makes a store with the same files, each as flushed.
func (s *Store) Clone() *Store {
	c := NewStore()
	for _, base := range s.Names() {
		c.Put(base, s.Bytes(base))
	}
	return c
}

// Bytes copies a file's content; nil if there is no such file.
func (s *Store) Bytes(base string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[base]; f != nil {
		return bytes.Clone(f.data)
	}
	return nil
}

// Names lists the files.
func (s *Store) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for n := range s.files {
		names = append(names, n)
	}
	return names
}

// Events is the length of the log: a moment to crash at.
func (s *Store) Events() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.log)
}

// Driver is a protocol over the store.
func (s *Store) Driver() *formats.Driver {
	return &formats.Driver{
		Name: Scheme, Kind: formats.Protocol, Schemes: []string{Scheme}, Hidden: true,
		OpenOpts:   option.Schema{{Name: "filename", Type: option.String}},
		CreateOpts: option.Schema{{Name: "size", Type: option.Size}, {Name: "preallocation", Type: option.String}},
		ParseName: func(name string, into *qobj.Dict) error {
			into.Set("filename", name)
			return nil
		},
		Open: func(_ context.Context, a formats.OpenArgs) (formats.Image, error) {
			name := a.Options.String("filename", "")
			s.mu.Lock()
			defer s.mu.Unlock()
			f := s.files[strings.TrimPrefix(name, Scheme+":")]
			if f == nil {
				return nil, qerr.Errno(syscall.ENOENT, "Could not open '%s'", name)
			}
			return f, nil
		},
		Create: func(_ context.Context, a formats.CreateArgs) error {
			s.Put(strings.TrimPrefix(a.Name, Scheme+":"), make([]byte, (a.Size+511)/512*512))
			return nil
		},
		Delete: func(_ context.Context, a formats.CreateArgs) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.files, strings.TrimPrefix(a.Name, Scheme+":"))
			return nil
		},
	}
}

// file is one file of a store.
type file struct {
	store *Store
	base  string
	data  []byte
}

// FileName is the name that opens the file.
func (f *file) FileName() string { return Name(f.base) }

func (f *file) Size() int64 {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	return int64(len(f.data))
}

func (f *file) Limits() formats.Limits {
	return formats.Limits{ZeroInit: true, ZeroUnmap: true, Growable: true}
}

func (f *file) ReadAt(_ context.Context, p []byte, off int64) error {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	if err := f.store.strike(OpRead); err != nil {
		return err
	}
	n := 0
	if off < int64(len(f.data)) {
		n = copy(p, f.data[off:])
	}
	clear(p[n:])
	return nil
}

// maxFile is the largest file, as file systems have one; all of it is in memory.
const maxFile = 256 << 20

func fits(off, n int64) error {
	if n > maxFile-off {
		return syscall.EFBIG
	}
	return nil
}

func (f *file) WriteAt(_ context.Context, p []byte, off int64, flags formats.WriteFlags) error {
	if err := fits(off, int64(len(p))); err != nil {
		return err
	}
	return f.change(OpWrite, event{kind: evWrite, base: f.base, off: off, data: bytes.Clone(p),
		fua: flags&formats.FUA != 0})
}

func (f *file) WriteZeroes(_ context.Context, off, n int64, _ formats.WriteFlags) error {
	if err := fits(off, n); err != nil {
		return err
	}
	return f.change(OpWrite, event{kind: evWrite, base: f.base, off: off, data: make([]byte, n)})
}

func (f *file) Discard(_ context.Context, off, n int64) error {
	if n = min(n, f.Size()-off); n <= 0 {
		return nil
	}
	return f.change(OpWrite, event{kind: evWrite, base: f.base, off: off, data: make([]byte, n)})
}

func (f *file) Truncate(_ context.Context, size int64, _ formats.Prealloc) error {
	if err := fits(0, size); err != nil {
		return err
	}
	return f.change(OpWrite, event{kind: evTruncate, base: f.base, off: size})
}

func (f *file) Flush(context.Context) error {
	return f.change(OpFlush, event{kind: evFlush, base: f.base})
}

func (f *file) change(op Op, e event) error {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	if err := f.store.strike(op); err != nil {
		return err
	}
	f.store.log = append(f.store.log, e)
	f.data = e.apply(f.data)
	return nil
}

func (f *file) Status(_ context.Context, off, n int64) (formats.Extent, error) {
	if off >= f.Size() {
		return formats.Extent{Len: n, State: formats.Zero, Offset: off}, nil
	}
	return formats.Extent{Len: n, State: formats.Data, Offset: off}, nil
}

func (f *file) AllocatedSize(context.Context) (int64, error) { return f.Size(), nil }

func (f *file) Close() error { return nil }

var _ formats.File = (*file)(nil)
