package qcow2_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/qcow2"
	"platter/formats/raw"
	"platter/integration/programs"
)

// layouts are what the suite runs over: cluster sizes x refcount widths x extended L2 x data file x encryption, the
// combinations that lead through different code.
var layouts = []struct {
	name, options string
	runtime       map[string]string
	size          int64
}{
	{"default", "", nil, 0},
	{"512", "cluster_size=512", nil, 600<<10 + 512},
	{"512-64bit", "cluster_size=512,refcount_bits=64", nil, 600 << 10},
	{"4k-1bit", "cluster_size=4k,refcount_bits=1", nil, 0},
	{"2M", "cluster_size=2M,refcount_bits=8", nil, 7 << 20},
	{"v2", "compat=0.10,cluster_size=4k", nil, 0},
	{"extended", "extended_l2=on", nil, 0},
	{"extended-16k", "extended_l2=on,cluster_size=16k,refcount_bits=32", nil, 0},
	{"lazy", "lazy_refcounts=on,cluster_size=4k", nil, 0},
	{"metadata", "preallocation=metadata,cluster_size=4k", nil, 0},
	{"falloc", "preallocation=falloc", nil, 0},
	{"no-unref", "cluster_size=4k", map[string]string{"discard-no-unref": "on"}, 0},
	{"small-cache", "cluster_size=1k", map[string]string{"l2-cache-size": "1k", "l2-cache-entry-size": "512",
		"refcount-cache-size": "4k", "overlap-check": "all"}, 0},
	{"data-file", "data_file=store:data", nil, 0},
	{"data-file-raw", "data_file=store:data,data_file_raw=on", nil, 0},
	{"luks", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1", map[string]string{"encrypt.key-secret": "s"}, 0},
	{"aes", "encrypt.format=aes,encrypt.key-secret=s,cluster_size=4k", map[string]string{"encrypt.key-secret": "s"}, 0},
}

func TestSuite(t *testing.T) {
	t.Parallel()
	for k, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			if k%3 != 0 && os.Getenv("PLATTER_LONG") == "" {
				t.Skip("a third of the layouts is enough for every day; PLATTER_LONG=1 runs all")
			}
			formatstest.Run(t, formatstest.Subject{
				Drivers: []*formats.Driver{raw.Driver(), qcow2.Driver()}, Format: "qcow2",
				Options: l.options, Runtime: l.runtime, Size: l.size,
				Secrets:  map[string]string{"s": "secret"},
				Verify:   stockVerify(l.options),
				Recovers: strings.Contains(l.options, "lazy"),
			})
		})
	}
}

// stockVerify has stock check look at images, a few of each test, because starting it takes time.
func stockVerify(options string) func(t *testing.T, s *formatstest.Store, base string) {
	count, key := 0, ""
	_, missing := programs.Stock("qemu-img")
	if strings.Contains(options, "encrypt") {
		key = ",encrypt.key-secret=s"
	}
	return func(t *testing.T, s *formatstest.Store, base string) {
		count++
		if strings.Contains(options, "data_file") || count%16 != 1 || missing != nil {
			return
		}
		name := filepath.Join(fastDir(t), "a.qcow2")
		if err := os.WriteFile(name, s.Bytes(base), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := tryStock(t, "qemu-img", "check", "--object", "secret,id=s,data=secret", "--image-opts",
			"driver=qcow2,file.filename="+name+key)
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) { // 3: nothing but leaks
			t.Errorf("stock check: %v\n%s", err, out)
		}
	}
}
