package luks2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"platter/formats/crypt"
)

type disk []byte

func (d disk) read(off int64, p []byte) error {
	if off < 0 || off > int64(len(d)) || copy(p, d[off:]) < len(p) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

const room = minSize

// seal makes one header around JSON text.
func seal(text, magic string, off, seq uint64) []byte {
	p := make([]byte, room)
	copy(p, magic)
	be := binary.BigEndian
	be.PutUint16(p[6:], version)
	be.PutUint64(p[8:], room)
	be.PutUint64(p[16:], seq)
	copy(p[24:72], "a label")
	copy(p[72:], "sha256")
	copy(p[168:], "8ec61629-0f24-4523-9212-0b9b401e2e6b")
	be.PutUint64(p[256:], off)
	copy(p[binarySize:], text)
	sum := sha256.Sum256(p)
	copy(p[sumOffset:], sum[:])
	return p
}

// container makes a container whose only slot opens with "abc", and whose JSON is changed by the pairs in edits.
func container(t testing.TB, edits ...string) disk {
	t.Helper()
	ctx := context.Background()
	key := bytes.Repeat([]byte("key!"), 8)
	slotKey, err := crypt.PBKDF2(ctx, crypt.SHA256, []byte("abc"), []byte("salt"), 1000, 64)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := crypt.PBKDF2(ctx, crypt.SHA256, key, []byte("salt"), 1000, 32)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	json := fmt.Sprintf(`{"keyslots":{"0":{"type":"luks2","key_size":32,"af":{"type":"luks1","stripes":4000,"hash":"sha256"},`+
		`"area":{"type":"raw","offset":"32768","size":"131072","encryption":"aes-xts-plain64","key_size":64},`+
		`"kdf":{"type":"pbkdf2","hash":"sha256","iterations":1000,"salt":%q}}},"tokens":{},`+
		`"segments":{"0":{"type":"crypt","offset":"163840","size":"dynamic","iv_tweak":"0","encryption":"aes-xts-plain64","sector_size":4096}},`+
		`"digests":{"0":{"type":"pbkdf2","keyslots":["0"],"segments":["0"],"hash":"sha256","iterations":1000,"salt":%q,"digest":%q}},`+
		`"config":{"json_size":"12288","keyslots_size":"131072"}}`, b64([]byte("salt")), b64([]byte("salt")), b64(digest))
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(json, edits[i]) {
			t.Fatalf("nothing to edit: %s", edits[i])
		}
		json = strings.Replace(json, edits[i], edits[i+1], 1)
	}
	material := make([]byte, 32*4000)
	if err := crypt.AFSplit(zeros{}, crypt.SHA256, key, material, 4000); err != nil {
		t.Fatal(err)
	}
	b, err := crypt.New(crypt.Spec{Cipher: crypt.AES256, Mode: crypt.XTS, IVGen: crypt.Plain64}, slotKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Encrypt(0, material); err != nil {
		t.Fatal(err)
	}
	d := append(disk(seal(json, firstMagic, 0, 5)), seal(json, secondMagic, room, 5)...)
	d = append(d, material...)
	return append(d, make([]byte, 163840+8192-len(d))...)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func open(d disk, password string) (*Volume, error) {
	return Open(context.Background(), d.read, OpenOptions{Passphrase: crypt.Fixed([]byte(password))})
}

func TestOpen(t *testing.T) {
	v, err := open(container(t), "abc")
	if err != nil {
		t.Fatal(err)
	}
	if v.PayloadOffset() != 163840 || v.PayloadLen() != -1 || v.Block().SectorSize() != 4096 {
		t.Errorf("data at %d, %d bytes", v.PayloadOffset(), v.PayloadLen())
	}
	i := v.Info()
	if i.UUID != "8ec61629-0f24-4523-9212-0b9b401e2e6b" || i.Label != "a label" || len(i.Slots) != 1 || i.Slots[0].Iterations != 1000 {
		t.Errorf("%+v", i)
	}
	if v, err := open(container(t), "abd"); !errors.Is(err, crypt.ErrPassphrase) || v != nil {
		t.Errorf("wrong passphrase: %v", err)
	}
	if v, err := Open(context.Background(), container(t).read, OpenOptions{InfoOnly: true}); err != nil || v.Block() != nil {
		t.Errorf("without a passphrase: %v", err)
	}
}

func TestHeaderChoice(t *testing.T) {
	d := container(t)
	first := bytes.Clone(d)
	first[binarySize]++ // no longer what the checksum says
	if v, err := open(first, "abc"); err != nil || v.Info().Sequence != 5 {
		t.Errorf("first header damaged: %v", err)
	}
	second := bytes.Clone(d)
	clear(second[room : 2*room])
	if _, err := open(second, "abc"); err != nil {
		t.Errorf("second header missing: %v", err)
	}
	clear(second[:6])
	if _, err := open(second, "abc"); err == nil || err.Error() != "Volume is not in LUKS format" {
		t.Errorf("no header: %v", err)
	}
	newer := bytes.Clone(d)
	copy(newer[room:], seal(string(bytes.TrimRight(d[binarySize:room], "\x00")), secondMagic, room, 6))
	if v, err := open(newer, "abc"); err != nil || v.Info().Sequence != 6 {
		t.Errorf("second header newer: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`{"keyslots"`, `{"keyslots`, "LUKS2 metadata is not valid: "},
		{`"offset":"163840"`, `"offset":"-1"`, "LUKS2 metadata is not valid: "},
		{`"config":{`, `"config":{"requirements":{"mandatory":["online-reencrypt-v2"]},`, "LUKS2 requirement 'online-reencrypt-v2' is not supported"},
		{`"json_size":"12288"`, `"json_size":"12289"`, "LUKS2 metadata has a size of 12289 in a header with room for 12288"},
		{`"segments":{`, `"segments":{"1":{"type":"linear"},`, "LUKS2 container with 2 segments is not supported"},
		{`"type":"crypt"`, `"type":"linear"`, "LUKS2 segment of type 'linear' is not supported"},
		{`"type":"crypt"`, `"type":"crypt","integrity":{"type":"hmac(sha256)"}`, "LUKS2 segment with integrity protection is not supported"},
		{`"sector_size":4096`, `"sector_size":8192`, "LUKS2 segment has an invalid sector size of 8192"},
		{`"offset":"163840"`, `"offset":"163841"`, "LUKS2 segment is not aligned to its sectors"},
		{`"offset":"163840"`, `"offset":"159744"`, "LUKS2 segment is overlapping with the header"},
		{`"size":"dynamic"`, `"size":"0"`, "LUKS2 segment has an invalid size '0'"},
		{`"segments":["0"]`, `"segments":["1"]`, "LUKS2 segment '0' has no digest"},
		{`"iterations":1000,"salt":"c2FsdA==","digest"`, `"iterations":0,"salt":"c2FsdA==","digest"`, "LUKS2 digest '0' is not valid"},
		{`"iterations":1000,"salt":"c2FsdA==","digest"`, `"iterations":4294967295,"salt":"c2FsdA==","digest"`, "LUKS2 digest has 4294967295 iterations, which exceeds the limit of 268435456"},
		{`"keyslots":["0"]`, `"keyslots":["1"]`, "Invalid password, cannot unlock any keyslot"},
		{`"type":"luks2"`, `"type":"luks2","priority":0`, "Invalid password, cannot unlock any keyslot"},
		{`"type":"luks2"`, `"type":"reencrypt"`, "Keyslot 0: type 'reencrypt' with 'luks1' in 'raw' is not supported"},
		{`"hash":"sha256"`, `"hash":"whirlpool"`, "Keyslot 0: Hash algorithm 'whirlpool' not supported"},
		{`"stripes":4000`, `"stripes":2147483647`, "Keyslot 0: invalid number of stripes 2147483647"},
		{`"stripes":4000`, `"stripes":40000`, "Keyslot 0: key material of 1280000 bytes in an area of 131072"},
		{`"offset":"32768"`, `"offset":"32256"`, "Keyslot 0: key material is outside its area"},
		{`"size":"131072"`, `"size":"9223372036854775807"`, "Keyslot 0: key material is outside its area"},
		{`"iterations":1000`, `"iterations":4294967295`, "Keyslot 0: 4294967295 iterations exceed the limit of 268435456"},
		{`"iterations":1000`, `"iterations":0`, "Keyslot 0: iteration count is zero"},
		{`"type":"pbkdf2"`, `"type":"argon2id","time":4,"cpus":4,"memory":4194304`, "Keyslot 0: argon2id needs 4194304 KiB of memory, the limit is 2097152"},
		{`"type":"pbkdf2"`, `"type":"argon2i","time":4000,"cpus":4,"memory":1048576`, "Keyslot 0: argon2i with 4000 passes over 1048576 KiB of memory is too much work"},
		{`"type":"pbkdf2"`, `"type":"argon2i","time":4,"cpus":400,"memory":1048576`, "Keyslot 0: invalid parameters of argon2i"},
		{`"type":"pbkdf2"`, `"type":"scrypt"`, "Keyslot 0: key derivation 'scrypt' is not supported"},
		{`"key_size":32`, `"key_size":33`, "Keyslot 0: Encryption 'aes-xts-plain64' with a key of 33 bytes is not supported"},
		{`aes-xts-plain64","sector`, `adiantum-plain64","sector`, "Keyslot 0: Encryption 'adiantum-plain64' with a key of 32 bytes is not supported"},
	} {
		v, err := open(container(t, c.old, c.new), "abc")
		if err == nil || v != nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.new, err, c.want)
		}
	}
}

// The checksum is right for whatever the fuzzer makes of the JSON text.
func FuzzMetadata(f *testing.F) {
	d := container(f)
	f.Add(string(bytes.TrimRight(d[binarySize:room], "\x00")))
	f.Fuzz(func(t *testing.T, json string) {
		if len(json) > room-binarySize {
			return
		}
		bad := bytes.Clone(d)
		copy(bad, seal(json, firstMagic, 0, 7))
		o := OpenOptions{Passphrase: crypt.Fixed([]byte("abc")), MaxIterations: 2000, MaxMemory: 1 << 20}
		v, err := Open(context.Background(), disk(bad).read, o)
		if err == nil && (v.Block() == nil || v.PayloadOffset() < 0) {
			t.Error("opened without a key")
		}
	})
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte(container(f)[:binarySize]))
	f.Fuzz(func(t *testing.T, head []byte) {
		d := append(disk(bytes.Clone(head)), make([]byte, 64<<10)...)
		if _, err := open(d, "abc"); err == nil {
			t.Error("a header without JSON was opened")
		}
	})
}
