package fusefs

import (
	"strings"
	"testing"

	"platter/formats/qobj"
)

func TestPercentHasTwoDigits(t *testing.T) {
	for n := range uint64(10001) {
		text := qobj.FormatFloat(quarters(n))
		if _, digits, _ := strings.Cut(text, "."); len(digits) > 2 || quarters(n) > float64(n)/100 || quarters(n) < float64(n)/100-0.25 {
			t.Fatalf("%d hundredths are shown as %s", n, text)
		}
	}
}

func TestEscapeIsUndone(t *testing.T) {
	for name, want := range map[string]string{
		"plain": "plain", "a/b": `a\x2fb`, `back\slash`: `back\x5cslash`, "new\nline": `new\x0aline`, ".": `\x2e`, "..": `\x2e\x2e`,
		"ü": "ü", "": "", strings.Repeat("x", 300): "",
	} {
		got := escape(name)
		if got != want {
			t.Errorf("escape(%q) = %q, want %q", name, got, want)
		}
		if back, err := plain(got); got != "" && (err != nil || back != name) {
			t.Errorf("plain(%q) = %q, %v", got, back, err)
		}
	}
	for _, bad := range []string{`\`, `\x`, `\x2`, `\xzz`, `\n`} {
		if s, err := plain(bad); err == nil {
			t.Errorf("plain(%q) = %q", bad, s)
		}
	}
}

func TestMountinfoLines(t *testing.T) {
	m, ok := parseMount(`42 27 0:39 / /mnt/with\040blank rw,nosuid - fuse.platter /a\011b.qcow2 rw,user_id=1000,group_id=0`)
	if !ok || m.Mountpoint != "/mnt/with blank" || m.Source != "/a\tb.qcow2" || m.device != "0:39" || m.user != 1000 {
		t.Errorf("%+v %v", m, ok)
	}
	if _, ok := parseMount("42 27 0:39 / /mnt rw - ext4 /dev/sda rw"); ok {
		t.Error("an ext4 mount was taken for one of ours")
	}
}

func TestNodesLeaveTheTableWhenForgotten(t *testing.T) {
	root, n := newStatic(nil), newStatic(nil)
	tab := newTable(root)
	id := tab.look(n)
	if _, ok := tab.known(n); !ok || id != 2 {
		t.Fatal("not known after a lookup")
	}
	tab.drop(n)
	if got, err := tab.get(id); err != nil || got != node(n) {
		t.Error("gone although the kernel still has it")
	}
	tab.forget(id, 1)
	if _, err := tab.get(id); err == nil {
		t.Error("still there")
	}
}
