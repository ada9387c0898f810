package oracle

import (
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"platter/integration/programs"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// A case waits for programs more than it computes.
	_ = flag.Set("test.parallel", fmt.Sprint(2*runtime.GOMAXPROCS(0)))
	code := m.Run()
	dropFixtures()
	os.Exit(code)
}

// testCase is command lines that run one after the other in a copy of a fixture's folder.
type testCase struct {
	fixture string
	cmds    []string // words separated by blanks, with '…' around those that have some
	exact   bool     // resulting files must be the same bytes, random fields aside
}

// name is the last command line, which is what the case is about.
func (c testCase) name() string {
	name := strings.Join(c.cmds, "; ")
	if c.fixture != "" {
		name = "[" + c.fixture + "] " + name
	}
	if len(name) > 150 {
		name = name[:150]
	}
	return strings.ReplaceAll(name, "/", "∕")
}

// group is the cases of one verb for one format.
type group struct {
	verb, format string
	cases        []testCase
}

func (g group) name() string { return g.verb + "/" + g.format }

// add appends cases with one command line each.
func (g *group) add(fixture string, exact bool, lines ...string) {
	for _, l := range lines {
		g.cases = append(g.cases, testCase{fixture: fixture, cmds: []string{l}, exact: exact})
	}
}

// chosen is the cases that are run, each once: all of them when -run names the group or PLATTER_LONG is set, else
// for raw and qcow2 all, of the usage errors every second, and of the other formats, for which the same tables are
// repeated, every fourth, or fewer. The choice depends on nothing but the case, so it is the same in each run.
func (g group) chosen() []testCase {
	every := uint32(4)
	switch {
	case formatNamed(g.format).opaque && os.Getenv("PLATTER_LONG") == "":
		every = 16 // measuring how fast a key is derived takes stock seconds on a busy machine
	case wholeGroups(), g.format == "raw", g.format == "qcow2", g.format == "filter":
		every = 1
	case g.format == "usage":
		every = 2
	}
	var out []testCase
	seen := map[string]bool{}
	for _, c := range g.cases {
		step := every
		key := c.fixture + "\x00" + strings.Join(c.cmds, "\x00")
		hash := fnv.New32a()
		hash.Write([]byte(key))
		if c.fixture == "keys/qcow2" && every == 1 && !wholeGroups() {
			step = 4 // for the same reason as with luks
		}
		if !seen[key] && hash.Sum32()%step == 0 {
			out = append(out, c)
		}
		seen[key] = true
	}
	return out
}

// wholeGroups says whether all cases of a group are wanted.
func wholeGroups() bool {
	return os.Getenv("PLATTER_LONG") != "" || strings.Count(flag.Lookup("test.run").Value.String(), "/") > 1
}

// groups is the whole matrix.
func groups() []group {
	var all []group
	for _, verb := range verbs {
		all = append(all, group{verb: verb.name, format: "usage", cases: usageCases(verb)})
		all = append(all, group{verb: verb.name, format: "filter", cases: filterCases(verb.name)})
		for _, f := range formats {
			g := group{verb: verb.name, format: f.name}
			verb.cases(&g, f)
			if len(g.cases) > 0 {
				all = append(all, g)
			}
		}
	}
	return all
}

func TestMatrix(t *testing.T) {
	stock := programs.NeedStock(t, "qemu-img")
	if os.Getenv("PLATTER_TEST_BIN") == "" {
		if _, err := os.Stat(filepath.Join(programs.Root(), "cmd", "platter")); os.IsNotExist(err) {
			t.Skip("cmd/platter is not in this tree: nothing to compare")
		}
	}
	scratch, err := os.MkdirTemp(scratchTop(), "platter-matrix-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(scratch)
	r := &runner{stock: stock, ours: programs.NeedPlatter(t, "qemu-img"), scratch: scratch}
	byVerb := map[string][]group{}
	for _, g := range groups() {
		byVerb[g.verb] = append(byVerb[g.verb], g)
	}
	for _, v := range verbs {
		t.Run(v.name, func(t *testing.T) { runVerb(t, r, byVerb[v.name]) })
	}
	r.staleDifferences(t)
	t.Logf("%d command lines compared, %d cases with an explained difference", r.compared.Load(), r.explained.Load())
}

func runVerb(t *testing.T, r *runner, part []group) {
	for _, g := range part {
		t.Run(g.format, func(t *testing.T) {
			if why, ok := isPending(g.name()); ok && os.Getenv("PLATTER_TEST_PENDING") == "" {
				t.Skipf("pending (%s): %d cases", why, len(g.cases))
			}
			waiting := 0
			for _, c := range g.chosen() {
				if os.Getenv("PLATTER_TEST_PENDING") == "" && c.waits(g) {
					waiting++
					continue
				}
				t.Run(c.name(), func(t *testing.T) {
					t.Parallel()
					r.run(t, g, c)
				})
			}
			if waiting > 0 {
				t.Run("pending", func(t *testing.T) { t.Skipf("%d cases of this group are pending", waiting) })
			}
		})
	}
}

// The matrix is of use only while it is large.
func TestSizeOfMatrix(t *testing.T) {
	all, n, pending := 0, 0, 0
	for _, g := range groups() {
		all += len(g.cases)
		n += len(g.chosen())
		if _, ok := isPending(g.name()); ok {
			pending += len(g.chosen())
		}
	}
	t.Logf("%d cases, %d of them in a plain run, %d of these in pending groups", all, n, pending)
	if n < 1500 {
		t.Errorf("the matrix has %d cases, want at least 1500", n)
	}
}
