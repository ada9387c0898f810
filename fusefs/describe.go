package fusefs

import (
	"bytes"
	"context"
	"slices"

	"platter/chain"
	"platter/formats"
	"platter/tools"
	"platter/tools/render"
)

// infoJSON is what info --output=json prints for a layer. The verb opens no backing file and no data file, so none is
// described or added up.
func infoJSON(img *image, n *chain.Node) ([]byte, error) {
	img.control.RLock()
	defer img.control.RUnlock()
	info, err := tools.InfoNode(context.Background(), n)
	if err != nil {
		return nil, err
	}
	info.Children = slices.DeleteFunc(info.Children, func(c tools.ChildInfo) bool {
		if c.Name == "data-file" && c.Info.ActualSize > 0 {
			info.ActualSize -= c.Info.ActualSize
		}
		return c.Name == "backing" || c.Name == "data-file"
	})
	return []byte(render.InfoJSON([]*tools.ImageInfo{info}, false)), nil
}

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

// checkJSON is what check --output=json prints; the findings go to error_log.
func checkJSON(img *image) ([]byte, error) {
	img.control.RLock()
	defer img.control.RUnlock()
	if _, ok := formats.As[formats.Checker](img.node.Unwrap()); ok && img.dirty() > 0 {
		if err := img.flush(); err != nil {
			return nil, err
		}
	}
	r, err := tools.CheckNode(context.Background(), img.quiet(), img.node, tools.CheckOptions{Source: tools.Source{Filename: img.node.Filename()}})
	if r == nil {
		return nil, err
	}
	return []byte(render.CheckJSON(r)), nil
}
