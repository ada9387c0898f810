package luks_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/qobj"
)

func cryptsetup(t testing.TB, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("cryptsetup")
	if err != nil {
		t.Skip("cryptsetup is absent: ", err)
	}
	return run(t, secrets["s"], path, args...)
}

func TestCryptsetupOpensOurs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "d")
	createFile(t, name, "key-secret=s,iter-time=1", 1<<20)
	if out := cryptsetup(t, "luksDump", name); !bytes.Contains([]byte(out), []byte("Key Slot 0: ENABLED")) {
		t.Errorf("luksDump: %s", out)
	}
	cryptsetup(t, "open", "--test-passphrase", "--key-file=-", name)
	added := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(added, []byte(secrets["n"]), 0o600); err != nil {
		t.Fatal(err)
	}
	cryptsetup(t, "luksAddKey", "--pbkdf-force-iterations=1000", "--key-file=-", name, added)
	openFile(t, name, 0, "key-secret=n").Close()
}

func device(t testing.TB, size int64, args ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "d")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	cryptsetup(t, append(append([]string{"luksFormat", "-q", "--key-file=-"}, args...), name)...)
	return name
}

func TestOursOpensCryptsetup(t *testing.T) {
	light := []string{"--type=luks2", "--pbkdf=argon2id", "--pbkdf-force-iterations=4", "--pbkdf-memory=64", "--pbkdf-parallel=1"}
	for _, args := range [][]string{
		{"--type=luks1", "--pbkdf-force-iterations=1000"},
		{"--type=luks2", "--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000", "--sector-size=512"},
		append([]string{"--sector-size=4096"}, light...),
		append([]string{"--sector-size=2048", "--cipher=aes-cbc-essiv:sha256", "--key-size=256"}, light...),
	} {
		name := device(t, 18<<20+4096, args...)
		want := noise(100_000)
		n := openFile(t, name, formats.ReadWrite, "key-secret=s")
		size := n.Size()
		if err := n.WriteAt(context.Background(), want, 70_001, 0); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		n = openFile(t, name, 0, "key-secret=s")
		got := make([]byte, len(want))
		if err := n.ReadAt(context.Background(), got, 70_001); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: what was written is not read back (%v)", args, err)
		}
		if size != n.Size() || size > 18<<20 || size < 1<<20 || size%512 != 0 {
			t.Errorf("%v: size %d", args, size)
		}
		n.Close()
		cryptsetup(t, "open", "--test-passphrase", "--key-file=-", name)
	}
}

// LUKS2 data that is written here, is right: cryptsetup turns the container into version 1, which stock reads.
func TestVersion2AgainstStock(t *testing.T) {
	name := device(t, 20<<20, "--type=luks2", "--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000", "--sector-size=512", "--hash=sha256")
	n := openFile(t, name, formats.ReadWrite, "key-secret=s")
	want := noise(int(n.Size()))
	if err := n.WriteAt(context.Background(), want, 0, 0); err != nil {
		t.Fatal(err)
	}
	d, _ := formats.As[formats.Describer](n)
	if kind, s, err := d.Specific(context.Background()); err != nil || kind != "luks" || !s.Has("encryption") {
		t.Errorf("%s, %v, %v", kind, s, err)
	}
	n.Close()
	cryptsetup(t, "convert", "-q", "--type=luks1", name)
	raw := name + ".raw"
	stock(t, "convert", "--image-opts", imageOpts(name, "s"), "-O", "raw", raw)
	if got, err := os.ReadFile(raw); err != nil || !bytes.Equal(got, want) {
		t.Errorf("stock reads something else (%v)", err)
	}
}

// A container made by an old cryptsetup; the digest is the corpus's.
func TestCorpus(t *testing.T) {
	dir := os.Getenv("PLATTER_CORPUS")
	if dir == "" {
		dir = "../../../shared/corpus"
	}
	packed := filepath.Join(dir, "cs-compat/compatimage.img.xz")
	if _, err := os.Stat(packed); err != nil {
		t.Skipf("the corpus is absent: %v (PLATTER_CORPUS names its folder)", err)
	}
	p, err := exec.Command("xz", "-dc", packed).Output()
	if err != nil {
		t.Skipf("xz: %v", err)
	}
	name := filepath.Join(t.TempDir(), "d")
	if err := os.WriteFile(name, p, 0o600); err != nil {
		t.Fatal(err)
	}
	env, opts := hostEnv(t), qobj.NewDict()
	env.Secret = func(string) ([]byte, error) { return []byte("compatkey"), nil }
	opts.Set("key-secret", "s")
	n, err := chain.Open(context.Background(), env, chain.Request{Filename: name, Options: opts})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	const want = "7428e8f2436882a07eb32765086f5c899474c08b5576f556b573d2aabdf923e8"
	if got := fmt.Sprintf("%x", sha256.Sum256(contentOf(t, n))); got != want || n.Driver().Name != "luks" {
		t.Errorf("%s: contents %s, want %s", n.Driver().Name, got, want)
	}
}
