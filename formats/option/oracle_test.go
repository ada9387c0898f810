package option_test

import (
	"os/exec"
	"strings"
	"testing"

	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
	"platter/integration/programs"
)

// qemuImg returns a function that runs stock qemu-img in an empty folder and gives its stdout and stderr.
func qemuImg(t *testing.T) func(args ...string) (stdout, stderr string) {
	t.Helper()
	bin := programs.StockPath(t, "qemu-img")
	dir := t.TempDir()
	return func(args ...string) (string, string) {
		var stdout, stderr strings.Builder
		cmd := exec.Command(bin, args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
		if err := cmd.Run(); err != nil && stderr.Len() == 0 {
			t.Fatalf("qemu-img %q: %v", args, err)
		}
		return stdout.String(), stderr.String()
	}
}

// protocol holds the create options of plain files.
var protocol = option.Schema{
	{Name: "size", Type: option.Size, Help: "Virtual disk size"},
	{Name: "nocow", Type: option.Bool, Help: "Turn off copy-on-write (valid only on btrfs)"},
	{Name: "preallocation", Help: "Preallocation mode (allowed values: off, falloc, full)"},
	{Name: "extent_size_hint", Type: option.Size, Help: "Extent size hint for the image file, 0 to disable"},
}

// rich is qcow2's set of create options: all types, defaults, dotted names.
var rich = option.Schema{
	{Name: "encryption", Type: option.Bool,
		Help: "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)"},
	{Name: "encrypt.format", Help: "Encrypt the image, format choices: 'aes', 'luks'"},
	{Name: "encrypt.key-secret", Help: "ID of secret providing qcow AES key or LUKS passphrase"},
	{Name: "encrypt.cipher-alg", Help: "Name of encryption cipher algorithm"},
	{Name: "encrypt.cipher-mode", Help: "Name of encryption cipher mode"},
	{Name: "encrypt.ivgen-alg", Help: "Name of IV generator algorithm"},
	{Name: "encrypt.ivgen-hash-alg", Help: "Name of IV generator hash algorithm"},
	{Name: "encrypt.hash-alg", Help: "Name of encryption hash algorithm"},
	{Name: "encrypt.iter-time", Type: option.Number, Help: "Time to spend in PBKDF in milliseconds"},
	{Name: "cluster_size", Type: option.Size, Help: "qcow2 cluster size", Default: "65536"},
	{Name: "extended_l2", Type: option.Bool, Help: "Extended L2 tables", Default: "off"},
	{Name: "preallocation", Help: "Preallocation mode (allowed values: off, metadata, falloc, full)"},
	{Name: "compression_type", Help: "Compression method used for image cluster compression", Default: "zlib"},
	{Name: "size", Type: option.Size, Help: "Virtual disk size"},
	{Name: "compat", Help: "Compatibility level (v2 [0.10] or v3 [1.1])"},
	{Name: "backing_file", Help: "File name of a base image"},
	{Name: "backing_fmt", Help: "Image format of the base image"},
	{Name: "data_file", Help: "File name of an external data file"},
	{Name: "data_file_raw", Type: option.Bool, Help: "The external data file must stay valid as a raw image"},
	{Name: "lazy_refcounts", Type: option.Bool, Help: "Postpone refcount updates", Default: "off"},
	{Name: "refcount_bits", Type: option.Number, Help: "Width of a reference count entry in bits", Default: "16"},
}

func TestOracleHelp(t *testing.T) {
	run := qemuImg(t)
	alone, _ := run("create", "-f", "qcow2", "-o", "help")
	if got := rich.HelpText("Supported qcow2 options"); !strings.HasPrefix(alone, got+"\n") {
		t.Errorf("got\n%s\nstock prints\n%s", got, alone)
	}
	merged, _ := run("create", "-f", "qcow2", "-o", "help", "x", "1M")
	if got := option.Merge(rich, protocol).HelpText("Supported options"); got != merged {
		t.Errorf("got\n%s\nstock prints\n%s", got, merged)
	}
}

// TestOracleLists compares, for each list, the error or the Formatting line that stock answers with.
func TestOracleLists(t *testing.T) {
	run := qemuImg(t)
	schema := option.Merge(rich, protocol)
	for _, list := range []string{
		"foo", "foo=1", "cluster_size", "cluster_size=", "cluster_size=x", "cluster_size=64k,,lazy_refcounts=on", "cluster_size=-1",
		"cluster_size=16E", "cluster_size=1.5k", "cluster_size=18446744073709551615", "cluster_size=64k,cluster_size=128k",
		"cluster_size=64k,cluster_size=x", "lazy_refcounts", "lazy_refcounts=", "nolazy_refcounts", "lazy_refcounts=yes",
		"lazy_refcounts=true", "lazy_refcounts=y", "lazy_refcounts=no", "lazy_refcounts=false", "lazy_refcounts=n",
		"lazy_refcounts=On", "lazy_refcounts=1", "refcount_bits=", "refcount_bits=x", "refcount_bits=-16", "refcount_bits=0x10",
		"refcount_bits=020", "refcount_bits=16k", "refcount_bits=99999999999999999999", "refcount_bits=99999999999999999999x",
		"refcount_bits= 16", "refcount_bits=+16", "refcount_bits=-1", "refcount_bits=08", "refcount_bits=0x", "refcount_bits=0x1g",
		"refcount_bits=-99999999999999999999", "refcount_bits=-0x10", "refcount_bits=18446744073709551615",
		"refcount_bits=-18446744073709551615", "refcount_bits=\t16", "refcount_bits=16 ", "refcount_bits=0b11", "refcount_bits=++1",
		"refcount_bits=1_6", "refcount_bits=00", "refcount_bits=02000000000000000000000", "id=foo", "id=", "noid", "nofoo", "no",
		"no=1", "=x", "=", "a=b=c", "preallocation=a,,b", "backing_fmt=a,,b,preallocation=off", "help=1", "?=1", "nohelp",
		"preallocation", "nocow=on,extent_size_hint=1M", "a,,", "a,,,b", "a=,,", "a,=", "encrypt.format=luks,encrypt.iter-time=-1",
		"lazy_refcounts=on,compat=v3,encryption=off", "data_file_raw=maybe", "compression_type=zstd,,,cluster_size=4k",
	} {
		stdout, stderr := run("create", "-f", "qcow2", "-o", list, "t", "1M")
		v, err := schema.Parse(list)
		if err != nil {
			if got := "qemu-img: t: " + err.Error() + "\n" + qerr.Hint(err); got != stderr {
				t.Errorf("%q: %q, stock says %q", list, got, stderr)
			}
			continue
		}
		if err := v.Set(schema, "size", "1048576"); err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSuffix(strings.TrimPrefix(stdout, "Formatting 't', fmt=qcow2 "), "\n")
		if got := option.FormatLine(schema, v); got != want {
			t.Errorf("%q:\n%s, stock prints\n%s%s", list, got, want, stderr)
		}
	}
}

// TestOracleSizes compares with the size that stock prints before it creates the file, or its error.
func TestOracleSizes(t *testing.T) {
	run := qemuImg(t)
	schema := protocol[:1]
	for _, text := range sizes {
		stdout, stderr := run("create", "-f", "raw", "-o", "size="+text, "t")
		v, err := schema.Parse("size=" + text)
		if err != nil {
			if got := "qemu-img: t: " + err.Error() + "\n" + qerr.Hint(err); got != stderr {
				t.Errorf("%q: %q, stock says %q", text, got, stderr)
			}
			continue
		}
		want := strings.TrimSuffix(strings.TrimPrefix(stdout, "Formatting 't', fmt=raw "), "\n")
		if got := option.FormatLine(schema, v); got != want {
			t.Errorf("%q: %s, stock prints %s%s", text, got, want, stderr)
		}
	}
}

var sizes = []string{
	"0", "1", "512", "1k", "1K", "1M", "1g", "1b", "1B", "0.7k", "0.3k", "1.9999999999999999G", "0.00048828125k", "0.0004k",
	"0.00146484375k", "1.0000000000000001B", "1.0B", "1.00", "0x1p5", "0x1P", "0x1e", "0x1E", "0x1t", "0x1K", "0x10", "0X1f",
	"1.5E", "15.9E", "15.99999999999999999999E", "15.999999999999999E", "16E", "16.5E", "+ 1", "+1.5k", "-1k", "-", "+", "-1",
	"1.0000000000000000000001k", "0.0.5k", "0x", "0xk", "0xg", "0x1.", "x", "1.e", "1.5e1", "0.k", "00k", "", " ", "1 k", "- 1",
	"-0", "-.5k", "+.5k", ".5k", "+0x10", "-0x10", "1z", "99999999999999999999", "99999999999999999999z", "0x10000000000000000",
	"0x10000000000000000z", "0x1ffffffffffffffffk", "99999999999999999999k", "99999999999999999999.", "99999999999999999999.5k",
	"-0.5k", "-0.", "-1.0", "-99999999999999999999", "--1", "-+1", "+-1", "1.5 ", "0.0", "1.99999999999999999999999",
	"0." + strings.Repeat("0", 330) + "1b", "0." + strings.Repeat("0", 330) + "1k", "1.999999999999999999999999k",
	"18446744073709551615.9k", "18014398509481983.9999999k", "18014398509481983.9k", "17179869183.99999999999999999G",
	"18446744073709551614", "18446744073709551616", "18446744073709551615.999999999999999999999", "0x 1", "0x+1", "0x-1", "0x0x1",
	"00x1", ".0", ". 5k", ".+5k", ".1e2k", "1.1.k", "1..k", ".5.k", "0x.5", "0.5b", ".0b", ".", ".k", "\v\f\r 1k", "\u00a01", "1_0",
	"inf", "nan", "1e3", "16777216T", "16777215.99T", "1kk", "1KiB", "1\n", "-.", "-.0", "-.0k", "-.1", "-.1b", " -.5", "-.5.", "-0.1", "-1.", "+-.5",
	"0.5", "7.9999999999999999999E", "010",
}

func TestOracleValidLists(t *testing.T) {
	run := qemuImg(t)
	for _, list := range []string{
		"", ",", "a", "a,b", ",a", "a,", "a,,", ",,a", "a,,,b", "a,b,", ",,,", "a=,,", "a=b,,,", ",,", ",,,,", "a,,,,b", "a,,,,,b",
		"a=,b=", "a,=", "help,", ",help", "a,help", "a,?", "help,a", "?,,x", "help=x,help", "=,help", "help=1", "nohelp", "a=b,,help",
		"a=b,help", "a=?", "help,,", "?=", "a,,help",
	} {
		stdout, stderr := run("create", "-f", "raw", "-o", list, "t", "1M")
		if got, want := option.IsValidList(list), !strings.Contains(stderr, "Invalid option list"); got != want {
			t.Errorf("IsValidList(%q) = %v, stock says %q", list, got, stderr)
		} else if !got {
			continue
		}
		if got, want := option.HasHelp(list), strings.HasPrefix(stdout, "Supported"); got != want {
			t.Errorf("HasHelp(%q) = %v, stock says %q %q", list, got, stdout, stderr)
		}
	}
}

// TestOracleFromDict gives raw's runtime options as typed JSON values.
func TestOracleFromDict(t *testing.T) {
	run := qemuImg(t)
	run("create", "-q", "-f", "raw", "t", "1M")
	schema := option.Schema{{Name: "offset", Type: option.Size}, {Name: "size", Type: option.Size}}
	for _, pair := range []string{
		`"size":1.5`, `"size":true`, `"size":-1`, `"size":1e30`, `"size":"x"`, `"offset":false`, `"size":"16E"`, `"offset":"-0"`,
		`"size":null`, `"size":{}`, `"offset":[]`, `"size":512`, `"size":1.024e3`, `"offset":"0.5k"`, `"size":"1k","offset":"512"`,
	} {
		_, want := run("info", `json:{"driver":"raw","file.driver":"file","file.filename":"t",`+pair+"}")
		v, err := qobj.ParseJSON("{" + pair + `,"other":1}`)
		if err != nil {
			t.Fatal(err)
		}
		d := v.(*qobj.Dict)
		d.Flatten()
		_, err = option.FromDict(schema, d)
		switch {
		case err != nil && !strings.HasSuffix(want, "}': "+err.Error()+"\n"+qerr.Hint(err)):
			t.Errorf("%s: %v, stock says %q", pair, err, want)
		case err == nil && want != "":
			t.Errorf("%s: accepted, stock says %q", pair, want)
		case err == nil && (d.Len() != 1 || !d.Has("other")):
			t.Errorf("%s: left %q", pair, d.Keys())
		}
	}
}
