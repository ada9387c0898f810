package luks

import (
	"context"
	"testing"

	"platter/formats"
	"platter/formats/crypt/luks1"
	"platter/formats/option"
	"platter/formats/protocol/mem"

	"platter/formats/crypt"
)

// FuzzOpen opens damaged headers of both versions without a key.
func FuzzOpen(f *testing.F) {
	store := make([]byte, 300<<10)
	short := uint64(1)
	_, err := luks1.Create(context.Background(), func(int64) error { return nil },
		func(off int64, p []byte) error { copy(store[min(off, int64(len(store))):], p); return nil },
		luks1.CreateOptions{Passphrase: crypt.Fixed([]byte("abc")), IterTime: &short})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(store[:592])
	f.Add(append([]byte("LUKS\xba\xbe\x00\x02"), make([]byte, 4096)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := open(context.Background(), formats.OpenArgs{
			File: mem.NewFile(b), Flags: formats.NoIO, Options: &option.Values{}})
		if err != nil {
			return
		}
		if d.Size() < 0 || d.Size() > int64(len(b)) {
			t.Errorf("size %d of a file of %d bytes", d.Size(), len(b))
		}
		if _, s, err := d.(*image).Specific(context.Background()); err != nil || s == nil {
			t.Errorf("Specific: %v", err)
		}
	})
}
