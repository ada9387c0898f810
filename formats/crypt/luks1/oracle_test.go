package luks1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/formats/crypt"
	"platter/integration/programs"
)

// stock finds one of QEMU's own tools.
func stock(t *testing.T, tool string) string {
	t.Helper()
	return programs.StockPath(t, tool)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

const secret = "secret,id=s,data=abc"

func image(file string) string { return "driver=luks,key-secret=s,file.filename=" + file }

// combinations gives what stock creates, or a part of it that keeps every algorithm.
func combinations(all bool) []CreateOptions {
	var list []CreateOptions
	n := 0
	for _, c := range crypt.Ciphers() {
		for _, m := range []crypt.Mode{crypt.ECB, crypt.CBC, crypt.XTS, crypt.CTR} {
			for _, iv := range []string{"plain", "plain64", "essiv:md5", "essiv:sha256", "essiv:sm3"} {
				gen, hash, _ := strings.Cut(iv, ":")
				o := CreateOptions{Cipher: c, Mode: m, IVGen: crypt.IVGen(gen), IVHash: crypt.Hash(hash)}
				o.Hash = crypt.Hashes()[n%len(crypt.Hashes())]
				o.Passphrase = fixed("abc")
				if _, err := Layout(o); err != nil {
					continue
				}
				if n++; all || n%5 == 0 {
					list = append(list, o)
				}
			}
		}
	}
	return list
}

func (o CreateOptions) String() string {
	s := fmt.Sprintf("cipher-alg=%s,cipher-mode=%s,ivgen-alg=%s,hash-alg=%s", o.Cipher, o.Mode, o.IVGen, o.Hash)
	if o.IVHash != "" {
		s += ",ivgen-hash-alg=" + string(o.IVHash)
	}
	return s
}

const payload = 64 << 10

func pattern() []byte {
	p := make([]byte, payload)
	for i := range p {
		p[i] = byte(i) ^ byte(i>>8)*31
	}
	return p
}

// What is created here, stock decrypts. PLATTER_LONG tries every combination.
func TestStockReadsOurs(t *testing.T) {
	qemu := stock(t, "qemu-img")
	dir := t.TempDir()
	file, raw := filepath.Join(dir, "x.luks"), filepath.Join(dir, "x.raw")
	for _, o := range combinations(os.Getenv("PLATTER_LONG") != "") {
		d, v := create(t, o)
		p := pattern()
		if err := v.Block().Encrypt(0, p); err != nil {
			t.Fatal(err)
		}
		d.write(v.PayloadOffset(), p)
		if err := os.WriteFile(file, d.p, 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, qemu, "convert", "--object", secret, "--image-opts", image(file), "-O", "raw", raw)
		if got, err := os.ReadFile(raw); err != nil || !bytes.Equal(got, pattern()) {
			t.Errorf("%s: stock reads something else (%v)", o, err)
		}
	}
}

// What stock creates and fills, is decrypted here. Stock takes a second to create one.
func TestOursReadsStock(t *testing.T) {
	qemu := stock(t, "qemu-img")
	list := []CreateOptions{{Cipher: crypt.Serpent192, Mode: crypt.XTS, IVGen: crypt.ESSIV, IVHash: crypt.SHA256, Hash: crypt.SHA256}}
	if os.Getenv("PLATTER_LONG") != "" {
		list = combinations(true)
	}
	dir := t.TempDir()
	file, raw := filepath.Join(dir, "x.luks"), filepath.Join(dir, "x.raw")
	if err := os.WriteFile(raw, pattern(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		run(t, qemu, "convert", "--object", secret, "-f", "raw", raw, "-O", "luks", "-o", "key-secret=s,iter-time=10,"+o.String(), file)
		p, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := open(&disk{p}, "abc")
		if err != nil {
			t.Errorf("%s: %v", o, err)
			continue
		}
		i := v.Info()
		if i.Cipher != o.Cipher || i.Mode != o.Mode || i.IVGen != o.IVGen || i.IVHash != o.IVHash || i.Hash != o.Hash {
			t.Errorf("%s: %+v", o, i)
		}
		data := p[v.PayloadOffset():]
		if err := v.Block().Decrypt(0, data); err != nil || !bytes.Equal(data, pattern()) {
			t.Errorf("%s: something else is read (%v)", o, err)
		}
		if err := v.Block().Encrypt(0, data); err != nil {
			t.Fatal(err)
		}
	}
}

// The messages about damaged headers are stock's.
func TestStockRefusesAlike(t *testing.T) {
	qemu := stock(t, "qemu-io")
	file := filepath.Join(t.TempDir(), "x.luks")
	d, v := create(t, CreateOptions{})
	for _, damage := range []func(h *header){
		func(h *header) { fill(h.CipherName[:]) },
		func(h *header) { fill(h.CipherMode[:]) },
		func(h *header) { fill(h.HashSpec[:]) },
		func(h *header) { h.Version = 3 },
		func(h *header) { h.Payload = 7 },
		func(h *header) { h.DigestRounds = 0 },
		func(h *header) { h.Slots[3].Stripes = 1<<32 - 1 },
		func(h *header) { h.Slots[2].State = 1 },
		func(h *header) { h.Slots[0].Rounds = 0 },
		func(h *header) { h.Slots[0].Start = 7 },
		func(h *header) { h.Slots[7].Start = 5000 },
		func(h *header) { h.Slots[1].Start = h.Slots[2].Start + 503 },
		func(h *header) { h.Slots[4].Start = h.Slots[2].Start - 503 },
		func(h *header) { h.Slots[6] = slot{State: h.Slots[6].State} },
		func(h *header) { set(h.CipherMode[:], "cbc") },
		func(h *header) { set(h.CipherMode[:], "cbc-essiv:tiger") },
		func(h *header) { set(h.CipherMode[:], "cbc-essiv"); h.KeyLen = 32 },
		func(h *header) { set(h.CipherMode[:], "cbc-essiv:sha1"); h.KeyLen = 32 },
		func(h *header) { set(h.CipherMode[:], "gcm-plain64") },
		func(h *header) { set(h.CipherMode[:], "xts-benbi") },
		func(h *header) { set(h.CipherName[:], "idea") },
		func(h *header) { h.KeyLen = 0 },
		func(h *header) { set(h.HashSpec[:], "whirlpool") },
		func(h *header) { h.Slots[0].State = slotDisabled },
		func(h *header) { set(h.CipherName[:], "cast5"); h.KeyLen = 32 },
	} {
		h := v.hdr
		damage(&h)
		bad := &disk{bytes.Clone(d.p)}
		bad.write(0, h.encode())
		_, err := open(bad, "abc")
		if err == nil {
			t.Errorf("opened: %x", h.encode()[:208])
			continue
		}
		if err := os.WriteFile(file, bad.p, 0o600); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.Command(qemu, "--object", secret, "--image-opts", image(file), "-c", "read 0 512").CombinedOutput()
		if !strings.HasSuffix(strings.TrimRight(string(out), "\n"), ": "+err.Error()) {
			t.Errorf("stock says %s here it is %s", out, err)
		}
	}
}

// Stock opens the passphrases that were added here, and not the erased ones.
func TestStockAfterAmend(t *testing.T) {
	qemu := stock(t, "qemu-io")
	file := filepath.Join(t.TempDir(), "x.luks")
	d, v := create(t, CreateOptions{Hash: crypt.SHA512})
	for _, o := range []AmendOptions{{Active: true, NewSecret: fixed("new"), Keyslot: ptr(int64(6))}, {Keyslot: ptr(int64(0))}} {
		if o.Active {
			o.IterTime = ptr(uint64(1))
		}
		if err := v.Amend(context.Background(), d.read, d.write, o); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, d.p, 0o600); err != nil {
		t.Fatal(err)
	}
	for password, opens := range map[string]bool{"new": true, "abc": false} {
		out, err := exec.Command(qemu, "--object", "secret,id=s,data="+password, "--image-opts", image(file), "-c", "info").CombinedOutput()
		if (err == nil) != opens {
			t.Errorf("%s: %s", password, out)
		}
	}
}

// A detached header that is created here opens in stock, with the data in a file of its own.
func TestStockReadsDetached(t *testing.T) {
	qemu := stock(t, "qemu-img")
	dir := t.TempDir()
	head, data, raw := filepath.Join(dir, "head"), filepath.Join(dir, "data"), filepath.Join(dir, "raw")
	d, v := create(t, CreateOptions{Detached: true})
	p := pattern()
	if err := v.Block().Encrypt(0, p); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(head, d.p, 0o600), os.WriteFile(data, p, 0o600)); err != nil {
		t.Fatal(err)
	}
	run(t, qemu, "convert", "--object", secret, "--image-opts", image(data)+",header.driver=file,header.filename="+head, "-O", "raw", raw)
	if got, err := os.ReadFile(raw); err != nil || !bytes.Equal(got, pattern()) {
		t.Errorf("stock reads something else (%v)", err)
	}
}

// cryptsetup accepts what is created here.
func TestCryptsetup(t *testing.T) {
	tool, err := exec.LookPath("cryptsetup")
	if err != nil {
		t.Skip("cryptsetup is absent: ", err)
	}
	file := filepath.Join(t.TempDir(), "x.luks")
	for _, o := range []CreateOptions{{}, {Cipher: crypt.AES128, Mode: crypt.CBC, IVGen: crypt.ESSIV, Hash: crypt.SHA1},
		{Cipher: crypt.Serpent256, Hash: crypt.SHA512}, {Cipher: crypt.Twofish128, Mode: crypt.CBC}} {
		d, v := create(t, o)
		if err := os.WriteFile(file, append(d.p, make([]byte, 1<<20)...), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := run(t, tool, "luksDump", file); !strings.Contains(out, v.Info().UUID) {
			t.Errorf("%s: luksDump says\n%s", o, out)
		}
		if o.Cipher != "" && o.Cipher.Family() != "aes" {
			continue // its library may lack the cipher
		}
		cmd := exec.Command(tool, "luksOpen", "--test-passphrase", "--key-file", "-", file)
		cmd.Stdin = strings.NewReader("abc")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", o, err, out)
		}
	}
}
