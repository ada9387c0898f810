package formats

import (
	"context"

	"platter/formats/option"
	"platter/formats/qobj"
)

// Kind tells drivers of layouts, of places and of behaviour apart.
type Kind uint8

// The kinds of drivers.
const (
	Format   Kind = iota // how bytes are laid out; has a "file" child
	Protocol             // where bytes live; has no child
	Filter               // changes behaviour; same content as its child
)

// Driver is everything that the graph knows about a format, protocol or filter. A nil function means "cannot".
type Driver struct {
	Name    string   // QEMU's driver name: qcow2, vpc, file
	Kind    Kind     //
	Schemes []string // protocols and filters: the prefixes of file names that select it, without the colon
	Backing bool     // formats: an image may have a backing file
	// Compresses: images may implement CompressedWriter; -c of convert is refused otherwise before anything is made.
	Compresses bool
	// CopyRange: the file system may copy data into and out of an image's clusters (-C of convert).
	CopyRange bool
	Hidden    bool // left out of the "Supported formats" list, as QEMU's list does not have it

	// Bundle: a directory that has a file of this name is an image, which is opened through that file.
	Bundle string

	// Primary is the role of the storage child; "" means "file".
	Primary string
	// Prepare looks at a filter's runtime options before its child is opened. It takes out of them what only concerns
	// the child; what it refuses is refused whatever the child is.
	Prepare func(opts *qobj.Dict) (ChildUse, error)
	// FilterName is the plain name of a filter, made from its options and its child's plain name; nil or "": it has none.
	FilterName func(opts *qobj.Dict, child string) string
	// RawCreate marks a format whose image is the protocol's file itself (raw): create passes the options on.
	RawCreate bool

	// RemovesFailed: a create that fails removes the files that it made, as QEMU's driver does; others leave them empty.
	RemovesFailed bool

	OpenOpts   option.Schema // runtime options (json:, --image-opts) without the common ones and without children
	CreateOpts option.Schema // -o of create; nil: images cannot be created
	// BeyondOpts are options of create that QEMU's driver does not have: [Registry.Beyond] adds them to CreateOpts.
	BeyondOpts option.Schema
	// CreateTakes are options of create that the protocol declares and this format carries out itself: they are not
	// passed on to the protocol (luks: preallocation, of the payload).
	CreateTakes []string
	AmendOpts   option.Schema // -o of amend; nil: "does not support option amendment"
	// StrongOpts are the runtime options that change the content that is seen; an image opened with one of them is
	// shown under a json: name.
	StrongOpts []string

	// Probe scores the first bytes (up to 512) of a file: 0 no, 100 a certain magic. name is the file's name.
	Probe func(head []byte, name string) int
	// ParseName turns a file name of one of Schemes into runtime options; a filter's child gets the name FilterImage.
	ParseName func(name string, into *qobj.Dict) error
	// Needs names the children beside "file" and the backing file that the image consists of.
	Needs func(ctx context.Context, a OpenArgs) ([]Need, error)
	// Open opens an image. The children are open and stay open until after the image's Close.
	Open func(ctx context.Context, a OpenArgs) (Image, error)
	// CreateNeeds names the files beside the primary one that a new image consists of.
	CreateNeeds func(a CreateArgs) ([]Need, error)
	// Create lays out a new image in a.File, which is open, writable and empty. For protocols it makes a.Name itself;
	// a protocol that has CreateOpts but no Create takes images that exist (devices, servers) and have room.
	Create func(ctx context.Context, a CreateArgs) error
	// Delete removes a protocol's file (after a failed create).
	Delete func(ctx context.Context, a CreateArgs) error
	// Measure computes the file size that a new image would need.
	Measure func(ctx context.Context, a MeasureArgs) (Measurement, error)
}

// FilterImage is the runtime option with the file name of the child of a filter that is selected by a file name.
const FilterImage = "x-image"

// ChildUse is for what a filter opens its child beside what it passes on.
type ChildUse struct{ Take, Unshare Perm }

// Named reports whether file names select the driver: all protocols, and filters that have a scheme.
func (d *Driver) Named() bool { return d.Kind == Protocol || len(d.Schemes) > 0 }

// Need is a child that an image is made of.
type Need struct {
	Role    string     // "data-file", "extents.0": the key of the child in runtime options and in OpenArgs.Children
	Name    string     // file name as the image states it; relative to the image's directory unless Literal
	Literal bool       // a relative Name is meant from the current directory (qcow2's data file)
	Format  string     // driver of the child; "" opens the bare protocol
	Options *qobj.Dict // runtime options for the child, may be nil
	Size    int64      // CreateNeeds: length that the new file is to have
	// ReadOnly opens the child for reading even if the image is writable.
	ReadOnly bool
	// Existing: CreateNeeds asks for an existing image (a backing file), to be opened read-only with its format; a
	// relative Name is resolved as that of a backing file.
	Existing bool
	// Given: the child exists only where runtime options name it (luks' detached header).
	Given bool
	// Optional: Open copes with the child's absence. The error of opening is in OpenArgs.Failed.
	Optional bool
}

