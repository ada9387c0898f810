package qed_test

import (
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/qed"
	"platter/formats/raw"
)

func TestSuite(t *testing.T) {
	for _, o := range []string{"", "cluster_size=4096,table_size=2"} {
		t.Run(o, func(t *testing.T) {
			formatstest.Run(t, formatstest.Subject{
				Drivers: []*formats.Driver{raw.Driver(), qed.Driver()}, Format: "qed", Options: o, Recovers: true})
		})
	}
}
