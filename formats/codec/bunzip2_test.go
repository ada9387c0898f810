package codec

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// pangram is what the streams below hold.
var pangram = []byte(strings.Repeat("The quick brown fox jumps over the lazy dog. ", 40))

// bzip2Stream was written by bzip2 1.0.
const bzip2Stream = "QlpoOTFBWSZTWfiS1VUAANuTgEABBAA////wMADYBQADQAAFAANAAAFKlNTTRowmhtTbUmBOQmRPoTInwJqJgTUToJ7ifYmBOwmB" +
	"OwTYTcJ3E8CdRNhPQT8EwJuEyJ3E0E5CaieBNBOon8JsJoJkTInQVeRPIn+LuSKcKEh8SWqqgA=="

func decode64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkOneShot runs what every decoder of pangram has to do.
func checkOneShot(t *testing.T, decode func(dst, src []byte) (int, error), src []byte) {
	t.Helper()
	n := len(pangram)
	room := bytes.Repeat([]byte{0xa5}, n+100)
	for _, spare := range []int{0, 1, 100} {
		if k, err := decode(room[:n+spare], src); k != n || err != nil || !bytes.Equal(room[:n], pangram) {
			t.Fatalf("%d bytes of room: %d bytes, %v", n+spare, k, err)
		}
	}
	for limit := 0; limit < n; limit += 1 + limit/20 {
		small := bytes.Repeat([]byte{0xa5}, limit+8)
		if k, err := decode(small[:limit], src); k > limit || !errors.Is(err, ErrTooLarge) {
			t.Fatalf("%d bytes of room: %d bytes, %v", limit, k, err)
		}
		if !bytes.Equal(small[limit:], []byte("\xa5\xa5\xa5\xa5\xa5\xa5\xa5\xa5")) {
			t.Fatalf("%d bytes of room: wrote behind it", limit)
		}
	}
}

func TestBunzip2(t *testing.T) {
	src := decode64(t, bzip2Stream)
	checkOneShot(t, Bunzip2, src)
	dst := make([]byte, len(pangram))
	for cut := range src {
		if n, err := Bunzip2(dst, src[:cut]); err == nil && cut > 0 {
			t.Fatalf("a stream cut at %d of %d was taken as %d bytes", cut, len(src), n)
		}
	}
	for i := range src {
		bad := bytes.Clone(src)
		bad[i] ^= 4
		if n, err := Bunzip2(dst, bad); err == nil && (n != len(dst) || !bytes.Equal(dst, pangram)) {
			t.Fatalf("a change at %d went unnoticed", i)
		}
	}
	if n, err := Bunzip2(dst, append(bytes.Clone(src), 0, 0, 0)); n != len(dst) || err != nil {
		t.Errorf("padding: %d bytes, %v", n, err)
	}
	if _, err := Bunzip2(dst, append(bytes.Clone(src), src...)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("two streams: %v", err)
	}
}

func FuzzBunzip2(f *testing.F) {
	f.Add(decode64(f, bzip2Stream))
	dst := make([]byte, 4000)
	f.Fuzz(func(t *testing.T, src []byte) {
		if n, err := Bunzip2(dst, src); n > len(dst) {
			t.Error(n, err)
		}
	})
}
