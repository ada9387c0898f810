package fusefs

import (
	"bytes"
	"context"

	"platter/chain"
	"platter/tools"
	"platter/tools/render"
)

// infoJSON is what info --output=json prints for a layer.
func infoJSON(img *image, n *chain.Node) ([]byte, error) { return []byte("{}\n"), nil }

// mapJSON is what map --output=json prints.
func mapJSON(img *image) ([]byte, error) {
	var b bytes.Buffer
	w := render.NewMap(&b, true)
	if err := w.Begin(); err != nil {
		return nil, err
	}
	err := tools.MapNode(context.Background(), img.node, tools.MapOptions{MaxLength: -1}, w.Entry)
	return b.Bytes(), err
}
