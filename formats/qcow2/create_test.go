package qcow2_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/chain"
)

// createHere makes an image with our driver, in directory dir.
func createHere(t testing.TB, name, list string, size int64) error {
	t.Helper()
	e := env(nil)
	drv := e.Registry.Find("qcow2")
	schema, err := chain.CreateSchema(e, drv, name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := schema.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return chain.Create(context.Background(), e, chain.CreateRequest{Filename: name, Driver: drv, Options: v, Size: size})
}

// fastDir is a directory for a test, in memory where there is room: both programs force new images to the disk.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "qcow2-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// createBoth makes the same image with both programs and compares files, or messages.
func createBoth(t *testing.T, list string, size int64) {
	t.Helper()
	t.Chdir(fastDir(t))
	args := []string{"create", "-q", "-f", "qcow2", "-u", "--object", "secret,id=s,data=secret"}
	if list != "" {
		args = append(args, "-o", list)
	}
	out, err := tryStock(t, "qemu-img", append(args, "a.qcow2", fmt.Sprint(size))...)
	files := map[string][]byte{}
	for _, name := range []string{"a.qcow2", "data"} {
		files[name], _ = os.ReadFile(name)
		os.Remove(name)
	}
	own := createHere(t, "a.qcow2", list, size)
	if err != nil {
		want := strings.TrimPrefix(strings.TrimSpace(out), "qemu-img: a.qcow2: ")
		if strings.HasPrefix(want, "The image size is too large") { // the tool's words for this errno
			if !errors.Is(own, syscall.EFBIG) {
				t.Errorf("error %q, want EFBIG", own)
			}
			return
		}
		if own == nil || own.Error() != want {
			t.Errorf("error %q, want %q", own, want)
		}
		return
	}
	if own != nil {
		t.Fatalf("%v, stock makes it", own)
	}
	for name, want := range files {
		got, _ := os.ReadFile(name)
		compareFiles(t, name, got, want)
	}
}

// blankKeys takes random salts, digests, iteration counts, the UUID and key material out of an image with a LUKS header.
func blankKeys(b []byte) []byte {
	be := binary.BigEndian
	if len(b) < 112 || be.Uint32(b) != 0x514649fb || be.Uint32(b[32:]) != 2 {
		return b
	}
	at := 72
	if be.Uint32(b[4:]) >= 3 {
		at = int(be.Uint32(b[100:]))
	}
	for be.Uint32(b[at:]) != 0x0537be77 {
		at += 8 + int(be.Uint32(b[at+4:])+7)&^7
	}
	h := b[be.Uint64(b[at+8:]):]
	clear(h[112:208]) // digest, salt, iterations, UUID
	for slot := range 8 {
		clear(h[208+48*slot+4:][:36])
	}
	material := int(be.Uint32(h[248:])) * 512
	clear(h[material:][:be.Uint32(h[108:])*be.Uint32(h[252:])])
	return b
}

func compareFiles(t *testing.T, name string, got, want []byte) {
	t.Helper()
	got, want = blankKeys(got), blankKeys(want)
	if bytes.Equal(got, want) {
		return
	}
	if len(got) != len(want) {
		t.Errorf("%s has %d bytes, want %d", name, len(got), len(want))
	}
	for k := range min(len(got), len(want)) {
		if got[k] != want[k] {
			t.Errorf("%s differs from %#x on: %x, want %x", name, k, got[k&^7:min(k&^7+16, len(got))], want[k&^7:min(k&^7+16, len(want))])
			return
		}
	}
}

func TestCreatedFilesAreStocks(t *testing.T) {
	oracleTool(t, "qemu-img")
	single := []string{"", "cluster_size=512", "cluster_size=4k", "cluster_size=8k", "cluster_size=2M", "compat=0.10", "compat=v3",
		"refcount_bits=1", "refcount_bits=8", "refcount_bits=64", "lazy_refcounts=on", "extended_l2=on",
		"extended_l2=on,cluster_size=16k", "preallocation=metadata", "preallocation=falloc", "preallocation=full",
		"data_file=data", "data_file=data,data_file_raw=on", "compression_type=zstd",
		"backing_file=base,backing_fmt=raw", "encrypt.format=aes,encrypt.key-secret=s", "encryption=on,encrypt.key-secret=s"}
	for a, first := range single {
		for b, second := range single[a:] {
			if b > 0 && (a+b)%4 != 0 && os.Getenv("PLATTER_LONG") == "" {
				continue // a quarter of the pairs, to be quick; PLATTER_LONG=1 tries them all
			}
			list := first
			if second != first && second != "" {
				list = strings.Trim(first+","+second, ",")
			}
			t.Run(list, func(t *testing.T) { createBoth(t, list, 3<<20+512) })
		}
	}
}

// TestLUKSCreatedFilesAreStocks compares encrypted images with each other option: all bytes but the random ones.
func TestLUKSCreatedFilesAreStocks(t *testing.T) {
	oracleTool(t, "qemu-img")
	for k, list := range []string{"cluster_size=512", "", "cluster_size=4k", "cluster_size=2M", "compat=0.10", "compression_type=zstd",
		"data_file=data", "data_file=data,data_file_raw=on", "encrypt.cipher-alg=aes-128", "encrypt.cipher-alg=serpent-256",
		"encrypt.cipher-alg=twofish-256", "encrypt.cipher-mode=cbc", "encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv",
		"encrypt.ivgen-alg=plain", "encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256", "encrypt.ivgen-hash-alg=sha1",
		"encrypt.hash-alg=sha1", "encrypt.hash-alg=sha512", "extended_l2=on", "lazy_refcounts=on", "preallocation=metadata",
		"preallocation=falloc", "preallocation=full", "refcount_bits=1", "refcount_bits=64", "backing_file=base,backing_fmt=raw"} {
		if k > 0 && os.Getenv("PLATTER_LONG") == "" {
			continue // both programs take a second or more to make keys; PLATTER_LONG=1 tries all
		}
		t.Run(list, func(t *testing.T) {
			createBoth(t, strings.TrimSuffix("encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10,"+list, ","), 3<<20+512)
		})
	}
}

func TestCreatedSizes(t *testing.T) {
	oracleTool(t, "qemu-img")
	for _, c := range []struct {
		list string
		size int64
	}{{"", 0}, {"", 512}, {"", 1 << 40}, {"cluster_size=512", 200 << 20}, {"cluster_size=512,refcount_bits=64,preallocation=metadata", 20 << 20},
		{"cluster_size=512,preallocation=metadata", 40 << 20}, {"cluster_size=512,preallocation=falloc", 40 << 20},
		{"cluster_size=4k,preallocation=metadata", 300 << 20}, {"cluster_size=16k,preallocation=metadata", 200 << 20}, {"cluster_size=512", 1 << 42},
		{"cluster_size=1k,refcount_bits=64,preallocation=falloc", 30 << 20}, {"data_file=data,preallocation=falloc", 1 << 20},
		{"extended_l2=on,preallocation=metadata", 100 << 20}} {
		t.Run(fmt.Sprintf("%s_%d", c.list, c.size), func(t *testing.T) { createBoth(t, c.list, c.size) })
	}
}

func TestCreateRefuses(t *testing.T) {
	oracleTool(t, "qemu-img")
	for _, list := range []string{"compat=1.2", "preallocation=foo", "compression_type=lzo", "refcount_bits=3", "refcount_bits=128",
		"cluster_size=3000", "cluster_size=256", "cluster_size=4M", "extended_l2=on,cluster_size=8k", "refcount_bits=0",
		"data_file_raw=on", "backing_fmt=raw", "encrypt.format=foo", "encrypt.format=luks", "encrypt.format=aes", "encryption=on",
		"encryption=on,encrypt.format=aes", "encrypt.key-secret=s", "encrypt.format=aes,encrypt.cipher-alg=aes-256,encrypt.key-secret=s",
		"encrypt.format=luks,encrypt.key-secret=s,encrypt.cipher-alg=foo", "encrypt.format=luks,encrypt.key-secret=s,encrypt.hash-alg=foo",
		"backing_file=" + strings.Repeat("x", 1024) + ",backing_fmt=raw",
		"cluster_size=512,backing_fmt=raw,backing_file=" + strings.Repeat("x", 500)} {
		t.Run(list[:min(len(list), 60)], func(t *testing.T) { createBoth(t, list, 1<<20) })
	}
}

func TestLUKSCreatedHereOpensInStock(t *testing.T) {
	oracleTool(t, "qemu-img")
	t.Chdir(fastDir(t))
	const list = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
	if err := createHere(t, "a.qcow2", list, 4<<20); err != nil {
		t.Fatal(err)
	}
	stock(t, "qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=secret", "-o", list, "b.qcow2", "4M")
	a, _ := os.Stat("a.qcow2")
	b, _ := os.Stat("b.qcow2")
	if a.Size() != b.Size() {
		t.Errorf("%d bytes, stock's has %d", a.Size(), b.Size())
	}
	for _, name := range []string{"a.qcow2", "b.qcow2"} {
		stock(t, "qemu-io", "--object", "secret,id=s,data=secret", "--image-opts", "-c", "write -P 7 1M 200k",
			"driver=qcow2,encrypt.format=luks,encrypt.key-secret=s,file.filename="+name)
		n, err := chain.Open(context.Background(), env(nil), chain.Request{Filename: `json:{"driver":"qcow2","encrypt.key-secret":"s",` +
			`"file.filename":"` + filepath.Join(".", name) + `"}`})
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, 4<<20)
		copy(want[1<<20:], bytes.Repeat([]byte{7}, 200<<10))
		mustEqual(t, content(t, n), want)
		n.Close()
	}
}

// TestMetadataTakesNoSpace: beyond the first refcount block, too, preallocated metadata leaves the data area a hole.
func TestMetadataTakesNoSpace(t *testing.T) {
	t.Chdir(fastDir(t))
	for list, size := range map[string]string{"preallocation=metadata": "7G", "preallocation=metadata,cluster_size=4k": "50M"} {
		stock(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", list, "stock.qcow2", size)
		var st [2]syscall.Stat_t
		n := openFile(t, "stock.qcow2", 0)
		err := createHere(t, "ours.qcow2", list, n.Size())
		n.Close()
		for k, name := range []string{"stock.qcow2", "ours.qcow2"} {
			err = errors.Join(err, syscall.Stat(name, &st[k]))
		}
		if err != nil {
			t.Fatal(err)
		}
		if st[1].Size != st[0].Size || st[1].Blocks > st[0].Blocks+st[0].Blocks/10 {
			t.Errorf("%s: ours is %d bytes long and takes %d blocks, stock's %d and %d", list, st[1].Size, st[1].Blocks, st[0].Size, st[0].Blocks)
		}
		mustClean(t, "ours.qcow2")
	}
}
