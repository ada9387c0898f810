package qcow2_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/qobj"
)

// secretOf is the passphrase of a secret in tests: "secret", but for ids that begin with other, which are their own.
func secretOf(id string) ([]byte, error) {
	if strings.HasPrefix(id, "other") {
		return []byte(id), nil
	}
	return []byte("secret"), nil
}

const luksOptions = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1"

// amendSlots changes key slots, and what else the options name.
func amendSlots(t testing.TB, n *chain.Node, force bool, opts string) {
	t.Helper()
	v, err := n.Driver().AmendOpts.Parse(opts)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := formats.As[formats.Amender](n)
	must(t, n, func() error {
		return a.Amend(context.Background(), v, force, nil, storeEnv(formatstest.NewStore(), nil).Env)
	})
}

// openers gives the secrets that open an image in a store, and holds what they show to the content.
func openers(t testing.TB, s *formatstest.Store, want []byte, when string) string {
	t.Helper()
	var list []string
	for _, id := range []string{"s", "other1", "other2"} {
		n, err := openOptions(s, 0, map[string]string{"encrypt.key-secret": id})
		if err != nil {
			continue
		}
		list = append(list, id)
		if got := content(t, n); !bytes.Equal(got[:len(want)], want) {
			t.Errorf("%s: the disk that %s opens holds something else", when, id)
		}
		n.Close()
	}
	return strings.Join(list, " ")
}

// TestKeySlotCrashes crashes changes of key slots after every event, sectors torn apart: each passphrase that was valid
// before and is valid after opens the image, and at least one of the two sides' at any moment.
func TestKeySlotCrashes(t *testing.T) {
	t.Parallel()
	const add = "encrypt.state=active,encrypt.iter-time=1,encrypt.new-secret="
	for _, c := range []struct {
		opts  string // of the image, beside those for LUKS
		steps []string
		after []string // the secrets that open it after each step
	}{
		{"cluster_size=64k", []string{add + "other1", add + "other2,encrypt.keyslot=6", "encrypt.state=inactive,encrypt.old-secret=s",
			"encrypt.state=inactive,encrypt.keyslot=6"}, []string{"s other1", "s other1 other2", "other1 other2", "other1"}},
		{"", []string{add + "other1,encrypt.keyslot=0", add + "other2,encrypt.keyslot=0"}, []string{"other1", "other2"}},
		{"", []string{add + "other1,encrypt.keyslot=5", add + "other2,encrypt.keyslot=5"}, []string{"s other1", "s other2"}},
		{"cluster_size=4k,compat=0.10", []string{add + "other1,compat=1.1,refcount_bits=64,lazy_refcounts=on,size=2M",
			"encrypt.state=inactive,encrypt.keyslot=0,lazy_refcounts=off,refcount_bits=16,compat=0.10"}, []string{"s other1", "other1"}},
	} {
		s := newImage(t, strings.TrimPrefix(c.opts+","+luksOptions, ","), 1<<20)
		want := bytes.Repeat([]byte("platter!"), 8<<10)
		n, err := openOptions(s, rw, keyOptions(luksOptions))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.WriteAt(context.Background(), want, 0, 0); err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		before := "s"
		for k, step := range c.steps {
			start, after := s.Events(), c.after[k]
			id, _, _ := strings.Cut(before, " ")
			if strings.Contains(step, "old-secret=s") {
				id = "other1" // whoever erases a slot opens the image by another
			}
			if n, err = openOptions(s, rw, map[string]string{"encrypt.key-secret": id}); err != nil {
				t.Fatal(err)
			}
			amendSlots(t, n, true, step)
			done := s.Events()
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			for at := start; at <= s.Events(); at++ {
				crashKeys(t, s, at, at >= done, want, before, after, fmt.Sprintf("%s %s, crash at %d of %d", c.opts, step, at-start, done-start))
			}
			before = after
		}
	}
}

// crashKeys holds one moment to what may open the image then.
func crashKeys(t *testing.T, s *formatstest.Store, at int, done bool, want []byte, before, after, when string) {
	t.Helper()
	for seed := range uint64(2) {
		c := s.Crash(at, rand.New(rand.NewPCG(uint64(at), seed)))
		got := openers(t, c, want, when)
		if done && got != after {
			t.Errorf("%s: %q opens it, want %q", when, got, after)
		}
		if got == "" {
			t.Errorf("%s: nothing opens it", when)
		}
		has := strings.Fields(got)
		for _, id := range strings.Fields(before) {
			if strings.Contains(after, id) && !strings.Contains(" "+strings.Join(has, " ")+" ", " "+id+" ") {
				t.Errorf("%s: %s does not open it, %q does", when, id, got)
			}
		}
	}
}

// TestKeySlotsWithStock: slots that one side changes open for the other, and those it erased do not.
func TestKeySlotsWithStock(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	objects := []string{"--object", "secret,id=s,data=secret", "--object", "secret,id=other1,data=other1", "--object", "secret,id=other2,data=other2"}
	name := filepath.Join(dir, "disk.qcow2")
	with := func(id string) string { return "driver=qcow2,encrypt.key-secret=" + id + ",file.filename=" + name }
	run := func(verb string, args ...string) error {
		_, err := tryStock(t, "qemu-img", append(append([]string{verb}, objects...), args...)...)
		return err
	}
	open := func(flags formats.OpenFlags, id string) (*chain.Node, error) {
		d := qobj.NewDict()
		d.Set("encrypt.key-secret", id)
		return chain.Open(context.Background(), env(nil), chain.Request{Filename: name, Format: "qcow2", Options: d, Flags: flags})
	}
	check := func(what, want string) {
		t.Helper()
		for _, id := range []string{"s", "other1", "other2"} {
			should := strings.Contains(want, id)
			if err := run("convert", "--image-opts", with(id), "-O", "raw", filepath.Join(dir, "raw")); (err == nil) != should {
				t.Errorf("%s: stock opens it with %s: %v", what, id, err == nil)
			}
			n, err := open(0, id)
			if (err == nil) != should {
				t.Errorf("%s: we open it with %s: %v", what, id, err)
			}
			if err == nil {
				n.Close()
			}
		}
	}
	if err := run("create", "-q", "-f", "qcow2", "-o", strings.Replace(luksOptions, "time=1", "time=10", 1), name, "1M"); err != nil {
		t.Fatal(err)
	}
	const add = "encrypt.state=active,encrypt.iter-time=10,encrypt.new-secret="
	for _, c := range []struct {
		ours              bool
		id, opts, opening string
	}{
		{true, "s", add + "other1", "s other1"},
		{false, "other1", add + "other2,encrypt.keyslot=7", "s other1 other2"},
		{true, "other2", "encrypt.state=inactive,encrypt.old-secret=s", "other1 other2"},
		{false, "other1", "encrypt.state=inactive,encrypt.keyslot=7", "other1"},
		{false, "other1", add + "s", "s other1"},
		{true, "s", "encrypt.state=inactive,encrypt.keyslot=1,encrypt.old-secret=other1", "s"},
		{true, "s", add + "other2,encrypt.keyslot=0", "other2"}, // the only one, replaced
	} {
		if c.ours {
			n, err := open(rw, c.id)
			if err != nil {
				t.Fatal(err)
			}
			amendSlots(t, n, true, c.opts)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
		} else if err := run("amend", "--force", "--image-opts", "-o", c.opts, with(c.id)); err != nil {
			t.Fatalf("stock amend -o %s: %v", c.opts, err)
		}
		check(c.opts, c.opening)
	}
	if err := run("check", "--image-opts", with("other2")); err != nil {
		t.Error(err)
	}
}
