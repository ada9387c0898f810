package qed_test

import (
	"encoding/binary"
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/qed"
	"platter/formats/raw"
)

// FuzzOpen damages the header and the tables.
func FuzzOpen(f *testing.F) {
	formatstest.Damage(f, formatstest.Subject{
		Drivers: []*formats.Driver{raw.Driver(), qed.Driver()}, Format: "qed", Options: "cluster_size=4096,table_size=2"},
		func(b []byte) bool {
			return binary.LittleEndian.Uint32(b[4:]) <= 1<<16
		}, 4, 8, 12, 16, 24, 32, 40, 48, 56, 60, 4096, 4104, 12288, 12296)
}
