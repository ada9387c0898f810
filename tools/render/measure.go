package render

import (
	"fmt"

	"platter/formats"
	"platter/formats/qobj"
)

// Measure is the text of measure.
func Measure(m formats.Measurement, json bool) string {
	if json {
		d := qobj.NewDict()
		d.Set("required", m.Required)
		d.Set("fully-allocated", m.FullyAllocated)
		if m.Bitmaps >= 0 {
			d.Set("bitmaps", m.Bitmaps)
		}
		return string(qobj.AppendJSON(nil, d, true)) + "\n"
	}
	text := fmt.Sprintf("required size: %d\nfully allocated size: %d\n", m.Required, m.FullyAllocated)
	if m.Bitmaps >= 0 {
		text += fmt.Sprintf("bitmaps size: %d\n", m.Bitmaps)
	}
	return text
}
