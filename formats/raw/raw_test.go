package raw_test

import (
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/raw"
)

func TestSuite(t *testing.T) {
	formatstest.Run(t, formatstest.Subject{Drivers: []*formats.Driver{raw.Driver()}, Format: "raw"})
}
