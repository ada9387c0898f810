package luks_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/qobj"
)

// light are cryptsetup's options for cheap key derivations, by type.
var light = map[string][]string{
	"luks1": {"--type=luks1", "--pbkdf-force-iterations=1000"},
	"luks2": {"--type=luks2", "--pbkdf=argon2id", "--pbkdf-force-iterations=4", "--pbkdf-memory=64", "--pbkdf-parallel=1"},
}

// opensIn says whether cryptsetup opens name with a passphrase.
func opensIn(name, passphrase string) bool {
	cmd := exec.Command("cryptsetup", "luksOpen", "--test-passphrase", "--key-file=-", name)
	cmd.Stdin = strings.NewReader(passphrase)
	return cmd.Run() == nil
}

func amendFile(t *testing.T, name, options string, force bool) {
	t.Helper()
	b := &bench{T: t, env: hostEnv(t)}
	n := openFile(t, name, formats.ReadWrite, "key-secret=s")
	if err := b.amend(n, options, force); err != nil {
		t.Fatalf("amend -o %s: %v", options, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// Slots that are changed by one are seen by the other, in both versions.
func TestSlotsWithCryptsetup(t *testing.T) {
	for version, args := range light {
		name := device(t, 18<<20, args...)
		key := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(key, []byte(secrets["w"]), 0o600); err != nil {
			t.Fatal(err)
		}
		amendFile(t, name, "state=active,new-secret=n,iter-time=1,keyslot=3", false)
		cryptsetup(t, append([]string{"luksAddKey", "-q", "--key-file=-", name, key}, args[1:]...)...)
		dump := cryptsetup(t, "luksDump", name)
		for id, opens := range map[string]bool{"s": true, "n": true, "w": true} {
			if opensIn(name, secrets[id]) != opens {
				t.Errorf("%s: %q opens in cryptsetup: %v\n%s", version, id, !opens, dump)
			}
			openFile(t, name, 0, "key-secret="+id).Close()
		}
		cryptsetup(t, "luksKillSlot", "-q", name, "3")
		amendFile(t, name, "state=inactive,old-secret=w", false)
		if opensIn(name, secrets["n"]) || opensIn(name, secrets["w"]) || !opensIn(name, secrets["s"]) {
			t.Errorf("%s: what was erased opens in cryptsetup, or the rest does not", version)
		}
		amendFile(t, name, "state=active,keyslot=0,new-secret=n,iter-time=1", true)
		if opensIn(name, secrets["s"]) || !opensIn(name, secrets["n"]) {
			t.Errorf("%s: a replaced passphrase opens, or the new one does not", version)
		}
	}
}

// A backup of the header is a detached header; restored, it brings the old passphrases back.
func TestHeaderBackup(t *testing.T) {
	for version, args := range light {
		name := device(t, 18<<20, args...)
		backup := filepath.Join(t.TempDir(), "backup")
		n := openFile(t, name, formats.ReadWrite, "key-secret=s")
		want := noise(4096)
		if err := n.WriteAt(context.Background(), want, 0, 0); err != nil {
			t.Fatal(err)
		}
		n.Close()
		cryptsetup(t, "luksHeaderBackup", name, "--header-backup-file="+backup)
		amendFile(t, name, "state=active,new-secret=n,iter-time=1", false)
		amendFile(t, name, "state=inactive,old-secret=s", false)
		if opensIn(name, secrets["s"]) {
			t.Errorf("%s: the erased passphrase opens", version)
		}
		if !opensIn(backup, secrets["s"]) {
			t.Errorf("%s: the backup does not open", version)
		}
		cryptsetup(t, "luksHeaderRestore", "-q", name, "--header-backup-file="+backup)
		n = openFile(t, name, 0, "key-secret=s")
		got := make([]byte, len(want))
		if err := n.ReadAt(context.Background(), got, 0); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: after the header was restored, something else is read (%v)", version, err)
		}
		n.Close()
	}
}

// A container of version 2 whose first header is gone opens through the second, and a change of slots mends it.
func TestSecondHeader(t *testing.T) {
	name := device(t, 18<<20, light["luks2"]...)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(make([]byte, 4096), 0); err != nil {
		t.Fatal(err)
	}
	openFile(t, name, 0, "key-secret=s").Close()
	amendFile(t, name, "state=active,new-secret=n,iter-time=1", false)
	if !opensIn(name, secrets["n"]) {
		t.Error("cryptsetup does not open it")
	}
	if _, err := f.WriteAt(make([]byte, 16<<10), 16<<10); err != nil {
		t.Fatal(err)
	}
	if !opensIn(name, secrets["s"]) {
		t.Error("the first header was not mended")
	}
	openFile(t, name, 0, "key-secret=n").Close()
}

// A reencryption under way is refused.
func TestReencryptionIsRefused(t *testing.T) {
	name := device(t, 18<<20, light["luks2"]...)
	cryptsetup(t, append([]string{"reencrypt", "-q", "--init-only", "--key-file=-", name}, light["luks2"][1:]...)...)
	d := qobj.NewDict()
	d.Set("key-secret", "s")
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = chain.Open(context.Background(), hostEnv(t), chain.Request{Filename: name, Format: "luks", Options: d, Flags: formats.ReadWrite})
	if err == nil || !strings.HasPrefix(err.Error(), "LUKS2 requirement 'online-reencrypt") {
		t.Errorf("%v", err)
	}
	if after, err := os.ReadFile(name); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the refused container was changed (%v)", err)
	}
}

// The LUKS header inside of a qcow2 image is one that cryptsetup opens.
func TestQcow2Header(t *testing.T) {
	dir := t.TempDir()
	ours, head := filepath.Join(dir, "d.qcow2"), filepath.Join(dir, "head")
	env := hostEnv(t)
	drv := env.Registry.Find("qcow2")
	schema, err := chain.CreateSchema(env, drv, ours)
	if err != nil {
		t.Fatal(err)
	}
	v, err := schema.Parse("encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1")
	if err != nil {
		t.Fatal(err)
	}
	if err := chain.Create(context.Background(), env, chain.CreateRequest{Filename: ours, Driver: drv, Options: v, Size: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(dir, "stock.qcow2")
	stock(t, "create", "-q", "-f", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", theirs, "1M")
	for _, name := range []string{ours, theirs} {
		p, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(p, []byte("LUKS\xba\xbe"))
		if at < 0 {
			t.Fatalf("%s has no LUKS header", name)
		}
		if err := os.WriteFile(head, append(p[at:], make([]byte, 4<<20)...), 0o600); err != nil {
			t.Fatal(err)
		}
		cryptsetup(t, "luksDump", head)
		if !opensIn(head, secrets["s"]) || opensIn(head, secrets["w"]) {
			t.Errorf("%s: cryptsetup does not open it, or with any passphrase", name)
		}
	}
}

// A container that is cut anywhere, in the header, in key material, or in front of the payload, is refused as by stock,
// with the right passphrase and with a wrong one.
func TestCutAsStock(t *testing.T) {
	dir := t.TempDir()
	whole, cut, raw := filepath.Join(dir, "whole"), filepath.Join(dir, "cut"), filepath.Join(dir, "raw")
	createFile(t, whole, "key-secret=s,iter-time=1", 1<<20)
	p, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 100, 592, 4096, 100_000, 300_000, 2_000_000, 2_068_480} {
		if err := os.WriteFile(cut, p[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"s", "w"} {
			out, stockErr := exec.Command(tool(t, "qemu-img"), append(append([]string{"convert"}, objects()...), "--image-opts",
				imageOpts(cut, id), "-O", "raw", raw)...).CombinedOutput()
			d := qobj.NewDict()
			d.Set("key-secret", id)
			c, err := chain.Open(context.Background(), hostEnv(t), chain.Request{Filename: cut, Format: "luks", Options: d})
			if err == nil {
				c.Close()
			}
			if (err == nil) != (stockErr == nil) || err != nil && !strings.HasSuffix(string(out), ": "+err.Error()+"\n") {
				t.Errorf("%d bytes, passphrase %s: %v, stock: %s", n, id, err, out)
			}
		}
	}
}
