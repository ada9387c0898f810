package oracle

import (
	"regexp"
	"testing"
)

// explained is a difference from stock qemu-img that stays, with the reason that a user is given.
type explained struct {
	group  string // regular expression for VERB/FORMAT, whole
	lines  string // regular expression somewhere in the name of the case: "[fixture] command line; command line"
	reason string
}

// differences lists them. A row of which no case differs any more, or that matches nothing in a full run, fails the test.
var differences = []explained{
	{`create/luks|convert/luks`, `detached-header($|[ ,]|=o)`, "stock knows the option detached-header and then fails on every use of it; here it works"},
	{`(bitmap|commit)/parallels`, `--(add|remove|enable)|commit`, "stock leaves the image marked as being in use when it refuses the command; here it is closed cleanly"},
	{`amend/qcow2`, `--force -o encrypt\.state=active,encrypt\.new-secret=new,encrypt\.keyslot=0`,
		"stock replaces the only key in place and loses the disk if it is interrupted; here another slot holds it meanwhile, whose space stays allocated"},
	{`convert/.*`, `-c .*-O qcow |convert .*-c .*out\.qcow( |$)|-c .*blank\.qcow( |$)`, "stock writes the complete compressed image and then exits 1 without a word; here success is 0"},
}

func explainedBy(g group, c testCase) (int, bool) {
	for i, d := range differences {
		if regexp.MustCompile("^(?:"+d.group+")$").MatchString(g.name()) && regexp.MustCompile(d.lines).MatchString(c.name()) {
			return i, true
		}
	}
	return 0, false
}

// staleDifferences fails when a row of differences has matched cases and none of them differs.
func (r *runner) staleDifferences(t *testing.T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, n := range r.seen {
		if n[1] == 0 {
			t.Errorf("the difference %q %q (%s) no longer occurs in any of %d cases: remove its row",
				differences[i].group, differences[i].lines, differences[i].reason, n[0])
		}
	}
}

func TestDifferencesHaveReasons(t *testing.T) {
	for _, d := range differences {
		if len(d.reason) < 20 {
			t.Errorf("%q %q: no reason to speak of: %q", d.group, d.lines, d.reason)
		}
		matched := false
		for _, g := range groups() {
			for _, c := range g.cases {
				matched = matched || regexp.MustCompile("^(?:"+d.group+")$").MatchString(g.name()) &&
					regexp.MustCompile(d.lines).MatchString(c.name())
			}
		}
		if !matched {
			t.Errorf("%q %q matches no case", d.group, d.lines)
		}
	}
}
