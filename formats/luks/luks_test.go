package luks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/luks"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
	"platter/formats/raw"
)

var secrets = map[string]string{"s": "abc", "n": "new", "w": "wrong"}

func TestSuite(t *testing.T) {
	for _, o := range []string{"", "cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,hash-alg=sha1"} {
		t.Run(o, func(t *testing.T) {
			formatstest.Run(t, formatstest.Subject{
				Drivers: []*formats.Driver{raw.Driver(), luks.Driver()}, Format: "luks",
				Options: strings.TrimSuffix("key-secret=s,iter-time=1,"+o, ","),
				Runtime: map[string]string{"key-secret": "s"}, Secrets: secrets, Noise: true, Size: 1<<20 + 512})
		})
	}
}

// bench is an environment over files in memory.
type bench struct {
	*testing.T
	store *formatstest.Store
	env   *chain.Env
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, store: formatstest.NewStore()}
	b.env = &chain.Env{
		Registry: formats.NewRegistry(b.store.Driver(), raw.Driver(), luks.Driver()),
		Env: &formats.Env{
			Secret: func(id string) ([]byte, error) {
				if v, ok := secrets[id]; ok {
					return []byte(v), nil
				}
				return nil, qerr.New(syscall.ENOENT, "No secret with id '%s'", id)
			},
			Warn: t.Logf, Report: t.Logf,
		},
	}
	return b
}

func (b *bench) create(name, options string, size int64) error {
	drv := luks.Driver()
	schema, err := chain.CreateSchema(b.env, drv, formatstest.Name(name))
	if err != nil {
		return err
	}
	v, err := schema.Parse(options)
	if err != nil {
		return err
	}
	return chain.Create(context.Background(), b.env, chain.CreateRequest{
		Filename: formatstest.Name(name), Driver: drv, Options: v, Size: size})
}

// open opens a file with runtime options, "key=value" each.
func (b *bench) open(name string, flags formats.OpenFlags, opts ...string) (*chain.Node, error) {
	d := qobj.NewDict()
	for _, o := range opts {
		k, v, _ := strings.Cut(o, "=")
		d.Set(k, v)
	}
	return chain.Open(context.Background(), b.env,
		chain.Request{Filename: formatstest.Name(name), Format: "luks", Options: d, Flags: flags})
}

func (b *bench) amend(n *chain.Node, options string, force bool) error {
	v, err := luks.Driver().AmendOpts.Parse(options)
	if err != nil {
		return err
	}
	a, ok := formats.As[formats.Amender](n)
	if !ok {
		b.Fatal("not an Amender")
	}
	return n.Exclusive(func() error { return a.Amend(context.Background(), v, force, nil, b.env.Env) })
}

func TestCreateRefusals(t *testing.T) {
	for options, want := range map[string]string{
		"":                                  "Parameter 'key-secret' is required for cipher",
		"key-secret=zz":                     "No secret with id 'zz'",
		"key-secret=s,cipher-alg=foo":       "Parameter 'cipher-alg' does not accept value 'foo'",
		"key-secret=s,cipher-mode=foo":      "Parameter 'cipher-mode' does not accept value 'foo'",
		"key-secret=s,ivgen-alg=foo":        "Parameter 'ivgen-alg' does not accept value 'foo'",
		"key-secret=s,ivgen-hash-alg=foo":   "Parameter 'ivgen-hash-alg' does not accept value 'foo'",
		"key-secret=s,hash-alg=none":        "Parameter 'hash-alg' does not accept value 'none'",
		"key-secret=s,cipher-alg=3des":      "Algorithm '3des' not supported",
		"key-secret=s,cipher-alg=cast5-128": "Unsupported cipher mode xts",
		"key-secret=s,preallocation=foo":    "invalid parameter value: foo",
		"key-secret=s,iter-time=foo":        "Parameter 'iter-time' expects a number",
	} {
		b := newBench(t)
		if err := b.create("d", options, 1<<20); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
		if names := b.store.Names(); len(names) > 0 {
			t.Errorf("%s: %v is left", options, names)
		}
	}
}

func TestOpenNeedsTheKey(t *testing.T) {
	b := newBench(t)
	if err := b.create("d", "key-secret=s,iter-time=1", 1<<20); err != nil {
		t.Fatal(err)
	}
	for opt, want := range map[string]string{
		"":              "Parameter 'key-secret' is required for cipher",
		"key-secret=zz": "No secret with id 'zz'",
		"key-secret=w":  "Invalid password, cannot unlock any keyslot",
	} {
		var opts []string
		if opt != "" {
			opts = []string{opt}
		}
		if _, err := b.open("d", 0, opts...); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", opt, err, want)
		}
	}
	n, err := b.open("d", formats.NoIO)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.ReadAt(context.Background(), make([]byte, 512), 0); err == nil {
		t.Error("data is read without a key")
	}
	if n.Size() != 1<<20 {
		t.Errorf("size %d", n.Size())
	}
}

