package render

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"platter/formats"
	"platter/formats/qobj"
)

// Snapshots is the list that snapshot -l prints; "" if there are none.
func Snapshots(list []formats.Snapshot) string {
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	snapshotTable(&b, list, "")
	return b.String()
}

// noICount stands for a snapshot that does not tell how many instructions had run.
const noICount = math.MaxUint64

func snapshotTable(b *strings.Builder, list []formats.Snapshot, indent string) {
	const row = "%s%-7s %-16s %8s %19s %15s %10s\n"
	fmt.Fprintf(b, "%sSnapshot list:\n", indent)
	fmt.Fprintf(b, row, indent, "ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT")
	for _, s := range list {
		date := time.Unix(int64(s.DateSec), 0).Local().Format("2006-01-02 15:04:05")
		secs := s.VMClock / 1e9
		clock := fmt.Sprintf("%04d:%02d:%02d.%03d", int32(secs/3600), secs/60%60, secs%60, s.VMClock/1e6%1000)
		icount := "--"
		if s.ICount != noICount {
			icount = strconv.FormatInt(int64(s.ICount), 10)
		}
		fmt.Fprintf(b, row, indent, s.ID, s.Name, Size(int64(s.VMStateSize)), date, clock, icount)
	}
}

// snapshotDict is QAPI's SnapshotInfo.
func snapshotDict(s formats.Snapshot) *qobj.Dict {
	d := qobj.NewDict()
	d.Set("id", s.ID)
	d.Set("name", s.Name)
	d.Set("vm-state-size", int64(s.VMStateSize))
	d.Set("date-sec", s.DateSec)
	d.Set("date-nsec", s.DateNsec)
	d.Set("vm-clock-sec", s.VMClock/1e9)
	d.Set("vm-clock-nsec", s.VMClock%1e9)
	if s.ICount != noICount {
		d.Set("icount", int64(s.ICount))
	}
	return d
}
