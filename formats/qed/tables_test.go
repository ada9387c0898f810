package qed

import (
	"context"
	"testing"

	"platter/formats"
)

// zeroFile is a file whose content is zeroes, whatever was written.
type zeroFile struct{ formats.File }

func (zeroFile) ReadAt(_ context.Context, p []byte, _ int64) error { clear(p); return nil }

func TestTakenPagesStayInMemory(t *testing.T) {
	ctx := context.Background()
	tab := newTables(zeroFile{})
	if err := tab.set(ctx, 8, 42, false); err != nil {
		t.Fatal(err)
	}
	pages := tab.take()
	for k := range int64(4 * keptPages) {
		if _, err := tab.get(ctx, (k+1)*pageSize); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := tab.get(ctx, 8); v != 42 || err != nil {
		t.Errorf("an entry that is being written reads as %d (%v), want 42", v, err)
	}
	tab.putBack(pages)
	if got := tab.take(); len(got) != 1 || tab.dirty != 0 {
		t.Errorf("%d pages are taken after putBack, want 1", len(got))
	}
	if len(tab.pages) > keptPages {
		t.Errorf("%d pages are kept, at most %d should be", len(tab.pages), keptPages)
	}
}
