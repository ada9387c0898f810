package lzfse

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"testing"

	"platter/formats/codec"
)

func vector(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkStream decodes src in buffers of the right size, of too small sizes, and cut off.
func checkStream(t *testing.T, src, want []byte) {
	t.Helper()
	var z Decoder
	dst := make([]byte, len(want)+50)
	for _, spare := range []int{0, 1, 50} {
		if n, err := z.Decode(dst[:len(want)+spare], src); err != nil || !bytes.Equal(dst[:n], want) {
			t.Fatalf("%d bytes spare: %d bytes of %d, %v", spare, n, len(want), err)
		}
	}
	for limit := 0; limit < len(want); limit += 1 + limit/7 {
		room := bytes.Repeat([]byte{0xa5}, limit+16)
		n, err := z.Decode(room[:limit], src)
		if err != codec.ErrTooLarge || n != limit || !bytes.Equal(room[:n], want[:n]) {
			t.Fatalf("into %d bytes: %d bytes, %v", limit, n, err)
		}
		if !bytes.Equal(room[limit:], bytes.Repeat([]byte{0xa5}, 16)) {
			t.Fatalf("into %d bytes: wrote behind them", limit)
		}
	}
	for cut := range src {
		if n, err := z.Decode(dst, src[:cut]); err == nil {
			t.Fatalf("cut at %d of %d: %d bytes and no error", cut, len(src), n)
		}
	}
}

func TestCompressedV2(t *testing.T) {
	src := vector(t, gptEntries)
	want := make([]byte, 16384)
	var z Decoder
	if n, err := z.Decode(want, src); n != len(want) || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	// The type of the entry is Apple's HFS; what follows the entry is zero.
	hfs := []byte{0, 'S', 'F', 'H', 0, 0, 0xaa, 0x11, 0xaa, 0x11, 0, 0x30, 0x65, 0x43, 0xec, 0xac}
	if !bytes.Equal(want[:16], hfs) || !codec.IsZero(want[128:]) {
		t.Errorf("entry %x", want[:128])
	}
	checkStream(t, src, want)
}

// asV1 rewrites a stream of one bvx2 block with a bvx1 header.
func asV1(t testing.TB, src []byte) []byte {
	var h header
	size, err := h.readV2(src)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	out := le.AppendUint32(nil, magicV1)
	for _, v := range []int{h.raw, h.literalPayload + h.lmdPayload, h.literals, h.matches, h.literalPayload, h.lmdPayload, h.literalBits} {
		out = le.AppendUint32(out, uint32(v))
	}
	for _, s := range h.literalState {
		out = le.AppendUint16(out, s)
	}
	out = le.AppendUint32(out, uint32(h.lmdBits))
	for _, v := range append([]uint16{h.l, h.m, h.d}, h.freq[:]...) {
		out = le.AppendUint16(out, v)
	}
	return append(append(out, 0, 0), src[size:]...)
}

func TestCompressedV1(t *testing.T) {
	v2 := vector(t, gptEntries)
	want := make([]byte, 16384)
	var z Decoder
	z.Decode(want, v2)
	checkStream(t, asV1(t, v2), want)
}

func TestLZVNVector(t *testing.T) {
	src := vector(t, gptHeader)
	want := make([]byte, 512)
	var z Decoder
	if n, err := z.Decode(want, src); n != len(want) || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if !bytes.Equal(want[:12], []byte("EFI PART\x00\x00\x01\x00")) || !codec.IsZero(want[92:]) {
		t.Errorf("header %x", want[:92])
	}
	checkStream(t, src, want)
}

func block(magic uint32, raw int, payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, magic)
	b = binary.LittleEndian.AppendUint32(b, uint32(raw))
	if magic == magicLZVN {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	}
	return append(b, payload...)
}

var (
	end     = []byte("bvx$")
	lzvnEnd = []byte{6, 0, 0, 0, 0, 0, 0, 0}
)

func TestRaw(t *testing.T) {
	want := bytes.Repeat([]byte("raw bytes "), 30)
	checkStream(t, slices.Concat(block(magicRaw, 300, want), end), want)
	checkStream(t, slices.Concat(block(magicRaw, 100, want[:100]), block(magicRaw, 200, want[100:]), end), want)
}

