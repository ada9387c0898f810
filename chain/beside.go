package chain

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"platter/formats"
)

// maxBeside bounds the files that are looked at for one image.
const maxBeside = 10_000

// beside looks for a file that n's image refers to by what is in it. Symbolic links are not followed.
func (o *opener) beside(ctx context.Context, n *Node, fits func(head []byte) bool) (string, error) {
	bottom := n.bottom()
	if h, ok := bottom.img.(formats.HostFile); !ok {
		return "", nil
	} else if _, ok := h.FD(); !ok {
		return "", nil
	}
	left := maxBeside
	dir := filepath.Dir(bottom.exactName())
	for _, d := range []string{dir, filepath.Join(dir, "..")} {
		name, err := o.besideIn(ctx, n, d, fits, &left)
		if name != "" || err != nil {
			return name, err
		}
	}
	return "", nil
}

func (o *opener) besideIn(ctx context.Context, n *Node, dir string, fits func(head []byte) bool, left *int) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", nil // a folder that may be passed through, and not be listed
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		name := filepath.Join(dir, e.Name())
		if !e.Type().IsRegular() || o.env.Gate.check(n.name, name) != nil {
			continue
		}
		if *left--; *left < 0 {
			return "", nil
		}
		if head := headOf(name); head != nil && fits(head) {
			return name, nil
		}
	}
	return "", nil
}

// headOf reads the first sector of a file, nil if that is not possible.
func headOf(name string) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	head := make([]byte, sectorSize)
	if _, err := io.ReadFull(f, head); err != nil {
		return nil
	}
	return head
}
