package fusefs

import (
	"sort"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// GetXAttr gives one of the attributes user.platter.*.
func (t *tree) GetXAttr(_ <-chan struct{}, h *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	n, err := t.nodes.get(h.NodeId)
	if err != nil {
		return 0, status(err)
	}
	x, ok := n.(tagged)
	if !ok {
		return 0, fuse.ENOATTR
	}
	v, ok := x.xattrs()[name]
	if !ok || v == "" {
		return 0, fuse.ENOATTR
	}
	return reply(dest, v)
}

// ListXAttr lists them.
func (t *tree) ListXAttr(_ <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	n, err := t.nodes.get(h.NodeId)
	if err != nil {
		return 0, status(err)
	}
	x, ok := n.(tagged)
	if !ok {
		return 0, fuse.OK
	}
	var names []string
	for name, v := range x.xattrs() {
		if v != "" {
			names = append(names, name+"\x00")
		}
	}
	sort.Strings(names)
	return reply(dest, strings.Join(names, ""))
}

// reply puts v into dest, which is empty when only the size is asked for.
func reply(dest []byte, v string) (uint32, fuse.Status) {
	if len(dest) < len(v) {
		return uint32(len(v)), fuse.Status(syscall.ERANGE)
	}
	copy(dest, v)
	return uint32(len(v)), fuse.OK
}

// SetXAttr and RemoveXAttr are refused: the attributes say what is, not what somebody wishes.
func (t *tree) SetXAttr(<-chan struct{}, *fuse.SetXAttrIn, string, []byte) fuse.Status {
	return fuse.Status(syscall.EOPNOTSUPP)
}

// RemoveXAttr is refused.
func (t *tree) RemoveXAttr(<-chan struct{}, *fuse.InHeader, string) fuse.Status {
	return fuse.Status(syscall.EOPNOTSUPP)
}
