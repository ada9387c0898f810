package vhdx_test

import (
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/raw"
	"platter/formats/vhdx"
)

func TestSuite(t *testing.T) {
	for _, o := range []string{"block_size=1M", "subformat=fixed,block_state_zero=off", "log_size=3M,block_size=2M,block_state_zero=off"} {
		t.Run(o, func(t *testing.T) {
			formatstest.Run(t, formatstest.Subject{
				Drivers: []*formats.Driver{raw.Driver(), vhdx.Driver()}, Format: "vhdx", Options: o, Recovers: true})
		})
	}
}
