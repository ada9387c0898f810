package qcow_test

import (
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/qcow"
	"platter/formats/raw"
)

func TestSuite(t *testing.T) {
	for _, l := range []struct {
		name, options string
		runtime       map[string]string
	}{
		{"default", "", nil},
		{"aes", "encrypt.format=aes,encrypt.key-secret=s", map[string]string{"encrypt.key-secret": "s"}},
	} {
		t.Run(l.name, func(t *testing.T) {
			formatstest.Run(t, formatstest.Subject{
				Drivers: []*formats.Driver{raw.Driver(), qcow.Driver()}, Format: "qcow", Options: l.options,
				Runtime: l.runtime, Secrets: map[string]string{"s": "secret"}})
		})
	}
}
