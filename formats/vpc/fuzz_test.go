package vpc_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/formatstest"
)

// FuzzOpen opens damaged images, reads and writes them: an error is right, a panic or a hang is not.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	base, child := filepath.Join(dir, "base.vhd"), filepath.Join(dir, "child.vhd")
	makeImage(f, base)
	makeChild(f, child, base, `.\base.vhd`)
	var seeds [2][]byte
	for i, name := range []string{base, child} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		seeds[i] = append(b, make([]byte, 2<<20)...) // room for a block, whatever is in it
	}
	for _, at := range []uint32{0, 16, 28, 48, 56, 60, 512, 528, 540, 544, 552, 576, 1088, 1092, 1096, 1104, 1536, 2048} {
		f.Add(false, at, []byte{0xff, 0xff, 0xff, 0xff}, uint32(1536), []byte{0, 0, 0, 5})
		f.Add(true, at, []byte{0, 0, 0, 7}, uint32(1536), []byte{0, 0, 0, 5})
	}
	// Changes of two places, not the whole file: what matters is in few of its bytes.
	f.Fuzz(func(t *testing.T, differencing bool, at uint32, over []byte, at2 uint32, over2 []byte) {
		seed := seeds[0]
		if differencing {
			seed = seeds[1]
		}
		data := bytes.Clone(seed)
		copy(data[at%4096:], over)
		copy(data[at2%4096:], over2)
		setSum(data[:512])
		store := formatstest.NewStore()
		store.Put("x.vhd", data)
		env := testEnv()
		env.Registry = formats.NewRegistry(append(drivers(), store.Driver())...)
		for _, flags := range []formats.OpenFlags{formats.NoBacking, formats.NoBacking | formats.ReadWrite} {
			n, err := chain.Open(t.Context(), env, chain.Request{Filename: formatstest.Name("x.vhd"), Format: "vpc", Flags: flags})
			if err != nil {
				continue
			}
			p := make([]byte, min(64<<10, n.Size()))
			n.ReadAt(t.Context(), p, 0)
			n.StatusAbove(t.Context(), nil, 0, n.Size())
			// A block is memory here.
			if binary.BigEndian.Uint32(data[544:]) <= 4<<20 && flags.Has(formats.ReadWrite) {
				n.WriteAt(t.Context(), p[:min(512, len(p))], 0, 0)
			}
			n.Close()
		}
	})
}
