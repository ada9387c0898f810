package luks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/all"
	"platter/formats/luks"
	"platter/formats/qerr"
	"platter/formats/qobj"
	"platter/integration/programs"
)

// tool finds a program of the stock tools, or skips.
func tool(t testing.TB, name string) string {
	t.Helper()
	return programs.StockPath(t, name)
}

func objects() []string {
	var args []string
	for id, data := range secrets {
		args = append(args, "--object", "secret,id="+id+",data="+data)
	}
	return args
}

// stock runs a stock tool's verb with the secrets; it must succeed.
func stock(t testing.TB, verb string, args ...string) string {
	t.Helper()
	out, err := exec.Command(tool(t, "qemu-img"), append(append([]string{verb}, objects()...), args...)...).Output()
	if err != nil {
		t.Fatalf("%s %s: %v", verb, strings.Join(args, " "), err)
	}
	return string(out)
}

func run(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

func hostEnv(t testing.TB) *chain.Env {
	return &chain.Env{Registry: all.Registry(), Env: &formats.Env{
		Secret: func(id string) ([]byte, error) {
			if v, ok := secrets[id]; ok {
				return []byte(v), nil
			}
			return nil, qerr.New(syscall.ENOENT, "No secret with id '%s'", id)
		},
		Warn: t.Logf, Report: t.Logf,
	}}
}

func createFile(t testing.TB, name, options string, size int64) {
	t.Helper()
	env, drv := hostEnv(t), luks.Driver()
	schema, err := chain.CreateSchema(env, drv, name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := schema.Parse(options)
	if err != nil {
		t.Fatal(err)
	}
	err = chain.Create(context.Background(), env, chain.CreateRequest{Filename: name, Driver: drv, Options: v, Size: size})
	if err != nil {
		t.Fatalf("create -o %s: %v", options, err)
	}
}

func openFile(t testing.TB, name string, flags formats.OpenFlags, opts ...string) *chain.Node {
	t.Helper()
	d := qobj.NewDict()
	for _, o := range opts {
		k, v, _ := strings.Cut(o, "=")
		d.Set(k, v)
	}
	n, err := chain.Open(context.Background(), hostEnv(t), chain.Request{Filename: name, Format: "luks", Options: d, Flags: flags})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// noise makes content that no two sectors of share.
func noise(n int) []byte {
	p := make([]byte, n)
	x := uint32(1)
	for i := range p {
		x = x*1664525 + 1013904223
		p[i] = byte(x >> 24)
	}
	return p
}

func contentOf(t testing.TB, n formats.File) []byte {
	t.Helper()
	p := make([]byte, n.Size())
	for off, step := int64(0), int64(2<<20+512+7); off < n.Size(); off += step {
		if err := n.ReadAt(context.Background(), p[off:min(off+step, n.Size())], off); err != nil {
			t.Fatalf("read at %d: %v", off, err)
		}
	}
	return p
}

// A new container has stock's bytes but for what is random or measured: digest, salts, counts, UUID, key material.
// Stock measures the processor for some seconds at each; PLATTER_LONG tries them all.
func TestCreateAsStock(t *testing.T) {
	dir, list := t.TempDir(), []string{
		"preallocation=full",
		"",
		"preallocation=metadata",
		"cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,hash-alg=sha1",
		"cipher-alg=twofish-256,ivgen-alg=plain,ivgen-hash-alg=md5,hash-alg=ripemd160",
		"cipher-alg=serpent-128,cipher-mode=ctr,hash-alg=sha512",
		"cipher-alg=cast5-128,cipher-mode=cbc,hash-alg=sm3",
	}
	if os.Getenv("PLATTER_LONG") == "" {
		list = list[:1]
	}
	for _, o := range list {
		options := strings.TrimSuffix("key-secret=s,iter-time=1,"+o, ",")
		ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
		createFile(t, ours, options, 1<<20)
		stock(t, "create", "-q", "-f", "luks", "-o", options, theirs, "1M")
		openFile(t, theirs, 0, "key-secret=s").Close()
		a, errA := os.ReadFile(ours)
		b, errB := os.ReadFile(theirs)
		if errA != nil || errB != nil || len(a) != len(b) {
			t.Errorf("%s: %d bytes, stock makes %d", o, len(a), len(b))
			continue
		}
		for _, p := range [][]byte{a, b} {
			clear(p[112:208]) // digest, its salt and count, UUID
			clear(p[212:248]) // count and salt of slot 0
			clear(p[4096:262144])
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s: other bytes than stock's", o)
		}
		sa, sb := usage(t, ours), usage(t, theirs)
		if strings.HasPrefix(o, "preallocation=full") && sa != sb {
			t.Errorf("%s: %d blocks allocated, stock has %d", o, sa, sb)
		}
	}
}

func usage(t testing.TB, name string) int64 {
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks
}

func imageOpts(name, secret string) string {
	return "driver=luks,key-secret=" + secret + ",file.filename=" + name
}

// What is written here, stock reads; what stock writes, is read here.
func TestDataBothWays(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	want := noise(5<<20 + 512)
	ours, raw := filepath.Join(dir, "ours"), filepath.Join(dir, "raw")
	createFile(t, ours, "key-secret=s,iter-time=1", int64(len(want)))
	n := openFile(t, ours, formats.ReadWrite, "key-secret=s")
	if err := n.WriteAt(ctx, want[:3<<20+1], 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := n.WriteAt(ctx, want[3<<20+1:], 3<<20+1, formats.FUA); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	stock(t, "convert", "--image-opts", imageOpts(ours, "s"), "-O", "raw", raw)
	if got, err := os.ReadFile(raw); err != nil || !bytes.Equal(got, want) {
		t.Errorf("stock reads something else (%v)", err)
	}
	for i := range want {
		want[i] ^= 0x55
	}
	if err := os.WriteFile(raw, want, 0o600); err != nil {
		t.Fatal(err)
	}
	stock(t, "convert", "-n", "-f", "raw", raw, "--target-image-opts", imageOpts(ours, "s"))
	run(t, "", tool(t, "qemu-io"), append(objects(), "--image-opts", imageOpts(ours, "s"), "-c", "write -P 7 70000 100000")...)
	copy(want[70000:], bytes.Repeat([]byte{7}, 100000))
	n = openFile(t, ours, 0, "key-secret=s")
	defer n.Close()
	if got := contentOf(t, n); !bytes.Equal(got, want) {
		t.Error("what stock writes reads as something else")
	}
}

// The format's part of info is stock's, without a key.
func TestInfoAsStock(t *testing.T) {
	dir := t.TempDir()
	for _, o := range []string{"", ",cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256"} {
		name := filepath.Join(dir, "d")
		createFile(t, name, "key-secret=s,iter-time=1"+o, 1<<20)
		var info struct {
			Encrypted bool
			Specific  struct{ Data json.RawMessage } `json:"format-specific"`
		}
		if err := json.Unmarshal([]byte(stock(t, "info", "-f", "luks", "--output=json", name)), &info); err != nil {
			t.Fatal(err)
		}
		n := openFile(t, name, formats.NoIO)
		d, _ := formats.As[formats.Describer](n)
		_, specific, err := d.Specific(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		json.Compact(&want, info.Specific.Data)
		got := bytes.Buffer{}
		json.Compact(&got, qobj.AppendJSON(nil, specific, false))
		if got.String() != want.String() {
			t.Errorf("%s\nstock says\n%s", got.String(), want.String())
		}
		n.Close()
	}
}

// Slots that are changed by one are seen by the other.
func TestAmendBothWays(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "d")
	createFile(t, name, "key-secret=s,iter-time=1", 1<<20)
	b := &bench{T: t, env: hostEnv(t)}
	n := openFile(t, name, formats.ReadWrite, "key-secret=s")
	for _, o := range []string{"state=active,new-secret=n,iter-time=1,keyslot=3", "state=inactive,old-secret=s"} {
		if err := b.amend(n, o, false); err != nil {
			t.Fatal(err)
		}
	}
	n.Close()
	stock(t, "amend", "--image-opts", imageOpts(name, "n"), "-o", "state=active,new-secret=w,iter-time=1")
	stock(t, "amend", "--image-opts", imageOpts(name, "w"), "-o", "state=inactive,keyslot=3")
	openFile(t, name, 0, "key-secret=w").Close()
	for _, id := range []string{"s", "n"} {
		d := qobj.NewDict()
		d.Set("key-secret", id)
		_, err := chain.Open(context.Background(), hostEnv(t), chain.Request{Filename: name, Format: "luks", Options: d})
		if err == nil || err.Error() != "Invalid password, cannot unlock any keyslot" {
			t.Errorf("an erased passphrase: %v", err)
		}
	}
}

// Stock reads through a detached header that was made here.
func TestDetachedAsStock(t *testing.T) {
	dir := t.TempDir()
	head, data, raw := filepath.Join(dir, "head"), filepath.Join(dir, "data"), filepath.Join(dir, "raw")
	createFile(t, head, "key-secret=s,iter-time=1,detached-header=on", 1<<20)
	want := noise(1 << 20)
	if err := os.WriteFile(data, make([]byte, len(want)), 0o600); err != nil {
		t.Fatal(err)
	}
	n := openFile(t, data, formats.ReadWrite, "key-secret=s", "header.filename="+head)
	if err := n.WriteAt(context.Background(), want, 0, 0); err != nil {
		t.Fatal(err)
	}
	n.Close()
	stock(t, "convert", "--image-opts", imageOpts(data, "s")+",header.filename="+head, "-O", "raw", raw)
	if got, err := os.ReadFile(raw); err != nil || !bytes.Equal(got, want) {
		t.Errorf("stock reads something else (%v)", err)
	}
}
