package codec_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"platter/formats/codec"
	"platter/formats/codec/adc"
	"platter/formats/codec/lzfse"
)

// corpus returns the file of a case of the image collection and the SHA-256 of its disk, or skips.
func corpus(t *testing.T, id string) (image []byte, sum string) {
	t.Helper()
	dir := os.Getenv("PLATTER_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Skip("no image collection: set PLATTER_CORPUS to have these tests")
	}
	var manifest struct {
		Cases []struct {
			ID    string
			Image string
			Sum   string `json:"raw_sha256"`
		}
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	for _, c := range manifest.Cases {
		if c.ID == id {
			if image, err = os.ReadFile(filepath.Join(dir, c.Image)); err != nil {
				t.Fatal(err)
			}
			return image, c.Sum
		}
	}
	t.Fatalf("no case %s", id)
	return nil, ""
}

// exactly turns a decoder into one that must fill dst.
func exactly(n int, dst []byte, err error) error {
	if err == nil && n != len(dst) {
		err = fmt.Errorf("%d bytes instead of %d", n, len(dst))
	}
	return err
}

func decodeChunk(kind uint32, dst, src []byte) error {
	var err error
	var n int
	switch kind {
	case 0, 2:
		return nil
	case 1:
		n = copy(dst, src)
	case 0x80000004:
		n, err = adc.Decode(dst, src)
	case 0x80000005:
		var z codec.Inflater
		n, _, err = z.Zlib(dst, src)
	case 0x80000006:
		n, err = codec.Bunzip2(dst, src)
	case 0x80000007:
		var z lzfse.Decoder
		n, err = z.Decode(dst, src)
	case 0x80000008:
		n, err = codec.Unxz(dst, src)
	default:
		return fmt.Errorf("unknown kind %#x", kind)
	}
	return exactly(n, dst, err)
}

var plistData = regexp.MustCompile(`(?s)<data>(.*?)</data>`)

// Every chunk of real images decodes to its size, and all together to the disk. The tables are those of FORMATS: "koly"
// at the end, "mish" tables in its property list, 40 bytes a chunk.
func TestDMGChunks(t *testing.T) {
	for _, name := range []string{"adc", "zlib", "bzip2", "lzfse", "lzma"} {
		t.Run(name, func(t *testing.T) {
			image, sum := corpus(t, "keramics-"+name)
			be := binary.BigEndian
			koly := image[len(image)-512:]
			list := image[be.Uint64(koly[0xd8:]):][:be.Uint64(koly[0xe0:])]
			disk := make([]byte, be.Uint64(koly[0x1ec:])*512)
			chunks := 0
			for _, m := range plistData.FindAllSubmatch(list, -1) {
				table, err := base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(m[1]), nil)))
				if err != nil || len(table) < 204 || string(table[:4]) != "mish" {
					continue
				}
				first, base := be.Uint64(table[8:]), be.Uint64(table[24:])
				for i := range be.Uint32(table[200:]) {
					c := table[204+40*i:]
					kind := be.Uint32(c)
					if kind == 0xffffffff || kind == 0x7ffffffe {
						continue
					}
					at := (first + be.Uint64(c[8:])) * 512
					src := image[base+be.Uint64(c[24:]):][:be.Uint64(c[32:])]
					if err := decodeChunk(kind, disk[at:at+be.Uint64(c[16:])*512], src); err != nil {
						t.Errorf("chunk %d of kind %#x: %v", i, kind, err)
					}
					chunks++
				}
			}
			if got := fmt.Sprintf("%x", sha256.Sum256(disk)); got != sum || chunks == 0 {
				t.Errorf("%d chunks give the disk %s, want %s", chunks, got, sum)
			}
		})
	}
}
