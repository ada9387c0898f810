package parallels_test

import (
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/parallels"
	"platter/formats/raw"
)

func TestSuite(t *testing.T) {
	for _, o := range []string{"", "cluster_size=64k", "cluster_size=32256"} {
		t.Run(o, func(t *testing.T) {
			formatstest.Run(t, formatstest.Subject{
				Drivers: []*formats.Driver{raw.Driver(), parallels.Driver()}, Format: "parallels", Options: o, Recovers: true})
		})
	}
}
