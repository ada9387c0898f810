package codec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

// verdictsPython prints for each line of hexadecimal what zlib says of the raw stream.
const verdictsPython = `
import sys, zlib
for line in sys.stdin:
    src = bytes.fromhex(line)
    z = zlib.decompressobj(-15)
    try:
        out = z.decompress(src, 8192)
    except zlib.error:
        print('corrupt')
        continue
    if z.eof:
        print('end', len(src) - len(z.unused_data), len(out), zlib.crc32(out))
    elif len(out) == 8192:
        print('full', zlib.crc32(out))
    else:
        print('cut', len(out), zlib.crc32(out))
`

// verdict says the same of Inflater.
func verdict(z *Inflater, dst, src []byte) string {
	n, used, err := z.Raw(dst, src)
	switch {
	case err == nil:
		return fmt.Sprintln("end", used, n, crc(dst[:n]))
	case err == ErrCorrupt:
		return "corrupt\n"
	case n == len(dst):
		return fmt.Sprintln("full", crc(dst))
	case err == ErrTruncated:
		return fmt.Sprintln("cut", n, crc(dst[:n]))
	}
	return err.Error()
}

// Damaged and cut streams are taken and refused exactly as zlib, the reference, does, with the same bytes.
func TestInflateLikeZlib(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here, whose zlib is the reference")
	}
	r := rand.New(rand.NewPCG(31, 41))
	all := samples(t)
	var streams [][]byte
	for _, name := range []string{"odd", "short", "runs", "one", "three"} {
		for level := -2; level <= 6; level += 2 {
			whole := deflated(t, all[name], level)
			for range 100 {
				src := bytes.Clone(whole)
				for range 1 + r.IntN(3) {
					src[r.IntN(min(len(src), 150))] ^= 1 << r.IntN(8)
				}
				streams = append(streams, src, src[:r.IntN(len(src))])
			}
		}
	}
	for range 3000 { // noise that starts like a dynamic block
		src := make([]byte, 1+r.IntN(60))
		for i := range src {
			src[i] = byte(r.Uint32())
		}
		src[0] = src[0]&^6 | 4
		streams = append(streams, src)
	}

	var z Inflater
	var in, own bytes.Buffer
	dst := make([]byte, 8192)
	for _, src := range streams {
		fmt.Fprintf(&in, "%x\n", src)
		own.WriteString(verdict(&z, dst, src))
	}
	cmd := exec.Command(python, "-c", verdictsPython)
	cmd.Stdin = &in
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want, got := strings.Split(string(out), "\n"), strings.Split(own.String(), "\n")
	for i, src := range streams {
		if i >= len(want) || want[i] != got[i] {
			t.Fatalf("stream %d of %d bytes: %q, zlib %q", i, len(src), got[i], want[i])
		}
	}
}
