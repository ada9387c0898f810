package luks2

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"context"

	"platter/formats/crypt"
)

func cryptsetup(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("cryptsetup")
	if err != nil {
		t.Skip("cryptsetup is absent: ", err)
	}
	cmd := exec.Command(path, append(args, "--key-file", "-", "--batch-mode")...)
	cmd.Stdin = strings.NewReader("abc")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cryptsetup %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// cryptsetup encrypts a file of known contents, with the header in another file; it is decrypted here.
func TestReadsCryptsetup(t *testing.T) {
	dir := t.TempDir()
	head, data := filepath.Join(dir, "head"), filepath.Join(dir, "data")
	plain := bytes.Repeat([]byte("sixteen letters."), 3<<20/16)
	for i, args := range [][]string{
		{"--pbkdf", "argon2id", "--pbkdf-memory", "32768", "--pbkdf-force-iterations", "4", "--pbkdf-parallel", "2"},
		{"--pbkdf", "argon2i", "--pbkdf-memory", "1024", "--pbkdf-force-iterations", "5", "--sector-size", "4096"},
		{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--cipher", "aes-cbc-essiv:sha256", "--key-size", "128", "--hash", "sha512", "--sector-size", "512"},
		{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--cipher", "aes-xts-plain64", "--key-size", "256", "--hash", "sha1", "--sector-size", "2048"},
	} {
		os.Remove(head)
		if err := os.WriteFile(data, plain, 0o600); err != nil {
			t.Fatal(err)
		}
		cryptsetup(t, append([]string{"reencrypt", "--encrypt", "--type", "luks2", "--header", head, data}, args...)...)
		h, err := os.ReadFile(head)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Open(context.Background(), disk(h).read, OpenOptions{Passphrase: crypt.Fixed([]byte("abc")), Detached: true})
		if err != nil {
			t.Errorf("%d: %v", i, err)
			continue
		}
		p, err := os.ReadFile(data)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(p, plain) {
			t.Errorf("%d: cryptsetup left the data as it was", i)
		}
		if err := v.Block().Decrypt(0, p); err != nil || !bytes.Equal(p, plain) {
			t.Errorf("%d: something else is read (%v)", i, err)
		}
	}
}

// cryptsetup's test image with an old and a new key slot, whose data nobody knows in advance: the key digest tells.
func TestCorpus(t *testing.T) {
	dir := os.Getenv("PLATTER_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "corpus")
	}
	file := filepath.Join(dir, "cs-luks2", "compatimage2.img.xz")
	if _, err := os.Stat(file); err != nil {
		t.Skipf("the corpus is absent: %v (PLATTER_CORPUS names its folder)", err)
	}
	p, err := exec.Command("xz", "-dc", file).Output()
	if err != nil {
		t.Skipf("xz: %v", err)
	}
	v, err := open(p, "compatkey")
	if err != nil {
		t.Fatal(err)
	}
	if i := v.Info(); i.PayloadOffset != 4194304 || i.Encryption != "aes-cbc-essiv:sha256" || len(i.Slots) != 2 {
		t.Errorf("%+v", i)
	}
}
