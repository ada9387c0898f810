package crypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"golang.org/x/crypto/xts"
)

func noise(seed uint64, n int) []byte {
	p := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// reference encrypts one sector with the modes of the standard library and x/crypto.
func reference(t *testing.T, s Spec, key []byte, sector uint64, p []byte) {
	t.Helper()
	n := s.Cipher.BlockLen()
	iv := make([]byte, 16)
	binary.LittleEndian.PutUint64(iv, sector)
	switch s.IVGen {
	case Plain:
		clear(iv[4:])
	case ESSIV:
		h := s.IVHash.New()
		h.Write(key)
		c, err := CipherOf(s.Cipher.Family(), s.IVHash.Size())
		if !err {
			t.Fatalf("no cipher for essiv with %s", s.IVHash)
		}
		b, _ := c.new(h.Sum(nil))
		b.Encrypt(iv, iv)
	}
	if s.Mode == XTS && s.IVGen != ESSIV {
		x, err := xts.NewCipher(s.Cipher.new, key)
		if err != nil {
			t.Fatal(err)
		}
		x.Encrypt(p, p, binary.LittleEndian.Uint64(iv))
		return
	}
	c, err := s.Cipher.new(key)
	if err != nil {
		t.Fatal(err)
	}
	switch s.Mode {
	case CBC:
		cipher.NewCBCEncrypter(c, iv[:n]).CryptBlocks(p, p)
	case CTR:
		cipher.NewCTR(c, iv[:n]).XORKeyStream(p, p)
	case ECB:
		for ; len(p) > 0; p = p[n:] {
			c.Encrypt(p, p)
		}
	}
}

// specs gives every combination that makes a Block, except XTS with ESSIV (which has no other implementation here; it
// is held against containers of other makers).
func specs() []Spec {
	var all []Spec
	for _, c := range Ciphers() {
		for _, m := range []Mode{ECB, CBC, XTS, CTR} {
			for _, g := range []IVGen{Plain, Plain64, ESSIV} {
				for _, size := range []int{512, 1024, 4096} {
					s := Spec{Cipher: c, Mode: m, IVGen: g, SectorSize: size}
					if g == ESSIV {
						s.IVHash = map[int]Hash{8: MD5, 16: SHA256}[c.BlockLen()]
					}
					if (m != XTS || (c.BlockLen() == 16 && g != ESSIV)) && s.Check() == nil {
						all = append(all, s)
					}
				}
			}
		}
	}
	return all
}

func TestAgainstReference(t *testing.T) {
	const first = 1<<32 - 8 // the 32-bit number of `plain` wraps within the buffer
	for _, s := range specs() {
		key := noise(7, s.KeyLen())
		b, err := New(s, key)
		if err != nil {
			t.Errorf("%+v: %v", s, err)
			continue
		}
		plain := noise(8, 3*batchLen+s.SectorSize)
		want := bytes.Clone(plain)
		for i := 0; i < len(want); i += s.SectorSize {
			reference(t, s, key, first+uint64(i/SectorSize), want[i:i+s.SectorSize])
		}
		got := bytes.Clone(plain)
		if err := b.Encrypt(first*SectorSize, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%+v: encryption differs", s)
		}
		if err := b.Decrypt(first*SectorSize, got); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%+v: decryption differs (%v)", s, err)
		}
	}
}

// IEEE 1619-2007, vectors 1 to 3 are of 32 bytes; vector 10 (XTS-AES-256, sector number 0xff) fills a sector.
func TestXTSVector(t *testing.T) {
	key, _ := hex.DecodeString("2718281828459045235360287471352662497757247093699959574966967627" +
		"3141592653589793238462643383279502884197169399375105820974944592")
	plain := make([]byte, 512)
	for i := range plain {
		plain[i] = byte(i)
	}
	b, err := New(Spec{Cipher: AES256, Mode: XTS, IVGen: Plain64}, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Encrypt(0xff*512, plain); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%x", plain[:16]), "1c3b3a102f770386e4836c99e370cf9b"; got != want {
		t.Errorf("first block %s, want %s", got, want)
	}
}

// CTR carries from the low into the high half of the counter, and tweaks reduce from every bit at the top.
func TestCarries(t *testing.T) {
	m := make([]byte, 64)
	copy(m, "\x00\x00\x00\x00\x00\x00\x00\x07\xff\xff\xff\xff\xff\xff\xff\xff")
	counters(m, 16)
	if got := hex.EncodeToString(m[16:32]); got != "00000000000000080000000000000000" {
		t.Errorf("counter after a carry: %s", got)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		lo, hi := r.Uint64(), r.Uint64()
		a, b := lo, hi
		for range 4 {
			a, b = double(a, b)
		}
		if c, d := times16(lo, hi); a != c || b != d {
			t.Fatalf("four doublings of %x%016x: %x%016x and %x%016x", hi, lo, b, a, d, c)
		}
	}
}