func TestDetachedHeader(t *testing.T) {
	b, ctx := newBench(t), context.Background()
	if err := b.create("head", "key-secret=s,iter-time=1,detached-header=on", 1<<20); err != nil {
		t.Fatal(err)
	}
	if n := len(b.store.Bytes("head")); n != 2068480 {
		t.Errorf("the header has %d bytes", n)
	}
	b.store.Put("data", make([]byte, 64<<10))
	opts := []string{"key-secret=s", "header.driver=store", "header.filename=" + formatstest.Name("head")}
	n, err := b.open("data", formats.ReadWrite, opts...)
	if err != nil {
		t.Fatal(err)
	}
	mark := []byte("in the middle")
	if err := n.WriteAt(ctx, mark, 1000, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.amend(n, "state=active,new-secret=n,iter-time=1", false); err != nil {
		t.Errorf("amend: %v", err)
	}
	want := `json:{"header": {"driver": "store", "filename": "store:head"}, "driver": "luks", ` +
		`"file": {"driver": "store", "filename": "store:data"}, "key-secret": "s"}`
	if got := n.Filename(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	opts[0] = "key-secret=n"
	if n, err = b.open("data", 0, opts...); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	got := make([]byte, len(mark))
	if err := n.ReadAt(ctx, got, 1000); err != nil || !bytes.Equal(got, mark) || n.Size() != 64<<10 {
		t.Errorf("%q, %v, size %d", got, err, n.Size())
	}
	if bytes.Contains(b.store.Bytes("data"), mark) {
		t.Error("the data is stored as it is")
	}
	if _, err := b.open("data", 0, "key-secret=s"); err == nil || err.Error() != "Volume is not in LUKS format" {
		t.Errorf("without the header: %v", err)
	}
	if _, err := b.open("data", 0, "key-secret=s", "header.driver=store", "header.filename="+formatstest.Name("none")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("with an absent header: %v", err)
	}
}

func TestAmendRefusals(t *testing.T) {
	b := newBench(t)
	if err := b.create("d", "key-secret=s,iter-time=1", 1<<20); err != nil {
		t.Fatal(err)
	}
	n, err := b.open("d", formats.ReadWrite, "key-secret=s")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	before := b.store.Bytes("d")
	for options, want := range map[string]string{
		"new-secret=n":                           "Parameter 'state' is missing",
		"state=bad":                              "Parameter 'state' does not accept value 'bad'",
		"state=active":                           "'new-secret' is required to activate a keyslot",
		"state=active,new-secret=zz":             "No secret with id 'zz'",
		"state=active,new-secret=n,keyslot=0":    "Refusing to overwrite active keyslot 0 - please erase it first",
		"state=active,new-secret=n,keyslot=9":    "Invalid keyslot 9 specified, must be between 0 and 7",
		"state=active,new-secret=n,old-secret=s": "'old-secret' must not be given when activating keyslots",
		"state=inactive,old-secret=n":            "No keyslots match given (old) password for erase operation",
		"state=inactive,keyslot=0,iter-time=3":   "'iter-time' must not be given when erasing keyslots",
		"state=inactive,keyslot=0": "Attempt to erase the only active keyslot 0 which will erase all the data in the " +
			"image irreversibly - refusing operation",
	} {
		if err := b.amend(n, options, false); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", options, err, want)
		}
	}
	if !bytes.Equal(before, b.store.Bytes("d")) {
		t.Error("a refused amend changed the file")
	}
	if err := b.amend(n, "state=inactive,keyslot=0", true); err != nil {
		t.Errorf("forced: %v", err)
	}
	if _, err := b.open("d", 0, "key-secret=s"); err == nil {
		t.Error("an erased slot opens")
	}
}

func TestDamage(t *testing.T) {
	head := append([]byte("LUKS\xba\xbe\x00\x01"), make([]byte, 600)...)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty": {nil, "Volume is not in LUKS format"},
		"magic": {head[:8], "LUKS payload is overlapping with the header"},
		"short": {head, "LUKS payload is overlapping with the header"},
	} {
		b := newBench(t)
		b.store.Put("d", c.data)
		if _, err := b.open("d", formats.NoIO); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	b := newBench(t)
	if err := b.create("d", "key-secret=s,iter-time=1", 1<<20); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{2000000: "Could not refresh total sector count: Input/output error", 2068480: ""} {
		b.store.Put("cut", b.store.Bytes("d")[:n])
		d, err := b.open("cut", 0, "key-secret=s")
		if err == nil {
			d.Close()
		}
		if fmt.Sprint(err) != want && (want != "" || err != nil) {
			t.Errorf("cut to %d: %v, want %q", n, err, want)
		}
	}
}

func TestMeasure(t *testing.T) {
	b := newBench(t)
	for options, want := range map[string]int64{"key-secret=s": 2068480 + 1000, "key-secret=s,cipher-alg=aes-128": 1053672} {
		v, err := luks.Driver().CreateOpts.Parse(options)
		if err != nil {
			t.Fatal(err)
		}
		m, err := luks.Driver().Measure(context.Background(), formats.MeasureArgs{Options: v, Size: 1000, Env: b.env.Env})
		if err != nil || m.Required != want || m.FullyAllocated != want {
			t.Errorf("%s: %+v, %v; want %d", options, m, err, want)
		}
	}
	_, err := luks.Driver().Measure(context.Background(), formats.MeasureArgs{Options: &option.Values{}, Env: b.env.Env})
	if err == nil || err.Error() != "Parameter 'key-secret' is required for cipher" {
		t.Errorf("without a secret: %v", err)
	}
}

func TestTruncate(t *testing.T) {
	b, ctx := newBench(t), context.Background()
	if err := b.create("d", "key-secret=s,iter-time=1,preallocation=full", 1<<20); err != nil {
		t.Fatal(err)
	}
	n, err := b.open("d", formats.ReadWrite|formats.Resize, "key-secret=s")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.Truncate(ctx, 2<<20, formats.PreallocOff); err != nil || len(b.store.Bytes("d")) != 2068480+2<<20 {
		t.Errorf("%v, %d bytes", err, len(b.store.Bytes("d")))
	}
	err = n.Truncate(ctx, 1<<63-512, formats.PreallocOff)
	if !errors.Is(err, syscall.EFBIG) || err.Error() != "The requested file size is too large" {
		t.Errorf("too large: %v", err)
	}
}
