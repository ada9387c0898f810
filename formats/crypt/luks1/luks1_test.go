package luks1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"platter/formats/crypt"
	"platter/formats/qerr"
)

// disk is a file in memory.
type disk struct{ p []byte }

func (d *disk) read(off int64, p []byte) error {
	if off < 0 || off > int64(len(d.p)) || copy(p, d.p[off:]) < len(p) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (d *disk) write(off int64, p []byte) error {
	if n := off + int64(len(p)); n > int64(len(d.p)) {
		d.p = append(d.p, make([]byte, n-int64(len(d.p)))...)
	}
	copy(d.p[off:], p)
	return nil
}

func (d *disk) prepare(n int64) error { d.p = make([]byte, n); return nil }

func ptr[T any](v T) *T { return &v }

func fixed(s string) crypt.Passphrase { return crypt.Fixed([]byte(s)) }

func create(t testing.TB, o CreateOptions) (*disk, *Volume) {
	t.Helper()
	d := new(disk)
	o.Passphrase, o.IterTime = fixed("abc"), ptr(uint64(1))
	v, err := Create(context.Background(), d.prepare, d.write, o)
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	return d, v
}

func open(d *disk, password string) (*Volume, error) {
	return Open(context.Background(), d.read, OpenOptions{Passphrase: fixed(password)})
}

func TestCreateAndOpen(t *testing.T) {
	d, v := create(t, CreateOptions{})
	if v.PayloadOffset() != 2068480 || v.PayloadOffset() != int64(len(d.p)) {
		t.Errorf("payload at %d, header of %d bytes", v.PayloadOffset(), len(d.p))
	}
	if n, err := Layout(CreateOptions{Passphrase: fixed("abc")}); err != nil || n != 2068480 {
		t.Errorf("layout: %d, %v", n, err)
	}
	got, err := open(d, "abc")
	if err != nil {
		t.Fatal(err)
	}
	p, q := bytes.Repeat([]byte("sector! "), 64), make([]byte, 512)
	copy(q, p)
	if err := errors.Join(v.Block().Encrypt(512, q), got.Block().Decrypt(512, q)); err != nil || !bytes.Equal(p, q) {
		t.Errorf("the opened header has another key than the created one (%v)", err)
	}
	if _, err := open(d, "abd"); !errors.Is(err, crypt.ErrPassphrase) {
		t.Errorf("wrong passphrase: %v", err)
	}
	if _, err := Open(context.Background(), d.read, OpenOptions{Prefix: "encrypt."}); err == nil ||
		err.Error() != "Parameter 'encrypt.key-secret' is required for cipher" {
		t.Errorf("no passphrase: %v", err)
	}
}

func TestInfo(t *testing.T) {
	d, v := create(t, CreateOptions{Mode: crypt.CBC, IVGen: crypt.ESSIV, Hash: crypt.SHA1})
	locked, err := Open(context.Background(), d.read, OpenOptions{InfoOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	info := locked.Info()
	if info != v.Info() || locked.Block() != nil {
		t.Errorf("%+v after creation, %+v when opened", v.Info(), info)
	}
	if info.Cipher != "aes-256" || info.Mode != "cbc" || info.IVGen != "essiv" || info.IVHash != "sha256" ||
		info.Hash != "sha1" || info.KeyIterations < 1000 || len(info.UUID) != 36 || info.Detached ||
		info.Slots[0].Iterations < 1000 || info.Slots[0].Stripes != 4000 || info.Slots[0].KeyOffset != 4096 ||
		info.Slots[1] != (SlotInfo{KeyOffset: 4096 + 4000*32 + 4096 - 4000*32%4096}) {
		t.Errorf("%+v", info)
	}
}

func TestDetached(t *testing.T) {
	d, v := create(t, CreateOptions{Detached: true})
	if v.PayloadOffset() != 0 || len(d.p) != 2068480 || !v.Info().Detached {
		t.Errorf("payload at %d, header of %d bytes", v.PayloadOffset(), len(d.p))
	}
	if _, err := open(d, "abc"); err == nil || err.Error() != "LUKS payload is overlapping with the header" {
		t.Errorf("opened as not detached: %v", err)
	}
	if _, err := Open(context.Background(), d.read, OpenOptions{Passphrase: fixed("abc"), Detached: true}); err != nil {
		t.Error(err)
	}
}

func TestCreateRefusals(t *testing.T) {
	for _, c := range []struct {
		o    CreateOptions
		want string
	}{
		{CreateOptions{Cipher: "des"}, "Algorithm 'des' not supported"},
		{CreateOptions{Cipher: crypt.CAST5128}, "Unsupported cipher mode xts"},
		{CreateOptions{Cipher: crypt.CAST5128, Mode: crypt.CBC, IVGen: crypt.ESSIV}, "Cipher cast5-128 not supported with essiv"},
		{CreateOptions{IVGen: crypt.ESSIV, IVHash: crypt.SHA1}, "No AES cipher with key size 20 available"},
		{CreateOptions{Cipher: crypt.AES192, Mode: crypt.CBC}, "A key of 24 bytes is not supported with cipher mode 'cbc'"},
		{CreateOptions{IterTime: ptr(^uint64(0))}, "too large to scale: Numerical result out of range"},
		{CreateOptions{IterTime: ptr(uint64(1 << 40))}, "larger than 4294967295: Numerical result out of range"},
	} {
		c.o.Passphrase = fixed("abc")
		d := new(disk)
		_, err := Create(context.Background(), d.prepare, d.write, c.o)
		if err == nil || !bytes.HasSuffix([]byte(err.Error()), []byte(c.want)) {
			t.Errorf("%+v: %v, want %s", c.o, err, c.want)
		}
		if len(d.p) != 0 {
			t.Errorf("%+v: %d bytes were written", c.o, len(d.p))
		}
	}
}

// A key of 24 bytes in CBC gives material of 187 and a half sectors, which cryptsetup pads.
func TestUnevenMaterial(t *testing.T) {
	d, v := create(t, CreateOptions{Cipher: crypt.AES128, Mode: crypt.CBC})
	h := v.hdr
	h.KeyLen = 24
	v.spec.Cipher = crypt.AES192
	for i := range h.Slots {
		h.Slots[i].Start = uint32(headerSectors + i*192)
	}
	h.Payload = headerSectors + Slots*192
	key := bytes.Repeat([]byte{7}, 24)
	digest, err := crypt.PBKDF2(context.Background(), v.hash, key, h.DigestSalt[:], h.DigestRounds, digestLen)
	if err != nil {
		t.Fatal(err)
	}
	copy(h.Digest[:], digest)
	v.hdr = h
	if err := v.storeKey(context.Background(), d.write, 0, []byte("abc"), key, 1); err != nil {
		t.Fatal(err)
	}
	got, err := open(d, "abc")
	if err != nil || got.Info().Cipher != crypt.AES192 {
		t.Errorf("%v", err)
	}
}

func TestDamagedHeaders(t *testing.T) {
	d, v := create(t, CreateOptions{})
	for i, c := range []struct {
		damage func(h *header)
		want   string
	}{
		{func(h *header) { h.Magic[0] = 'X' }, "Volume is not in LUKS format"},
		{func(h *header) { h.Version = 2 }, "LUKS version 2 is not supported"},
		{func(h *header) { fill(h.CipherName[:]) }, "LUKS header cipher name is not NUL terminated"},
		{func(h *header) { fill(h.CipherMode[:]) }, "LUKS header cipher mode is not NUL terminated"},
		{func(h *header) { fill(h.HashSpec[:]) }, "LUKS header hash spec is not NUL terminated"},
		{func(h *header) { h.Payload = 7 }, "LUKS payload is overlapping with the header"},
		{func(h *header) { h.DigestRounds = 0 }, "LUKS key iteration count is zero"},
		{func(h *header) { h.Slots[3].Stripes = 3 }, "Keyslot 3 is corrupted (stripes 3 != 4000)"},
		{func(h *header) { h.Slots[3].Stripes = 1<<32 - 1 }, "Keyslot 3 is corrupted (stripes -1 != 4000)"},
		{func(h *header) { h.Slots[2].State = 1 }, "Keyslot 2 state (active/disable) is corrupted"},
		{func(h *header) { h.Slots[0].Rounds = 0 }, "Keyslot 0 iteration count is zero"},
		{func(h *header) { h.Slots[0].Start = 7 }, "Keyslot 0 is overlapping with the LUKS header"},
		{func(h *header) { h.Slots[7].Start = 1<<32 - 1 }, "Keyslot 7 is overlapping with the encrypted payload"},
		{func(h *header) { h.Slots[1].Start = h.Slots[2].Start + 503 }, "Keyslots 1 and 2 are overlapping in the header"},
		{func(h *header) { h.KeyLen = 1<<32 - 1 }, "Keyslot 0 is overlapping with the encrypted payload"},
		{func(h *header) { set(h.CipherMode[:], "cbc") }, "Unexpected cipher mode string format 'cbc'"},
		{func(h *header) { set(h.CipherMode[:], "cbc-essiv:tiger") }, "Hash algorithm 'tiger' not supported"},
		{func(h *header) { set(h.CipherMode[:], "cbc-essiv"); h.KeyLen = 32 }, "Missing IV generator hash specification"},
		{func(h *header) { set(h.CipherMode[:], "cbc-essiv:sha1"); h.KeyLen = 32 }, "No AES cipher with key size 20 available"},
		{func(h *header) { set(h.CipherMode[:], "gcm-plain64") }, "Cipher mode 'gcm' not supported"},
		{func(h *header) { set(h.CipherMode[:], "xts-benbi") }, "IV generator 'benbi' not supported"},
		{func(h *header) { set(h.CipherName[:], "idea") }, "Algorithm 'idea' with key size 32 bytes not supported"},
		{func(h *header) { h.KeyLen = 0 }, "Algorithm 'aes' with key size 0 bytes not supported"},
		{func(h *header) { h.KeyLen = 33 }, "Algorithm 'aes' with key size 16 bytes not supported"},
		{func(h *header) { set(h.HashSpec[:], "whirlpool") }, "Hash algorithm 'whirlpool' not supported"},
		{func(h *header) { h.Slots[0].Rounds = 1<<32 - 1 }, "Keyslot 0 has 4294967295 iterations, which exceeds the limit of 268435456"},
		{func(h *header) { h.DigestRounds = 1<<32 - 1 }, "LUKS key iteration count 4294967295 exceeds the limit of 268435456"},
		{func(h *header) { h.Slots[0].State = slotDisabled }, "Invalid password, cannot unlock any keyslot"},
	} {
		h := v.hdr
		c.damage(&h)
		bad := &disk{bytes.Clone(d.p)}
		bad.write(0, h.encode())
		if _, err := open(bad, "abc"); err == nil || err.Error() != c.want {
			t.Errorf("%d: %v, want %s", i, err, c.want)
		}
	}
	if _, err := open(&disk{d.p[:600]}, "abc"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("key material beyond the end: %v", err)
	}
}

func fill(p []byte) {
	for i := range p {
		p[i] = 'x'
	}
}

func set(p []byte, s string) { clear(p); copy(p, s) }

func (v *Volume) try(d *disk, o AmendOptions) string {
	if o.Active {
		o.IterTime = ptr(uint64(1))
	}
	err := v.Amend(context.Background(), d.read, d.write, o)
	if err == nil {
		return ""
	}
	return err.Error() + "|" + qerr.Hint(err)
}

func TestAmend(t *testing.T) {
	d, v := create(t, CreateOptions{Cipher: crypt.AES128})
	slots := func() (s string) {
		for _, k := range v.Info().Slots {
			s += map[bool]string{true: "1", false: "0"}[k.Active]
		}
		return s
	}
	b, c := fixed("b"), fixed("c")
	for i, step := range []struct {
		o     AmendOptions
		want  string
		slots string
	}{
		{AmendOptions{Active: true}, "'new-secret' is required to activate a keyslot|", "10000000"},
		{AmendOptions{Active: true, NewSecret: b, OldSecret: b}, "'old-secret' must not be given when activating keyslots|", "10000000"},
		{AmendOptions{Active: true, NewSecret: b, Keyslot: ptr(int64(8))}, "Invalid keyslot 8 specified, must be between 0 and 7|", "10000000"},
		{AmendOptions{Active: true, NewSecret: b, Keyslot: ptr(int64(-1))}, "Invalid keyslot 4294967295 specified, must be between 0 and 7|", "10000000"},
		{AmendOptions{Active: true, NewSecret: b, Keyslot: ptr(int64(1<<32 + 1))}, "Invalid keyslot 4294967297 specified, must be between 0 and 7|", "10000000"},
		{AmendOptions{Active: true, NewSecret: b, Keyslot: ptr(int64(0))}, "Refusing to overwrite active keyslot 0 - please erase it first|", "10000000"},
		{AmendOptions{Active: true, NewSecret: b, Secret: c}, "Invalid password, cannot unlock any keyslot|Failed to retrieve the master key", "10000000"},
		{AmendOptions{Active: true, NewSecret: b}, "", "11000000"},
		{AmendOptions{Active: true, NewSecret: b, Keyslot: ptr(int64(5)), Secret: b}, "", "11000100"},
		{AmendOptions{Active: true, NewSecret: c, Keyslot: ptr(int64(5)), Force: true}, "", "11000100"},
		{AmendOptions{NewSecret: b}, "'new-secret' must not be given when erasing keyslots|", "11000100"},
		{AmendOptions{IterTime: ptr(uint64(1))}, "'iter-time' must not be given when erasing keyslots|", "11000100"},
		{AmendOptions{Secret: b}, "'secret' must not be given when erasing keyslots|", "11000100"},
		{AmendOptions{}, "To erase keyslot(s), either explicit keyslot index or the password currently contained in them must be given|", "11000100"},
		{AmendOptions{Keyslot: ptr(int64(-1))}, "Invalid keyslot -1 specified, must be between 0 and 7|", "11000100"},
		{AmendOptions{Keyslot: ptr(int64(1)), OldSecret: c}, "Given keyslot 1 doesn't contain the given old password for erase operation|", "11000100"},
		{AmendOptions{Keyslot: ptr(int64(2))}, "Given keyslot 2 is already erased (inactive) |", "11000100"},
		{AmendOptions{OldSecret: fixed("x")}, "No keyslots match given (old) password for erase operation|", "11000100"},
		{AmendOptions{Keyslot: ptr(int64(0))}, "", "01000100"},
		{AmendOptions{OldSecret: b}, "", "00000100"},
		{AmendOptions{Keyslot: ptr(int64(5))}, "Attempt to erase the only active keyslot 5 which will erase all the data in the image irreversibly - refusing operation|", "00000100"},
		{AmendOptions{OldSecret: c}, "All the active keyslots match the (old) password that was given and erasing them will erase all the data in the image irreversibly - refusing operation|", "00000100"},
	} {
		if got := v.try(d, step.o); got != step.want || slots() != step.slots {
			t.Errorf("step %d: %q and %s, want %q and %s", i, got, slots(), step.want, step.slots)
		}
	}
	if _, err := open(d, "abc"); !errors.Is(err, crypt.ErrPassphrase) {
		t.Errorf("an erased passphrase: %v", err)
	}
	if got, err := open(d, "c"); err != nil || got.Info() != v.Info() {
		t.Errorf("the passphrase left does not open (%v)", err)
	}
	for i := range Slots - 1 {
		if got := v.try(d, AmendOptions{Active: true, NewSecret: b, Secret: c}); got != "" {
			t.Errorf("slot %d: %s", i, got)
		}
	}
	if got := v.try(d, AmendOptions{Active: true, NewSecret: b}); got != "Can't add a keyslot - all keyslots are in use|" {
		t.Error(got)
	}
}

// An erased slot's material is gone, and a write that fails leaves the opened header as it was.
func TestAmendFailures(t *testing.T) {
	d, v := create(t, CreateOptions{Cipher: crypt.AES128})
	before := v.Info()
	broken := func(int64, []byte) error { return io.ErrShortWrite }
	err := v.Amend(context.Background(), d.read, broken, AmendOptions{Active: true, NewSecret: fixed("b"), IterTime: ptr(uint64(1))})
	if !errors.Is(err, io.ErrShortWrite) || qerr.Hint(err) != "Failed to write to keyslot 1" || v.Info() != before {
		t.Errorf("%v, hint %q", err, qerr.Hint(err))
	}
	material := bytes.Clone(d.p[4096 : 4096+32*4000])
	if got := v.try(d, AmendOptions{Keyslot: ptr(int64(0)), Force: true}); got != "" {
		t.Fatal(got)
	}
	same := 0
	for i := range material {
		if material[i] == d.p[4096+i] {
			same++
		}
	}
	if same > len(material)/100 {
		t.Errorf("%d of %d bytes of the erased material are still there", same, len(material))
	}
}

func FuzzOpen(f *testing.F) {
	d, v := create(f, CreateOptions{Cipher: crypt.AES128, Hash: crypt.SHA1})
	f.Add(d.p[:headerSize])
	for _, spec := range []string{"cbc-essiv:sha256", "ctr-plain", "ecb-null"} {
		h := v.hdr
		set(h.CipherMode[:], spec)
		f.Add(h.encode())
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		d := &disk{append(bytes.Clone(head), make([]byte, 1<<20)...)}
		o := OpenOptions{Passphrase: fixed("abc"), MaxIterations: 2000, Detached: len(head)%2 == 1}
		v, err := Open(context.Background(), d.read, o)
		if err == nil && (v.Block() == nil || fmt.Sprint(v.Info()) == "") {
			t.Error("opened without a key")
		}
	})
}

// At whatever write the power fails, the old passphrase opens the container, or the new one.
func TestAmendSurvivesACrash(t *testing.T) {
	for what, steps := range map[string][]AmendOptions{
		"add":           {{Active: true, NewSecret: fixed("new")}},
		"add and erase": {{Active: true, NewSecret: fixed("new"), Keyslot: ptr(int64(6))}, {OldSecret: fixed("abc")}},
		"replace":       {{Active: true, NewSecret: fixed("new"), Keyslot: ptr(int64(0)), Force: true}},
		"replace one of two": {{Active: true, NewSecret: fixed("new"), Keyslot: ptr(int64(7))},
			{Active: true, NewSecret: fixed("other"), Keyslot: ptr(int64(7)), Force: true}},
	} {
		d, v := create(t, CreateOptions{Cipher: crypt.AES128, Mode: crypt.CBC})
		for n, o := range steps {
			if o.Active {
				o.IterTime = ptr(uint64(1))
			}
			write := func(off int64, p []byte) error {
				for _, torn := range []int{0, 512, len(p) - 512} {
					crashed := &disk{bytes.Clone(d.p)}
					if torn > 0 {
						crashed.write(off, p[:torn])
					}
					if _, err := open(crashed, "abc"); err == nil {
						continue
					}
					if _, err := open(crashed, "new"); err != nil {
						t.Errorf("%s, step %d: nothing opens after %d bytes at %d", what, n, torn, off)
					}
				}
				return d.write(off, p)
			}
			if err := v.Amend(context.Background(), d.read, write, o); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		last := "new"
		if what == "replace one of two" {
			last = "other"
		}
		if _, err := open(d, last); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if n := v.countActive(); what == "replace" && n != 1 {
			t.Errorf("%s: %d slots are active", what, n)
		}
	}
}
