package qcow2_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/formats"
)

// tableDamages break the snapshot table of an image with two snapshots; e is where its first entry begins.
var tableDamages = []struct {
	name string
	do   func(b []byte, e int64)
}{
	{"none", func([]byte, int64) {}},
	{"L1 table unaligned", func(b []byte, e int64) { or64(e, 512)(b) }},
	{"L1 table too large", func(b []byte, e int64) { binary.BigEndian.PutUint32(b[e+8:], 0x7fffffff) }},
	{"L1 table past the end", func(b []byte, e int64) { put64(e, 1<<40)(b) }},
	{"L1 table is the active one", func(b []byte, e int64) { put64(e, l1Table)(b) }},
	{"entry without extra data", func(b []byte, e int64) { binary.BigEndian.PutUint32(b[e+36:], 0) }},
	{"too much extra data", func(b []byte, e int64) { binary.BigEndian.PutUint32(b[e+36:], 2000) }},
	{"far too much extra data", func(b []byte, e int64) { binary.BigEndian.PutUint32(b[e+36:], 1<<31) }},
	{"table unaligned", func(b []byte, _ int64) { or64(64, 512)(b) }},
	{"one snapshot too many", func(b []byte, _ int64) { binary.BigEndian.PutUint32(b[60:], 3) }},
	{"snapshots forgotten", func(b []byte, _ int64) { binary.BigEndian.PutUint32(b[60:], 0) }},
	{"snapshots past the limit", func(b []byte, _ int64) { binary.BigEndian.PutUint32(b[60:], 65540) }},
	{"refcount of a snapshot's L1 table 0", func(b []byte, e int64) {
		put16(refBlock+2*int64(binary.BigEndian.Uint64(b[e:])>>16), 0)(b)
	}},
	{"refcount of the table 0", func(b []byte, e int64) { put16(refBlock+2*(e>>16), 0)(b) }},
	{"refcount of shared data too low", put2(refBlock+2*5, 1)},
	{"COPIED on shared data", func(b []byte, _ int64) { or64(l2Table, 1<<63)(b) }},
	{"COPIED on a shared L2 table", func(b []byte, _ int64) { or64(l1Table, 1<<63)(b) }},
}

func put2(at int64, v uint16) func([]byte, int64) { return func(b []byte, _ int64) { put16(at, v)(b) } }

// TestDamagedSnapshotTables compares what is found and repaired with stock.
func TestDamagedSnapshotTables(t *testing.T) {
	t.Parallel()
	qemuImg := oracleTool(t, "qemu-img")
	name := filepath.Join(fastDir(t), "img")
	os.WriteFile(name, brokenImage(t, qemuImg), 0o600)
	stock(t, "qemu-img", "snapshot", "-c", "one", name)
	stock(t, "qemu-img", "snapshot", "-c", "two", name)
	sound, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	entry := int64(binary.BigEndian.Uint64(sound[64:]))
	for _, d := range tableDamages {
		for fix, arg := range map[int]string{0: "", 2: "all"} {
			if d.name == "snapshots past the limit" && fix > 0 {
				continue // stock takes many seconds for it
			}
			t.Run(d.name+"/"+arg, func(t *testing.T) {
				b := append([]byte(nil), sound...)
				d.do(b, entry)
				dir := fastDir(t)
				ours, theirs := filepath.Join(dir, "ours"), filepath.Join(dir, "theirs")
				os.WriteFile(ours, b, 0o600)
				os.WriteFile(theirs, b, 0o600)
				args := []string{"check", "-f", "qcow2"}
				mode := []formats.FixMode{0, formats.FixLeaks, formats.FixLeaks | formats.FixErrors}[fix]
				if fix > 0 {
					args = append(args, "-r", arg)
				}
				out, _ := exec.Command(qemuImg, append(args, theirs)...).CombinedOutput()
				want := strings.Join(findings.FindAllString(string(out), -1), "")
				text, _ := ourCheck(t, ours, mode)
				got := strings.Join(findings.FindAllString(text, -1), "")
				if fix > 0 && (strings.Contains(string(out), "has been repaired") || strings.Contains(string(out), "Double checking")) {
					again, _ := ourCheck(t, ours, 0)
					got += strings.Join(findings.FindAllString(again, -1), "")
				}
				if got != want {
					t.Errorf("ours:\n%s\nstock:\n%s\nall of ours:\n%s\nall of stock:\n%s", got, want, text, out)
				}
				a, _ := exec.Command(qemuImg, "check", "--output=json", "-f", "qcow2", ours).CombinedOutput()
				s, _ := exec.Command(qemuImg, "check", "--output=json", "-f", "qcow2", theirs).CombinedOutput()
				if x, y := strings.ReplaceAll(string(a), ours, "IMG"), strings.ReplaceAll(string(s), theirs, "IMG"); x != y {
					t.Errorf("afterwards stock finds in ours:\n%s\nin its own:\n%s", x, y)
				}
			})
		}
	}
}
