package vdi_test

import (
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/raw"
	"platter/formats/vdi"
)

func TestSuite(t *testing.T) {
	for _, o := range []string{"", "static=on"} {
		t.Run(o, func(t *testing.T) {
			formatstest.Run(t, formatstest.Subject{
				Drivers: []*formats.Driver{raw.Driver(), vdi.Driver()}, Format: "vdi", Options: o, Recovers: true})
		})
	}
}
