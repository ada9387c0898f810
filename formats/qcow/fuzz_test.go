package qcow_test

import (
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/qcow"
	"platter/formats/raw"
)

// FuzzOpen damages the header and the tables.
func FuzzOpen(f *testing.F) {
	formatstest.Damage(f, formatstest.Subject{
		Drivers: []*formats.Driver{raw.Driver(), qcow.Driver()}, Format: "qcow"},
		func([]byte) bool { return true }, 4, 8, 16, 24, 32, 33, 36, 40, 48, 52, 56, 4096, 4100, 4104)
}
