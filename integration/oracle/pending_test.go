package oracle

import (
	"path"
	"regexp"
	"testing"
)

// pendingGroup is a pattern of VERB/FORMAT groups that are not compared yet.
type pendingGroup struct{ pattern, why string }

// pendingLines are single cases, in groups that are compared: a regular expression for the name of the case. A case that
// writes a format with a line "*/FORMAT" above waits for that and needs none here.
var pendingLines = []struct{ group, lines, why string }{}

// pending is what platter does not do yet. Who lands a verb or a format removes its line, and, where a part is still
// missing, adds the narrower lines for it. PLATTER_TEST_PENDING=1 runs these groups nevertheless.
var pending = []pendingGroup{}

func isPending(name string) (string, bool) {
	for _, p := range pending {
		if ok, _ := path.Match(p.pattern, name); ok {
			return p.why, true
		}
	}
	return "", false
}

var target = regexp.MustCompile(`(?:-O|-f|-F|driver=) ?'?([a-z0-9]+)`)

// waits says whether a single case is pending.
func (c testCase) waits(g group) bool {
	for _, l := range pendingLines {
		if ok, _ := path.Match(l.group, g.name()); ok && regexp.MustCompile(l.lines).MatchString(c.name()) {
			return true
		}
	}
	for _, line := range c.cmds {
		for _, m := range target.FindAllStringSubmatch(line, -1) {
			if why, ok := isPending("/" + m[1]); ok && why == "format" {
				return true
			}
		}
	}
	return false
}

func TestPendingNamesGroups(t *testing.T) {
	all := groups()
	for _, p := range pending {
		used := false
		for _, g := range all {
			ok, err := path.Match(p.pattern, g.name())
			if err != nil {
				t.Fatalf("%s: %v", p.pattern, err)
			}
			used = used || ok
		}
		if !used {
			t.Errorf("pending names %s, which is no group", p.pattern)
		}
	}
}
