package qcow2

import (
	"context"

	"platter/formats/qobj"
)

// bitmapSet is the list of persistent dirty bitmaps.
type bitmapSet struct{}

func (b *bitmapSet) resize(int64) {}

func (i *image) loadBitmaps(context.Context) error { return nil }

func (i *image) storeBitmaps(context.Context) error { return nil }

func (a *audit) countBitmaps() error { return nil }

func (i *image) bitmapsMayResize() error { return nil }

func (i *image) describeBitmaps(context.Context) (qobj.List, error) { return nil, nil }
