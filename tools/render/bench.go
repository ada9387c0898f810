package render

import (
	"fmt"
	"time"

	"platter/tools"
)

// BenchPlan says what bench is about to do.
func BenchPlan(o tools.BenchOptions) string {
	kind := "read"
	if o.Write {
		kind = "write"
	}
	text := fmt.Sprintf("Sending %d %s requests, %d bytes each, %d in parallel (starting at offset %d, step size %d)\n",
		o.Count, kind, o.BufferSize, o.Depth, o.Offset, o.StepSize)
	if o.FlushInterval != 0 {
		text += fmt.Sprintf("Sending flush every %d requests\n", o.FlushInterval)
	}
	return text
}

// BenchTime is bench's result.
func BenchTime(took time.Duration) string {
	return fmt.Sprintf("Run completed in %3.3f seconds.\n", took.Seconds())
}