func TestQCow(t *testing.T) {
	b, err := NewQCow([]byte("a password that is longer"))
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1024)
	if err := b.Encrypt(1<<20, p); err != nil {
		t.Fatal(err)
	}
	c, _ := aes.NewCipher([]byte("a password that "))
	iv := make([]byte, 16)
	binary.LittleEndian.PutUint64(iv, 1<<20/512+1)
	cipher.NewCBCDecrypter(c, iv).CryptBlocks(p[512:], p[512:])
	if !bytes.Equal(p[512:], make([]byte, 512)) {
		t.Error("the second sector is not AES-128-CBC with plain64")
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Spec{"des", CBC, Plain, "", 0, 0}, "Algorithm 'des' not supported"},
		{Spec{AES256, "gcm", Plain, "", 0, 0}, "Cipher mode 'gcm' not supported"},
		{Spec{AES256, CBC, "benbi", "", 0, 0}, "IV generator 'benbi' not supported"},
		{Spec{AES256, CBC, ESSIV, "", 0, 0}, "Missing IV generator hash specification"},
		{Spec{AES256, CBC, ESSIV, "tiger", 0, 0}, "Hash algorithm 'tiger' not supported"},
		{Spec{AES256, CBC, ESSIV, SHA1, 0, 0}, "No AES cipher with key size 20 available"},
		{Spec{Serpent256, CBC, ESSIV, SHA1, 0, 0}, "No Serpent cipher with key size 20 available"},
		{Spec{CAST5128, CBC, ESSIV, SHA256, 0, 0}, "Cipher cast5-128 not supported with essiv"},
		{Spec{CAST5128, XTS, Plain64, "", 0, 0}, "Unsupported cipher mode xts"},
		{Spec{AES256, XTS, Plain64, "", 768, 0}, "Encryption sector size 768 is not supported"},
	} {
		_, err := New(c.spec, make([]byte, c.spec.KeyLen()))
		if err == nil || err.Error() != c.want {
			t.Errorf("%+v: %v, want %s", c.spec, err, c.want)
		}
	}
	b, _ := New(Spec{Cipher: AES128, Mode: XTS, IVGen: Plain64, SectorSize: 4096}, make([]byte, 32))
	if b.Encrypt(512, make([]byte, 4096)) == nil || b.Decrypt(4096, make([]byte, 512)) == nil {
		t.Error("a piece of a sector was taken")
	}
}

func TestConcurrentUse(t *testing.T) {
	b, err := New(Spec{Cipher: AES256, Mode: XTS, IVGen: Plain64}, noise(1, 64))
	if err != nil {
		t.Fatal(err)
	}
	plain := noise(2, 1<<20+512)
	want := bytes.Clone(plain)
	b.run(0, want, true)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 3 {
				p := bytes.Clone(plain)
				if err := b.Encrypt(0, p); err != nil || !bytes.Equal(p, want) {
					t.Errorf("a concurrent encryption differs (%v)", err)
				}
			}
		})
	}
	wait.Wait()
}

func TestNoAllocation(t *testing.T) {
	for _, s := range []Spec{{AES256, XTS, Plain64, "", 0, 0}, {AES256, CBC, ESSIV, SHA256, 0, 0}, {Twofish128, CTR, Plain, "", 0, 0}} {
		b, err := New(s, noise(1, s.KeyLen()))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{512, 64 << 10, 1 << 20} {
			p := make([]byte, n)
			// A pool may lose an object to the collector now and then.
			if got := testing.AllocsPerRun(20, func() { b.Encrypt(0, p); b.Decrypt(0, p) }); got >= 1 && !raceEnabled {
				t.Errorf("%+v: %v allocations for %d bytes", s, got, n)
			}
		}
	}
}

func BenchmarkBlock(b *testing.B) {
	for _, s := range []Spec{
		{AES256, XTS, Plain64, "", 0, 0}, {AES256, XTS, Plain64, "", 4096, 0}, {AES128, XTS, Plain64, "", 0, 0}, {AES128, CBC, Plain64, "", 0, 0},
		{AES256, CBC, ESSIV, SHA256, 0, 0}, {AES256, CTR, Plain64, "", 0, 0}, {AES256, ECB, Plain64, "", 0, 0},
		{Serpent256, XTS, Plain64, "", 0, 0}, {Twofish256, XTS, Plain64, "", 0, 0}, {CAST5128, CBC, Plain64, "", 0, 0},
	} {
		c, err := New(s, noise(1, s.KeyLen()))
		if err != nil {
			b.Fatal(err)
		}
		for _, n := range []int{512, 4096, 1 << 20} {
			p := make([]byte, n)
			name := fmt.Sprintf("%s-%s-%s-%d/%d", s.Cipher, s.Mode, s.IVGen, s.SectorSize, n)
			b.Run(name+"/encrypt", func(b *testing.B) {
				b.SetBytes(int64(n))
				for b.Loop() {
					c.Encrypt(0, p)
				}
			})
			b.Run(name+"/decrypt", func(b *testing.B) {
				b.SetBytes(int64(n))
				for b.Loop() {
					c.Decrypt(0, p)
				}
			})
		}
	}
}