// Each kind of item, with what it gives after 20 literals "abcdefghijklmnopqrst".
func TestLZVNItems(t *testing.T) {
	start := []byte("\xe0\x04abcdefghijklmnopqrst")
	for _, c := range []struct {
		name string
		item string
		want string
		err  error
	}{
		{"short distance", "\x08\x14", "abcd", nil},
		{"short distance with literals", "\xc0\x17XYZ", "XYZabc", nil},
		{"last distance", "\x00\x0a\x4eX", "klmXopqr", nil},
		{"long distance", "\x0f\x05\x00", "pqrs", nil},
		{"medium distance", "\xa8\x29\x00X", "Xlmno", nil},
		{"match only", "\x00\x0a\xf4", "klmnopq", nil},
		{"long match only", "\x00\x01\xf0\x01", "tttttttttttttttttttt", nil},
		{"literals", "\xe3XYZ", "XYZ", nil},
		{"nothing", "\x0e\x16\xe1X", "X", nil},
		{"distance 0", "\x08\x00", "", codec.ErrCorrupt},
		{"distance 0 in the long form", "\x0f\x00\x00", "", codec.ErrCorrupt},
		{"too far", "\x08\x15", "", codec.ErrCorrupt},
		{"no last distance", "\xf4", "", codec.ErrCorrupt},
		{"undefined", "\x1e", "", codec.ErrCorrupt},
		{"undefined 7", "\x70", "", codec.ErrCorrupt},
		{"undefined d", "\xd0", "", codec.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := append([]byte("abcdefghijklmnopqrst"), c.want...)
			payload := slices.Concat(start, []byte(c.item), lzvnEnd)
			src := slices.Concat(block(magicLZVN, len(want), payload), end)
			if c.err != nil {
				var z Decoder
				if n, err := z.Decode(make([]byte, 100), src); err != c.err {
					t.Fatalf("%d bytes, %v", n, err)
				}
				return
			}
			checkStream(t, src, want)
		})
	}
}

// A block must give what its header says.
func TestLZVNSize(t *testing.T) {
	payload := slices.Concat([]byte("\xe3XYZ"), lzvnEnd)
	var z Decoder
	for _, raw := range []int{2, 4} {
		if _, err := z.Decode(make([]byte, 3), slices.Concat(block(magicLZVN, raw, payload), end)); err != codec.ErrCorrupt {
			t.Errorf("%d bytes promised, 3 given: %v", raw, err)
		}
	}
}

// A match reaches into the block before.
func TestBlocksShareWindow(t *testing.T) {
	src := slices.Concat(block(magicRaw, 4, []byte("wxyz")), block(magicLZVN, 4, append([]byte("\x08\x04"), lzvnEnd...)), end)
	checkStream(t, src, []byte("wxyzwxyz"))
}

func TestDamaged(t *testing.T) {
	var z Decoder
	dst := make([]byte, 20000)
	for _, src := range [][]byte{vector(t, gptEntries), asV1(t, vector(t, gptEntries)), vector(t, gptHeader)} {
		for i := range src {
			for bit := range 8 {
				bad := bytes.Clone(src)
				bad[i] ^= 1 << bit
				if n, err := z.Decode(dst, bad); n > len(dst) || err == codec.ErrTooLarge && n != len(dst) {
					t.Fatalf("bit %d of %d: %d bytes, %v", bit, i, n, err)
				}
			}
		}
	}
}

// Blocks of symbols that take no bits and give no bytes end with an error before long.
func TestBudget(t *testing.T) {
	var h [headerV1Len]byte
	le := binary.LittleEndian
	le.PutUint32(h[0:], magicV1)
	le.PutUint32(h[12:], maxLiterals)
	le.PutUint32(h[16:], maxMatches)
	le.PutUint16(h[50:], lengthStates) // every literal length is 0
	le.PutUint16(h[50+2*lengthSymbols:], lengthStates)
	le.PutUint16(h[50+4*lengthSymbols:], distStates)
	le.PutUint16(h[50+4*lengthSymbols+2*distSymbols:], literalStates)
	var z Decoder
	if n, err := z.Decode(make([]byte, 512), bytes.Repeat(h[:], 10000)); n != 0 || err != codec.ErrCorrupt {
		t.Errorf("%d bytes, %v", n, err)
	}
	if z.budget > 0 {
		t.Errorf("%d symbols are left", z.budget)
	}
}

func TestAllocates(t *testing.T) {
	src := vector(t, gptEntries)
	dst := make([]byte, 16384)
	var z Decoder
	if n := testing.AllocsPerRun(10, func() { z.Decode(dst, src) }); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(vector(f, gptEntries))
	f.Add(asV1(f, vector(f, gptEntries)))
	f.Add(vector(f, gptHeader))
	f.Add(slices.Concat(block(magicRaw, 3, []byte("abc")), end))
	var z Decoder
	dst := make([]byte, 20000)
	f.Fuzz(func(t *testing.T, src []byte) {
		if n, err := z.Decode(dst, src); n > len(dst) {
			t.Error(n, err)
		}
	})
}
