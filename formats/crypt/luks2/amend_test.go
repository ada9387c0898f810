package luks2

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/formats/crypt"
)

// roomy makes a container with room for several slots, whose JSON has more than is known here.
func roomy(t testing.TB, edits ...string) disk {
	t.Helper()
	d := container(t, append([]string{`"keyslots_size":"131072"`, `"keyslots_size":"524288","flags":["allow-discards"]`,
		`"offset":"163840"`, `"offset":"557056"`, `"tokens":{}`, `"tokens":{"0":{"type":"x","keyslots":["0","1"],"n":18446744073709551615}}`},
		edits...)...)
	return append(d, make([]byte, 557056+8192-len(d))...)
}

// tape keeps what was written, and where flushes were.
type tape struct {
	disk
	ops []op
}

type op struct {
	off  int64
	p    []byte
	sync bool // a flush
}

func (d *tape) store() Store {
	return Store{
		Read: func(off int64, p []byte) error { return d.disk.read(off, p) },
		Write: func(off int64, p []byte) error {
			d.ops = append(d.ops, op{off: off, p: bytes.Clone(p)})
			copy(d.disk[off:], p)
			return nil
		},
		Flush: func() error { d.ops = append(d.ops, op{sync: true}); return nil },
	}
}

func ptr[T any](v T) *T { return &v }

func secretOf(s string) crypt.Passphrase { return crypt.Fixed([]byte(s)) }

func opensWith(d disk, password string) bool {
	v, err := open(d, password)
	return err == nil && v.Block() != nil
}

// crashes calls f with what the disk may hold after a loss of power at any moment of the tape.
func crashes(before disk, ops []op, f func(when string, d disk)) {
	now := bytes.Clone(before)
	for i, o := range ops {
		if o.sync {
			continue
		}
		for _, n := range []int{0, 512, len(o.p) - 512} {
			d := bytes.Clone(now)
			copy(d[o.off:], o.p[:n])
			f(fmt.Sprintf("write %d torn at %d", i, n), d)
		}
		d := bytes.Clone(now)
		copy(d[o.off+512:], o.p[512:])
		f(fmt.Sprintf("write %d without its first sector", i), d)
		copy(now[o.off:], o.p)
	}
}

func TestAmend(t *testing.T) {
	for what, c := range map[string]struct {
		steps []AmendOptions
		opens string // passphrases, by blanks
		not   string
	}{
		"add": {[]AmendOptions{{Active: true, NewSecret: secretOf("new")}}, "abc new", "x"},
		"two and a half": {[]AmendOptions{{Active: true, NewSecret: secretOf("new"), Keyslot: ptr(int64(31))},
			{Active: true, NewSecret: secretOf("three")}, {OldSecret: secretOf("abc")}}, "new three", "abc"},
		"erase by number": {[]AmendOptions{{Active: true, NewSecret: secretOf("new")}, {Keyslot: ptr(int64(0)), OldSecret: secretOf("abc")}}, "new", "abc"},
		"replace":         {[]AmendOptions{{Active: true, NewSecret: secretOf("new"), Keyslot: ptr(int64(0)), Force: true}}, "new", "abc"},
		"erase all":       {[]AmendOptions{{OldSecret: secretOf("abc"), Force: true}}, "", "abc"},
	} {
		d := &tape{disk: roomy(t)}
		for n, step := range c.steps {
			password := "abc"
			v, err := open(d.disk, password)
			if err != nil {
				t.Fatal(err)
			}
			if step.Active {
				step.IterTime = ptr(uint64(1))
			}
			before := bytes.Clone(d.disk)
			d.ops = nil
			if err := v.Amend(context.Background(), d.store(), step); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if what == "erase all" {
				continue
			}
			crashes(before, d.ops, func(when string, d disk) {
				if !opensWith(d, "abc") && !opensWith(d, "new") {
					t.Errorf("%s, step %d: nothing opens after %s", what, n, when)
				}
			})
		}
		for _, p := range strings.Fields(c.opens) {
			if !opensWith(d.disk, p) {
				t.Errorf("%s: %q does not open", what, p)
			}
		}
		if opensWith(d.disk, c.not) {
			t.Errorf("%s: %q opens", what, c.not)
		}
		for _, half := range []int{0, room} { // each copy stands alone
			one := bytes.Clone(d.disk)
			clear(one[half : half+room])
			if c.opens != "" && !opensWith(one, strings.Fields(c.opens)[0]) {
				t.Errorf("%s: without the copy at %d nothing opens", what, half)
			}
		}
		text := string(d.disk[binarySize:room])
		if !strings.Contains(text, `"flags":["allow-discards"]`) || !strings.Contains(text, `"n":18446744073709551615`) {
			t.Errorf("%s: what is not known was lost: %.600s", what, text)
		}
	}
}

