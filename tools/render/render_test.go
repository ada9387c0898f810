package render_test

import (
	"strings"
	"testing"
	"time"

	"platter/formats"
	"platter/formats/qobj"
	"platter/tools"
	"platter/tools/render"
)

// The figures are what qemu-img 10.0.2 shows for files of these sizes.
func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1: "1 B", 999: "999 B", 1000: "0.977 KiB", 1023: "0.999 KiB", 1024: "1 KiB", 1025: "1 KiB", 197120: "192 KiB",
		1000 << 10: "0.977 MiB", 1441792: "1.38 MiB", 10 << 20: "10 MiB", 1 << 40: "1 TiB", 1<<63 - 1: "8 EiB",
		123456789: "118 MiB",
	} {
		if got := render.Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSnapshotTable(t *testing.T) {
	time.Local = time.UTC
	got := render.Snapshots([]formats.Snapshot{
		{ID: "1", Name: "one", DateSec: 1795371065},
		{ID: "12", Name: "a very long name indeed", VMStateSize: 3 << 20, DateSec: 0, VMClock: 3723004999999, ICount: 1<<64 - 1},
	})
	want := "Snapshot list:\n" +
		"ID      TAG               VM_SIZE                DATE        VM_CLOCK     ICOUNT\n" +
		"1       one                   0 B 2026-11-22 18:11:05  0000:00:00.000          0\n" +
		"12      a very long name indeed    3 MiB 1970-01-01 00:00:00  0001:02:03.004         --\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := render.Snapshots(nil); got != "" {
		t.Errorf("no snapshots: %q", got)
	}
}

func sample() *tools.ImageInfo {
	data := qobj.NewDict()
	data.Set("compat", "1.1")
	data.Set("lazy-refcounts", false)
	bm := qobj.NewDict()
	bm.Set("name", "bm0")
	bm.Set("granularity", int64(65536))
	bm.Set("flags", qobj.List{"auto"})
	data.Set("bitmaps", qobj.List{bm})
	return &tools.ImageInfo{
		Filename: "dir/t", Format: "qcow2", VirtualSize: 1 << 20, ActualSize: -1, ClusterSize: 65536, HasDirtyFlag: true, DirtyFlag: true,
		Encrypted: true, BackingFilename: "b", FullBacking: "dir/b", BackingFormat: "raw", SpecificKind: "qcow2", Specific: data,
		Children: []tools.ChildInfo{{Name: "file", Info: &tools.ImageInfo{Filename: "dir/t", Format: "file", VirtualSize: 512,
			SpecificKind: "file", Specific: qobj.NewDict(), HasDirtyFlag: true}}},
	}
}

func TestInfoForPeople(t *testing.T) {
	want := `image: dir/t
file format: qcow2
virtual size: 1 MiB (1048576 bytes)
disk size: unavailable
encrypted: yes
cluster_size: 65536
cleanly shut down: no
backing file: b (actual path: dir/b)
backing file format: raw
Format specific information:
    compat: 1.1
    lazy refcounts: false
    bitmaps:
        [0]:
            flags:
                [0]: auto
            name: bm0
            granularity: 65536
Child node '/file':
    filename: dir/t
    protocol type: file
    file length: 512 B (512 bytes)
    disk size: 0 B
`
	if got := render.Info([]*tools.ImageInfo{sample()}); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := render.Info([]*tools.ImageInfo{sample(), sample()}); got != want+"\n"+want {
		t.Errorf("two images are not separated by an empty line:\n%s", got)
	}
}

func TestInfoJSON(t *testing.T) {
	got := render.InfoJSON([]*tools.ImageInfo{sample()}, false)
	for _, part := range []string{
		"{\n    \"children\": [\n", "    \"encrypted\": true,\n", "    \"full-backing-filename\": \"dir/b\",\n",
		"    \"dirty-flag\": true\n}\n", "                \"format-specific\": {\n                    \"type\": \"file\",\n",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in\n%s", part, got)
		}
	}
	if strings.Contains(strings.SplitN(got, "backing-filename-format", 2)[1], "actual-size") {
		t.Error("an unknown actual size is shown")
	}
	if list := render.InfoJSON([]*tools.ImageInfo{sample()}, true); !strings.HasPrefix(list, "[\n    {\n") {
		t.Errorf("a chain is a list: %s", list)
	}
}

func TestCheckText(t *testing.T) {
	r := &tools.CheckReport{Filename: "x", Format: "qcow2", CheckResult: formats.CheckResult{
		Corruptions: 2, Leaks: 1, CheckErrors: 3, AllocatedClusters: 17, TotalClusters: 64, FragmentedClusters: 1,
		CompressedClusters: 2, ImageEndOffset: 4096, LeaksFixed: 5}}
	want := "\n2 errors were found on the image.\nData may be corrupted, or further writes to the image may corrupt it.\n" +
		"\n1 leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n" +
		"\n3 internal errors have occurred during the check.\n" +
		"17/64 = 26.56% allocated, 5.88% fragmented, 11.76% compressed clusters\nImage end offset: 4096\n"
	if got := render.Check(r); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := render.Check(&tools.CheckReport{}); got != "No errors were found on the image.\n" {
		t.Errorf("a good image: %q", got)
	}
	want = "{\n    \"check-errors\": 0,\n    \"filename\": \"x\",\n    \"format\": \"vdi\"\n}\n"
	if got := render.CheckJSON(&tools.CheckReport{Filename: "x", Format: "vdi"}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
