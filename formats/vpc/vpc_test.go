package vpc_test

import (
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/raw"
	"platter/formats/vpc"
)

func TestSuite(t *testing.T) {
	for _, o := range []string{"", "subformat=fixed", "force_size=on"} {
		t.Run(o, func(t *testing.T) {
			formatstest.Run(t, formatstest.Subject{
				Drivers: []*formats.Driver{raw.Driver(), vpc.Driver()}, Format: "vpc", Options: o})
		})
	}
}
