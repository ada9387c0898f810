package formats

// State says what a range of an image is made of; the flags are those of QEMU's block status.
type State uint16

const (
	// Data: the range is stored in this layer (and reads as what is stored, or as zeroes if Zero is set too).
	Data State = 1 << iota
	// Zero: the range reads as zeroes.
	Zero
	// Raw: this layer passes the question on to Where at Offset; the graph asks there.
	Raw
	// Recurse: the storage at Where may itself know that it is a hole; the graph asks there, too.
	Recurse
	// Compressed: the data is stored compressed.
	Compressed
	// Unplaced: the bytes of a protocol are made up, and have no offset that could be told.
	Unplaced
	// Allocated is set by the graph: this layer, not the backing file, decides what the range reads as.
	Allocated
	// EOF is set by the graph: the range ends at the end of the image.
	EOF
)

// Has reports whether all flags of f are set.
func (s State) Has(f State) bool { return s&f == f }

// Extent is a run of bytes of one kind.
type Extent struct {
	Len    int64 // bytes, at least 1 except past the end of the image
	State  State // 0: not in this layer, the backing file decides
	Where  File  // child that holds the bytes as they are read, nil if none does
	Offset int64 // byte offset in Where
}
