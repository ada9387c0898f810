package vmdk_test

import (
	"context"
	"strings"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/option"
	"platter/formats/raw"
	"platter/formats/vmdk"
)

func TestSuite(t *testing.T) {
	base := formatstest.Name("base.vmdk")
	for _, o := range []string{"", "zeroed_grain=on,compat6=on", "adapter_type=lsilogic,hwversion=7,toolsversion=10",
		"subformat=monolithicFlat", "backing_file=" + base + ",backing_fmt=vmdk"} {
		t.Run(o, func(t *testing.T) { formatstest.Run(t, subject(o)) })
	}
	vmdk.SplitAt(t, 1<<20) // four extents
	for _, o := range []string{"subformat=twoGbMaxExtentSparse,zeroed_grain=on", "subformat=twoGbMaxExtentFlat",
		"subformat=twoGbMaxExtentSparse,backing_file=" + base} {
		t.Run(o, func(t *testing.T) { formatstest.Run(t, subject(o)) })
	}
}

// subject is a disk, with a parent of zeroes if the options name one.
func subject(options string) formatstest.Subject {
	s := formatstest.Subject{Drivers: []*formats.Driver{raw.Driver(), vmdk.Driver()}, Format: "vmdk", Options: options}
	if !strings.Contains(options, "backing_file") {
		return s
	}
	s.Prepare = func(t testing.TB, env *chain.Env) {
		err := chain.Create(context.Background(), env, chain.CreateRequest{Filename: formatstest.Name("base.vmdk"),
			Driver: env.Registry.Find("vmdk"), Options: &option.Values{}, Size: 2 << 20})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestProbe(t *testing.T) {
	for text, want := range map[string]int{
		"KDMV": 100, "COWD\x01": 100, "KDM": 0, "": 0,
		"# Disk DescriptorFile\nversion=1\n":     100,
		"# a\n# b\r\n  \r\n \nversion=3\r\nCID=": 100,
		"version=2\n":                            100,
		"version=4\n":                            0,
		"version=1":                              0,
		"\nversion=1\n":                          0,
		" x\nversion=1\n":                        0,
		"# Disk DescriptorFile":                  0,
	} {
		if got := vmdk.Driver().Probe([]byte(text), ""); got != want {
			t.Errorf("%q scores %d, want %d", text, got, want)
		}
	}
}
