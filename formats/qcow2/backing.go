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

// zeroInit reports whether the image, new as it is, reads as zeroes: QEMU asks the data file of a preallocated image,
// and cannot tell of an encrypted one.
func (i *image) zeroInit() bool {
	if i.cipher != nil || i.hdr.cryptMethod != cryptNone || i.data == nil {
		return i.hdr.cryptMethod == cryptNone
	}
	if len(i.l1) == 0 || i.l1[0]&entryOffset == 0 {
		return true
	}
	return i.data.Limits().ZeroInit
}
