package chain

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/qerr"
)

// hasProtocol reports whether name begins with a protocol prefix: a colon before the first slash.
func hasProtocol(name string) bool {
	i := strings.IndexAny(name, ":/")
	return i >= 0 && name[i] == ':'
}

// protocolOf gives the prefix before the colon, "" if there is none.
func protocolOf(name string) string {
	if !hasProtocol(name) {
		return ""
	}
	return name[:strings.IndexByte(name, ':')]
}

// combine resolves name against the directory of base, as QEMU's path_combine: the text is joined, not cleaned, since
// it is shown to the user.
func combine(base, name string) string {
	if path.IsAbs(name) || hasProtocol(name) {
		return name
	}
	start := 0
	if hasProtocol(base) {
		start = strings.IndexByte(base, ':') + 1
	}
	if i := strings.LastIndexByte(base[start:], '/'); i >= 0 {
		start += i + 1
	}
	return base[:start] + name
}

// FullBackingName resolves the backing file name that the image states against the image's own name. "" means that
// the image has no backing file.
func (n *Node) FullBackingName() (string, error) {
	b, ok := formats.As[formats.Backed](n.img)
	if !ok {
		return "", nil
	}
	name, _ := b.BackingFile()
	return n.Resolve(name)
}

// Resolve turns a name that this image states into one that can be opened (QEMU's bdrv_make_absolute_filename).
func (n *Node) Resolve(name string) (string, error) {
	if name == "" || hasProtocol(name) || path.IsAbs(name) {
		return name, nil
	}
	f := n.bottom()
	base := f.exactName()
	if base == "" {
		return "", qerr.New(syscall.EINVAL, "Cannot generate a base directory for %s nodes", f.drv.Name)
	}
	return combine(base, name), nil
}

// bottom is the protocol that holds n, whatever lies between.
func (n *Node) bottom() *Node {
	for n.File() != nil {
		n = n.File()
	}
	return n
}

// ResolveBacking is Resolve for an image that is only named: create needs it before the image is there.
func ResolveBacking(image, backing string) (string, error) {
	if backing == "" || hasProtocol(backing) || path.IsAbs(backing) {
		return backing, nil
	}
	if strings.HasPrefix(image, "json:") {
		return "", qerr.New(syscall.EINVAL, "Cannot use relative backing file names for '%s'", image)
	}
	return combine(image, backing), nil
}

// BundleFile gives the file through which the image is opened that is the directory called name; "" if it is none.
func (e *Env) BundleFile(name string) string {
	if name == "" || hasProtocol(name) {
		return ""
	}
	if st, err := os.Stat(name); err != nil || !st.IsDir() {
		return ""
	}
	for _, d := range e.Registry.All() {
		if d.Bundle == "" {
			continue
		}
		file := filepath.Join(name, d.Bundle)
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() {
			return file
		}
	}
	return ""
}
