package qcow2

import (
	"context"

	"platter/formats"
	"platter/formats/qobj"
)

// snapshotTable is the list of internal snapshots.
type snapshotTable struct{}

// bitmapSet is the list of persistent dirty bitmaps.
type bitmapSet struct{}

func (i *image) loadSnapshots(context.Context) error { return nil }

func (i *image) noteSnapshots() {}

func (i *image) loadBitmaps(context.Context) error { return nil }

func (i *image) storeBitmaps(context.Context) error { return nil }

func (a *audit) checkSnapshotTable() error { return nil }

func (a *audit) repairSnapshotTable() error { return nil }

func (a *audit) countSnapshots(formats.FixMode) error { return nil }

func (a *audit) countBitmaps() error { return nil }

func (i *image) bitmapsMayResize() error { return nil }

func (i *image) describeBitmaps(context.Context) (qobj.List, error) { return nil, nil }