// What is erased is gone: from the header, from its tokens, and from the area of its material.
func TestEraseLeavesNothing(t *testing.T) {
	d := &tape{disk: roomy(t)}
	v, err := open(d.disk, "abc")
	if err != nil {
		t.Fatal(err)
	}
	material := bytes.Clone(d.disk[2*room : 2*room+4096])
	steps := []AmendOptions{{Active: true, NewSecret: secretOf("new"), IterTime: ptr(uint64(1))}, {Keyslot: ptr(int64(0))}}
	for _, o := range steps {
		if err := v.Amend(context.Background(), d.store(), o); err != nil {
			t.Fatal(err)
		}
	}
	if i := v.Info(); len(i.Slots) != 1 || i.Slots[0].ID != "1" || i.Sequence != 7 {
		t.Errorf("%+v", i)
	}
	if bytes.Equal(material, d.disk[2*room:2*room+4096]) {
		t.Error("the key material is still there")
	}
	if text := string(d.disk[binarySize:room]); !strings.Contains(text, `"keyslots":["1"],"n"`) {
		t.Errorf("the token still names it: %.900s", text)
	}
	if seq := binary.BigEndian.Uint64(d.disk[room+16:]); seq != 7 {
		t.Errorf("the second header has number %d", seq)
	}
}

func TestAmendRefusals(t *testing.T) {
	full := roomy(t, `"keyslots_size":"524288"`, `"keyslots_size":"131072"`)
	for _, c := range []struct {
		o    AmendOptions
		d    disk
		want string
	}{
		{AmendOptions{Active: true}, nil, "'new-secret' is required to activate a keyslot"},
		{AmendOptions{Active: true, NewSecret: secretOf("n"), OldSecret: secretOf("abc")}, nil, "'old-secret' must not be given when activating keyslots"},
		{AmendOptions{Active: true, NewSecret: secretOf("n"), Keyslot: ptr(int64(0))}, nil, "Refusing to overwrite active keyslot 0 - please erase it first"},
		{AmendOptions{Active: true, NewSecret: secretOf("n"), Keyslot: ptr(int64(32))}, nil, "Invalid keyslot 32 specified, must be between 0 and 31"},
		{AmendOptions{Active: true, NewSecret: secretOf("n")}, full, "Can't add a keyslot - no room for 131072 bytes of key material"},
		{AmendOptions{}, nil, "To erase keyslot(s), either explicit keyslot index or the password currently contained in them must be given"},
		{AmendOptions{Keyslot: ptr(int64(-1))}, nil, "Invalid keyslot 4294967295 specified, must be between 0 and 31"},
		{AmendOptions{Keyslot: ptr(int64(4))}, nil, "Given keyslot 4 is already erased (inactive) "},
		{AmendOptions{Keyslot: ptr(int64(0)), NewSecret: secretOf("n")}, nil, "'new-secret' must not be given when erasing keyslots"},
		{AmendOptions{Keyslot: ptr(int64(0)), IterTime: ptr(uint64(1))}, nil, "'iter-time' must not be given when erasing keyslots"},
		{AmendOptions{Keyslot: ptr(int64(0)), OldSecret: secretOf("x")}, nil, "Given keyslot 0 doesn't contain the given old password for erase operation"},
		{AmendOptions{Keyslot: ptr(int64(0))}, nil, "Attempt to erase the only active keyslot 0 which will erase all the data in the image irreversibly - refusing operation"},
		{AmendOptions{OldSecret: secretOf("x")}, nil, "No keyslots match given (old) password for erase operation"},
		{AmendOptions{OldSecret: secretOf("abc")}, nil, "All the active keyslots match the (old) password that was given and erasing them will erase all the data in the image irreversibly - refusing operation"},
	} {
		d := &tape{disk: c.d}
		if d.disk == nil {
			d.disk = roomy(t)
		}
		v, err := open(d.disk, "abc")
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Amend(context.Background(), d.store(), c.o); err == nil || err.Error() != c.want || len(d.ops) > 0 {
			t.Errorf("%v after %d writes, want %s", err, len(d.ops), c.want)
		}
	}
}

