package mem

import (
	"context"
	"strings"
	"sync"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// Store is a set of files in memory.
type Store struct {
	mu    sync.Mutex
	files map[string]*File
}

// NewStore makes an empty store.
func NewStore() *Store { return &Store{files: map[string]*File{}} }

// Put makes or replaces a file.
func (s *Store) Put(name string, content []byte) *File {
	f := NewFile(content)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = f
	return f
}

// Get finds a file; nil if there is none.
func (s *Store) Get(name string) *File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[name]
}

// Driver is a protocol over the store.
func (s *Store) Driver() *formats.Driver {
	schema := option.Schema{{Name: "filename", Type: option.String}}
	return &formats.Driver{
		Name: "mem", Kind: formats.Protocol, Schemes: []string{"mem"}, OpenOpts: schema, Hidden: true,
		CreateOpts: option.Schema{{Name: "size", Type: option.Size}},
		ParseName: func(name string, into *qobj.Dict) error {
			into.Set("filename", name)
			return nil
		},
		Open: func(_ context.Context, a formats.OpenArgs) (formats.Image, error) {
			name := a.Options.String("filename", "")
			f := s.Get(strings.TrimPrefix(name, "mem:"))
			if f == nil {
				return nil, qerr.Errno(syscall.ENOENT, "Could not open '%s'", name)
			}
			return &handle{File: f, name: name}, nil
		},
		Create: func(_ context.Context, a formats.CreateArgs) error {
			s.Put(strings.TrimPrefix(a.Name, "mem:"), make([]byte, (a.Size+511)/512*512))
			return nil
		},
		Delete: func(_ context.Context, a formats.CreateArgs) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.files, strings.TrimPrefix(a.Name, "mem:"))
			return nil
		},
	}
}

// handle is an open file of a store.
type handle struct {
	*File
	name string
}

// FileName is the name with its prefix.
func (h *handle) FileName() string { return h.name }

func (h *handle) Close() error { return nil }

// File is a growable file in memory. All methods may be called concurrently.
type File struct {
	mu   sync.RWMutex
	data []byte
}

var _ formats.File = (*File)(nil)

// NewFile makes a file that owns content.
func NewFile(content []byte) *File { return &File{data: content} }

// Bytes is a copy of the content.
func (f *File) Bytes() []byte {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return append([]byte(nil), f.data...)
}

// Size is the length in bytes.
func (f *File) Size() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return int64(len(f.data))
}

// Limits say that the file grows and begins as zeroes.
func (f *File) Limits() formats.Limits {
	return formats.Limits{ZeroInit: true, ZeroUnmap: true, Growable: true}
}

// ReadAt reads; past the end there are zeroes.
func (f *File) ReadAt(_ context.Context, p []byte, off int64) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n := 0
	if off < int64(len(f.data)) {
		n = copy(p, f.data[off:])
	}
	clear(p[n:])
	return nil
}

// WriteAt writes and grows.
func (f *File) WriteAt(_ context.Context, p []byte, off int64, _ formats.WriteFlags) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grow(off + int64(len(p)))
	copy(f.data[off:], p)
	return nil
}

func (f *File) grow(size int64) {
	if n := size - int64(len(f.data)); n > 0 {
		f.data = append(f.data, make([]byte, n)...)
	}
}

// WriteZeroes clears a range and grows.
func (f *File) WriteZeroes(_ context.Context, off, n int64, _ formats.WriteFlags) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.grow(off + n)
	clear(f.data[off : off+n])
	return nil
}

// Discard clears what lies within the file.
func (f *File) Discard(_ context.Context, off, n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if end := min(off+n, int64(len(f.data))); off < end {
		clear(f.data[off:end])
	}
	return nil
}

// Truncate sets the length.
func (f *File) Truncate(_ context.Context, size int64, _ formats.Prealloc) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if size < int64(len(f.data)) {
		f.data = f.data[:size:size]
	}
	f.grow(size)
	return nil
}

// Status calls everything within the file data.
func (f *File) Status(_ context.Context, off, n int64) (formats.Extent, error) {
	if size := f.Size(); off >= size {
		return formats.Extent{Len: n, State: formats.Zero, Offset: off}, nil
	}
	return formats.Extent{Len: n, State: formats.Data, Offset: off}, nil
}

// AllocatedSize is the length.
func (f *File) AllocatedSize(context.Context) (int64, error) { return f.Size(), nil }

// Flush does nothing: a crash of the test is the end of the file, too.
func (f *File) Flush(context.Context) error { return nil }

// Close does nothing.
func (f *File) Close() error { return nil }
