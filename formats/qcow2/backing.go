package qcow2

import "platter/formats"

// BackingFile gives what the header says.
func (i *image) BackingFile() (name, format string) {
	return i.hdr.backingName, i.hdr.ext.backingFormat
}

// SetBacking attaches or detaches the backing file.
func (i *image) SetBacking(f formats.File) error {
	i.backing = f
	return nil
}

// readsZeroNew reports whether the image, new as it is, reads as zeroes: a preallocated one does if its data file does,
// but not if that is encrypted. Preallocated images have all L2 tables, others none, so the first one tells.
func (i *image) readsZeroNew() bool {
	switch {
	case len(i.l1) == 0 || i.l1[0] == 0:
		return true
	case i.Encrypted() || i.data == nil:
		return false
	}
	return i.data.Limits().ZeroInit
}