// OpenFlags say how an image is opened.
type OpenFlags uint16

const (
	// ReadWrite opens for writing.
	ReadWrite OpenFlags = 1 << iota
	// Resize: the caller may change the size (QEMU's BDRV_O_RESIZE).
	Resize
	// NoIO: only metadata is wanted (info); no child that holds only data is opened.
	NoIO
	// ForCheck: the image is opened to check or repair it; damage must not make Open fail where QEMU tolerates it.
	ForCheck
	// NoBacking leaves the backing file unopened.
	NoBacking
	// Unmap makes discard requests reach the driver (discard=unmap).
	Unmap
	// Direct is cache.direct: O_DIRECT.
	Direct
	// NoFlush is cache.no-flush: nothing is forced to stable storage.
	NoFlush
	// ForceShare takes no lock that excludes others (-U).
	ForceShare
	// Probed: the format was guessed. A raw image then guards its first sector.
	Probed
	// AutoReadOnly: the image may be opened for reading where writing is not possible. Whoever asks for ReadWrite is
	// going to write, so that this changes no more than the words of the refusal.
	AutoReadOnly
	// KeepSize keeps other processes from resizing: commit counts on the size of what it writes to.
	KeepSize
	// WriteThrough flushes after each write (cache modes writethrough and directsync). It holds for the node that the
	// user opens, not for its children.
	WriteThrough
	// OneWriter keeps other processes from writing and resizing, whatever the format: who exports an image caches it.
	OneWriter
	// NativeAIO has files read and written through Linux AIO unless their option aio says otherwise (bench -i native).
	NativeAIO
	// IOUring is the same for io_uring.
	IOUring
)

// Has reports whether all flags of g are set.
func (f OpenFlags) Has(g OpenFlags) bool { return f&g == g }

// OpenArgs is what Driver.Needs and Driver.Open are given.
type OpenArgs struct {
	Name     string           // file name for messages, as QEMU's bs->filename
	File     File             // primary child; nil for protocols
	Children map[string]File  // by role, as Needs named them
	Failed   map[string]error // why an Optional need is not in Children
	Options  *option.Values   // by OpenOpts
	Flags    OpenFlags
	// Beside finds a file in the image's folder, or the one above it, where the policy lets the image refer to it: the
	// name of the first, in the order of their names, whose first 512 bytes fit; "" if there is none. An image that is
	// not a file of the host has no folder.
	Beside func(ctx context.Context, fits func(head []byte) bool) (name string, err error)
	Perm   Perm // protocols: what this opener does …
	Shared Perm // … and what it lets others do
	Env    *Env
}

// CreateArgs is what Driver.CreateNeeds and Driver.Create are given.
type CreateArgs struct {
	Name     string          // the file name given, for deriving further names and for messages
	File     File            // nil for protocols and in CreateNeeds
	Children map[string]File // what CreateNeeds asked for
	Size     int64           // virtual size in bytes, rounded up to 512 for formats; 2^63, which a user can give, is negative
	Options  *option.Values  // by CreateOpts; size included
	Env      *Env
	// HasDriver says whether there is a driver of that name: a format that is stored in an image must exist.
	HasDriver func(name string) bool
}

// MeasureArgs is what Driver.Measure is given.
type MeasureArgs struct {
	Options *option.Values // by CreateOpts
	Source  File           // image that would be converted; nil: Size counts
	Size    int64          // virtual size in bytes
	Env     *Env
}

// Measurement is the result of measure, in bytes.
type Measurement struct {
	Required       int64 // for the source's present allocation
	FullyAllocated int64 // when every cluster is allocated
	Bitmaps        int64 // for the source's bitmaps; -1: not applicable
}

// Env is what surrounds a command: objects that the user defined and where words go. Functions are never nil.
type Env struct {
	// Secret gives the bytes of --object secret,id=… ; the error is QEMU's "No secret with id '…'".
	Secret func(id string) ([]byte, error)
	// Object gives any other --object (tls-creds-x509, throttle-group, …).
	Object func(id string) (any, bool)
	// Warn reports a warning; the text comes without "warning: ".
	Warn func(format string, a ...any)
	// Report writes a line to the error stream as it is (check's findings).
	Report func(format string, a ...any)
	// Beyond: what QEMU refuses, or does not tell, is done where it is safe. It is off where a program that expects
	// qemu-img reads messages and output. Content that QEMU cannot read is read in both cases.
	Beyond bool
	// Program is the name that begins the lines of ReportError; "" leaves it out.
	Program string
}

// ReportError writes a line to the error stream that begins with the program's name.
func (e *Env) ReportError(format string, a ...any) {
	if e.Program != "" {
		format = "%s: " + format
		a = append([]any{e.Program}, a...)
	}
	e.Report(format, a...)
}
