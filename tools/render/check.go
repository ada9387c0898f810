package render

import (
	"fmt"
	"strings"

	"platter/formats"
	"platter/formats/qobj"
	"platter/tools"
)

// Repaired is what check prints after a repair, before it checks once more.
func Repaired(r formats.CheckResult) string {
	return fmt.Sprintf("The following inconsistencies were found and repaired:\n\n"+
		"    %d leaked clusters\n"+
		"    %d corruptions\n\n"+
		"Double checking the fixed image now...\n", r.LeaksFixed, r.CorruptionsFixed)
}

// Check is a report for people.
func Check(r *tools.CheckReport) string {
	var b strings.Builder
	if r.Corruptions == 0 && r.Leaks == 0 && r.CheckErrors == 0 {
		b.WriteString("No errors were found on the image.\n")
	}
	if r.Corruptions != 0 {
		fmt.Fprintf(&b, "\n%d errors were found on the image.\n"+
			"Data may be corrupted, or further writes to the image may corrupt it.\n", r.Corruptions)
	}
	if r.Leaks != 0 {
		fmt.Fprintf(&b, "\n%d leaked clusters were found on the image.\n"+
			"This means waste of disk space, but no harm to data.\n", r.Leaks)
	}
	if r.CheckErrors != 0 {
		fmt.Fprintf(&b, "\n%d internal errors have occurred during the check.\n", r.CheckErrors)
	}
	if r.TotalClusters != 0 && r.AllocatedClusters != 0 {
		share := func(n, of int64) float64 { return float64(n) * 100 / float64(of) }
		fmt.Fprintf(&b, "%d/%d = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
			r.AllocatedClusters, r.TotalClusters, share(r.AllocatedClusters, r.TotalClusters),
			share(r.FragmentedClusters, r.AllocatedClusters), share(r.CompressedClusters, r.AllocatedClusters))
	}
	if r.ImageEndOffset != 0 {
		fmt.Fprintf(&b, "Image end offset: %d\n", r.ImageEndOffset)
	}
	return b.String()
}

// CheckJSON is QAPI's ImageCheck; counts that are 0 are left out.
func CheckJSON(r *tools.CheckReport) string { return pretty(CheckDict(r)) }

// CheckDict is the object that CheckJSON prints.
func CheckDict(r *tools.CheckReport) *qobj.Dict {
	d := qobj.NewDict()
	d.Set("filename", r.Filename)
	d.Set("format", r.Format)
	d.Set("check-errors", r.CheckErrors)
	for _, m := range []struct {
		name string
		n    int64
	}{
		{"image-end-offset", r.ImageEndOffset},
		{"corruptions", r.Corruptions},
		{"leaks", r.Leaks},
		{"corruptions-fixed", r.CorruptionsFixed},
		{"leaks-fixed", r.LeaksFixed},
		{"total-clusters", r.TotalClusters},
		{"allocated-clusters", r.AllocatedClusters},
		{"fragmented-clusters", r.FragmentedClusters},
		{"compressed-clusters", r.CompressedClusters},
	} {
		if m.n != 0 {
			d.Set(m.name, m.n)
		}
	}
	return d
}
