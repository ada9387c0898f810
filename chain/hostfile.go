package chain

import (
	"context"

	"golang.org/x/sys/unix"

	"platter/formats"
)

// HostFile gives the descriptor of a file of this machine that is, from its first byte to its last, what the node reads
// as: then reads may go to it directly. It lasts as long as the node is open.
func (n *Node) HostFile() (fd int, ok bool) {
	if n.Filtered() != nil {
		return -1, false
	}
	if n.enter(context.Background()) != nil {
		return -1, false
	}
	defer n.leave()
	size := n.Size()
	// The driver's own word: the graph would ask the file for holes.
	e, err := n.img.Status(context.Background(), 0, n.img.Size())
	below, isNode := e.Where.(*Node)
	if err != nil || !isNode || e.Offset != 0 || e.Len < size || below.drv.Kind != formats.Protocol {
		return -1, false
	}
	if e.State&(formats.Data|formats.Raw) == 0 || e.State&(formats.Zero|formats.Compressed) != 0 {
		return -1, false
	}
	file, ok := below.img.(formats.HostFile)
	if !ok {
		return -1, false
	}
	fd, ok = file.FD()
	var st unix.Stat_t
	if !ok || unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != size {
		return -1, false
	}
	return fd, true
}
