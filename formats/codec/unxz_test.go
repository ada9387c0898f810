package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"runtime"
	"testing"

	"github.com/ulikunitz/xz"
)

// xzStreams were written by xz 5, one for each kind of check.
var xzStreams = map[string]string{
	"none": "/Td6WFoAAAD/EtlBAgAhARYAAAB0L+Wj4AcHAD1dACoaCKIDJWbxS3jFogX/LubZ0iAarTT44h3oQTb63AZpuzzkEDQnCeuzZuPt" +
		"N5jtkq3VJ0UIMF5dcR2x1gAAAAAAAAFRiA4AAADvg85lqAAK/AIAAAAAAFla",
	"crc32": "/Td6WFoAAAFpIt42AgAhARYAAAB0L+Wj4AcHAD1dACoaCKIDJWbxS3jFogX/LubZ0iAarTT44h3oQTb63AZpuzzkEDQnCeuzZuPt" +
		"N5jtkq3VJ0UIMF5dcR2x1gAAAAAA5sOVZAABVYgOAAAA+cFf/j4wDYsCAAAAAAFZWg==",
	"crc64": "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4AcHAD1dACoaCKIDJWbxS3jFogX/LubZ0iAarTT44h3oQTb63AZpuzzkEDQnCeuzZuPt" +
		"N5jtkq3VJ0UIMF5dcR2x1gAAAAAA+dY03oJ+L60AAVmIDgAAAIIBnYmxxGf7AgAAAAAEWVo=",
	"sha256": "/Td6WFoAAArh+wyhAgAhARYAAAB0L+Wj4AcHAD1dACoaCKIDJWbxS3jFogX/LubZ0iAarTT44h3oQTb63AZpuzzkEDQnCeuzZuPt" +
		"N5jtkq3VJ0UIMF5dcR2x1gAAAAAASia8oxVgPoukdoivC5T4BhqHHKlfyzwDWPpqNXEj10EAAXGIDgAAANmGYmK26d8cAgAAAAAK" +
		"WVo=",
}

func TestUnxz(t *testing.T) {
	for check, s := range xzStreams {
		t.Run(check, func(t *testing.T) {
			src := decode64(t, s)
			checkOneShot(t, Unxz, src)
			dst := make([]byte, len(pangram))
			for cut := range len(src) - 28 { // index and footer are not looked at
				if _, err := Unxz(dst, src[:cut]); err == nil {
					t.Fatalf("a stream cut at %d of %d was taken", cut, len(src))
				}
			}
			for i := range src {
				bad := bytes.Clone(src)
				bad[i] ^= 4
				n, err := Unxz(dst, bad)
				if err == nil && check != "none" && (n != len(dst) || !bytes.Equal(dst, pangram)) {
					t.Fatalf("a change at %d went unnoticed", i)
				}
			}
		})
	}
}

// A header that asks for 4 GiB of dictionary gets no more than the output.
func TestUnxzDictionary(t *testing.T) {
	src := decode64(t, xzStreams["crc32"])
	head := src[12 : 12+int(src[12]+1)*4]
	head[4] = 40
	binary.LittleEndian.PutUint32(head[len(head)-4:], crc32.ChecksumIEEE(head[:len(head)-4]))
	dst := make([]byte, len(pangram))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := Unxz(dst, src)
	runtime.ReadMemStats(&after)
	if n != len(dst) || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("%d bytes allocated", used)
	}
}

func TestUnxzSizes(t *testing.T) {
	for name, want := range samples(t) {
		var buf bytes.Buffer
		w, err := xz.WriterConfig{BlockSize: 30000}.NewWriter(&buf)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(want)
		w.Close()
		dst := make([]byte, len(want))
		if n, err := Unxz(dst, buf.Bytes()); n != len(want) || err != nil || !bytes.Equal(dst, want) {
			t.Errorf("%s: %d bytes of %d, %v", name, n, len(want), err)
		}
	}
	if _, err := Unxz(nil, []byte("no such stream here")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no stream: %v", err)
	}
}

func FuzzUnxz(f *testing.F) {
	for _, s := range xzStreams {
		f.Add(decode64(f, s))
	}
	dst := make([]byte, 4000)
	f.Fuzz(func(t *testing.T, src []byte) {
		if n, err := Unxz(dst, src); n > len(dst) {
			t.Error(n, err)
		}
	})
}
