package twin

import (
	"fmt"
	"strings"
	"testing"
)

func TestUnified(t *testing.T) {
	want := "--- stock x\n+++ ours x\n a\n-b\n+c\n d\n"
	if have := Unified("x", "a\nb\nd\n", "a\nc\nd\n"); have != want {
		t.Errorf("Unified:\n%s\nwant:\n%s", have, want)
	}
	if have := Unified("x", "a\n", "a\n"); have != "" {
		t.Errorf("no difference shown as %q", have)
	}
	if have := Unified("x", "a\n", "a"); !strings.Contains(have, "no newline") {
		t.Errorf("a missing newline is not shown: %q", have)
	}
}

func TestWords(t *testing.T) {
	have := Words("create -o 'a b' '' x'y z'")
	if fmt.Sprintf("%q", have) != `["create" "-o" "a b" "" "xy z"]` {
		t.Errorf("Words: %q", have)
	}
}
