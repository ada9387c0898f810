package render

import (
	"fmt"
	"io"

	"platter/formats/qerr"
	"platter/tools"
)

// Map writes what map finds, run by run.
type Map struct {
	out  io.Writer
	json bool
}

// NewMap writes to out, as JSON or as a table.
func NewMap(out io.Writer, json bool) *Map { return &Map{out, json} }

// Begin writes what stands before the first run.
func (m *Map) Begin() error {
	text := "["
	if !m.json {
		text = fmt.Sprintf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File")
	}
	_, err := io.WriteString(m.out, text)
	return err
}

// Entry writes a run. The table has only the stored ones, and cannot show those that no file holds as they are.
func (m *Map) Entry(e tools.MapEntry, last bool) error {
	if m.json {
		return m.object(e, last)
	}
	if !e.Data {
		return nil
	}
	if !e.HasOffset {
		return qerr.New(0, "File contains external, encrypted or compressed clusters.")
	}
	if e.Zero {
		return nil
	}
	_, err := fmt.Fprintf(m.out, "%-16s%-16s%-16s%s\n", hex(e.Start), hex(e.Length), hex(e.Offset), e.File)
	return err
}

// hex is C's %#x, which has no prefix for 0.
func hex(n int64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", n)
}

func (m *Map) object(e tools.MapEntry, last bool) error {
	fmt.Fprintf(m.out, `{ "start": %d, "length": %d, "depth": %d, "present": %t, "zero": %t, "data": %t, "compressed": %t`,
		e.Start, e.Length, e.Depth, e.Present, e.Zero, e.Data, e.Compressed)
	if e.HasOffset {
		fmt.Fprintf(m.out, `, "offset": %d`, e.Offset)
	}
	end := "},\n"
	if last {
		end = "}]\n"
	}
	_, err := io.WriteString(m.out, end)
	return err
}