// An error of the disk leaves a container that opens as before.
func TestAmendOnABadDisk(t *testing.T) {
	for fail := 1; fail < 7; fail++ {
		d := &tape{disk: roomy(t)}
		v, err := open(d.disk, "abc")
		if err != nil {
			t.Fatal(err)
		}
		s, n := d.store(), 0
		broken := func() error {
			if n++; n == fail {
				return syscall.EIO
			}
			return nil
		}
		write, flush := s.Write, s.Flush
		s.Write = func(off int64, p []byte) error { return errors.Join(broken(), write(off, p[:len(p)/2])) }
		s.Flush = func() error { return errors.Join(broken(), flush()) }
		if fail > 1 { // what comes before is written whole
			s.Write = func(off int64, p []byte) error {
				if err := broken(); err != nil {
					return errors.Join(err, write(off, p[:len(p)/2]))
				}
				return write(off, p)
			}
		}
		err = v.Amend(context.Background(), s, AmendOptions{Active: true, NewSecret: secretOf("new"), IterTime: ptr(uint64(1))})
		if !errors.Is(err, syscall.EIO) || !opensWith(d.disk, "abc") {
			t.Errorf("operation %d fails: %v; opens: %v", fail, err, opensWith(d.disk, "abc"))
		}
	}
}

// cryptsetup opens what was added here, and what it has added is erased here.
func TestAmendWithCryptsetup(t *testing.T) {
	for i, args := range [][]string{
		{"--pbkdf", "argon2id", "--pbkdf-memory", "1024", "--pbkdf-force-iterations", "4", "--pbkdf-parallel", "2"},
		{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--cipher", "aes-cbc-essiv:sha256", "--key-size", "128", "--hash", "sha512"},
	} {
		dir := t.TempDir()
		file, added := filepath.Join(dir, "d"), filepath.Join(dir, "key")
		if err := errors.Join(os.WriteFile(file, make([]byte, 18<<20), 0o600), os.WriteFile(added, []byte("theirs"), 0o600)); err != nil {
			t.Fatal(err)
		}
		cryptsetup(t, append([]string{"luksFormat", "--type", "luks2", file}, args...)...)
		cryptsetup(t, append([]string{"luksAddKey", file, added, "--key-slot", "5"}, args[:4]...)...)
		for _, o := range []AmendOptions{{Active: true, NewSecret: secretOf("ours")}, {OldSecret: secretOf("theirs")}} {
			amendFile(t, file, o)
		}
		cryptsetup(t, "luksDump", file)
		cryptsetup(t, "luksOpen", "--test-passphrase", file)
		for password, opens := range map[string]bool{"ours": true, "theirs": false} {
			cmd := exec.Command("cryptsetup", "luksOpen", "--test-passphrase", "--key-file", "-", file)
			cmd.Stdin = strings.NewReader(password)
			if out, err := cmd.CombinedOutput(); (err == nil) != opens {
				t.Errorf("%d: %q: %v: %s", i, password, err, out)
			}
		}
		amendFile(t, file, AmendOptions{Active: true, NewSecret: secretOf("abc two"), Keyslot: ptr(int64(0)), Force: true})
		cryptsetup(t, "luksHeaderBackup", file, "--header-backup-file", filepath.Join(dir, "backup"))
		p, err := os.ReadFile(filepath.Join(dir, "backup"))
		if err != nil {
			t.Fatal(err)
		}
		if !opensWith(p, "abc two") || !opensWith(p, "ours") || opensWith(p, "abc") {
			t.Errorf("%d: the backup of the header opens otherwise", i)
		}
	}
}

// amendFile opens a file with "abc", changes its slots and writes it back.
func amendFile(t *testing.T, file string, o AmendOptions) {
	t.Helper()
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	v, err := open(p, "abc")
	if err != nil {
		t.Fatal(err)
	}
	if o.Active {
		o.IterTime = ptr(uint64(1))
	}
	d := &tape{disk: p}
	if err := v.Amend(context.Background(), d.store(), o); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, d.disk, 0o600); err != nil {
		t.Fatal(err)
	}
}
