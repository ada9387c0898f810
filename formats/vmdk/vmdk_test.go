package vmdk_test

import (
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/raw"
	"platter/formats/vmdk"
)

func TestSuite(t *testing.T) {
	for _, o := range []string{"", "zeroed_grain=on", "subformat=monolithicFlat", "subformat=twoGbMaxExtentSparse",
		"subformat=twoGbMaxExtentFlat"} {
		t.Run(o, func(t *testing.T) {
			formatstest.Run(t, formatstest.Subject{
				Drivers: []*formats.Driver{raw.Driver(), vmdk.Driver()}, Format: "vmdk", Options: o})
		})
	}
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
