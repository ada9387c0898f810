package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"platter/cmd/platter/internal/verb"
)

// usage is a command line that is wrong, or may be.
type usage struct {
	args    []string
	posixly bool
}

// operands that make a verb's command line complete; %s stands for the options under test.
var whole = map[string]string{
	"amend": "-o x=y %s a", "bench": "%s a", "bitmap": "--add %s a b", "check": "%s a", "commit": "%s a",
	"compare": "%s a b", "convert": "%s a b", "create": "%s a 1k", "dd": "%s if=a of=b", "info": "%s a", "map": "%s a",
	"measure": "%s a", "rebase": "-u %s a", "resize": "%s a 1k", "snapshot": "%s a",
}

// values to try for an option, by its kind.
func values(r *verb.Row) []string {
	number := []string{"x", "", "-1", "0", "1", "1.5", "1k", "1.5k", "0x10", "010", "4 ", " 4", "9E", "99999999999999999999",
		"1kk", "+1", "257", "2147483648", "512", "64M"}
	switch r.Kind {
	case verb.Cache:
		return []string{"none", "off", "unsafe", "directsync", "writethrough", "x", "", "WRITEBACK"}
	case verb.Size:
		return number
	case verb.Choice:
		return append([]string{"x", "", strings.ToUpper(r.Choices[0])}, r.Choices...)
	case verb.FormatOptions:
		return []string{"x=y", "", ",", "x,", ",x", "x,,y", "x,,", "help=1"}
	case verb.Object:
		return []string{"x", "", "secret", "secret,id=s", "secret,id=1,data=x", "secret,id=s,data=x", "secret,id=s,x=y", "help",
			"secret,help", "{", `{"qom-type":"secret","id":"s","data":"x"}`, "secret,id=s,data=x,format=y", "throttle-group,id=t",
			"secret,id=s,data=x,file=y", "secret,id=s,data", "tls-creds-anon,id=t", "authz-simple,id=a", "rng-random,id=r"}
	case verb.Snapshot:
		return []string{"x", "", "snapshot.id=1", "snapshot.x=1", "snapshot.name", "snapshot.id=1,help", "snapshot.id=1,id=2"}
	}
	if r.Short == 'c' || r.Short == 'd' || r.Short == 'm' || r.Short == 0 {
		return number
	}
	return []string{"raw", "x"}
}

// spellings of an option with a value, or without if it takes none.
func spellings(r *verb.Row, value string) [][]string {
	var all [][]string
	short, long := "-"+string(rune(r.Short)), ""
	if names := r.Names(false); len(names) > 0 {
		long = "--" + names[0]
	}
	switch {
	case r.Arg == "" && long != "":
		all = append(all, []string{long})
	case long != "":
		all = append(all, []string{long, value}, []string{long + "=" + value})
	}
	if r.Short == 0 {
		return all
	}
	if r.Arg == "" {
		return append(all, []string{short})
	}
	return append(all, []string{short, value}, []string{short + value})
}

// matrix makes the command lines of one verb from its table.
func matrix(v *verb.Verb) []usage {
	var all []usage
	before, after, _ := strings.Cut(whole[v.Name], "%s")
	add := func(args ...string) { all = append(all, usage{args: append([]string{v.Name}, args...)}) }
	around := func(options ...string) {
		add(append(append(strings.Fields(before), options...), strings.Fields(after)...)...)
	}
	late := func(options ...string) {
		add(append(append(strings.Fields(before), strings.Fields(after)...), options...)...)
	}
	operandCases(v, add, before, after)
	for _, r := range v.Options() {
		for _, name := range r.Names(true) {
			for _, n := range []int{1, 2, 3, len(name) - 1} {
				around("--"+name[:min(n, len(name))], "1")
			}
			around("--" + name + "=1")
			add("--" + name)
		}
		if r.Short != 0 {
			add("-" + string(rune(r.Short)))
			around("-q"+string(rune(r.Short)), "x")
		}
		if r.Arg == "" {
			for _, s := range spellings(r, "") {
				around(s...)
				late(s...)
				around(append(s, s...)...)
			}
			continue
		}
		for i, value := range values(r) {
			for _, s := range spellings(r, value) {
				around(s...)
				if i == 0 {
					late(s...)
				}
			}
			repeated := spellings(r, value)[0]
			around(append(repeated, spellings(r, values(r)[0])[0]...)...)
		}
	}
	pairs(v, around)
	return all
}

// operandCases has too few and too many operands, unknown options, those of other verbs, and "--".
func operandCases(v *verb.Verb, add func(...string), before, after string) {
	options, operands := strings.Fields(before), strings.Fields(after)
	for _, words := range []string{"", "a", "a b", "a b c", "a 1k c", "a -1k", "-- a", "-- a b", "-- -a", "-- a -1", "a -- -q", "-", "a x",
		"--", "-1 a", "a -1k -2k", "a +x", "a -- -1 b", "if=a", "of=b x", "bs=0", "if=a of=b bs=x", "count=1k", "skip=-1 if=a", "="} {
		add(strings.Fields(words)...)
		add(append(append([]string{}, options...), strings.Fields(words)...)...)
	}
	for _, odd := range []string{"-", "-%", "-:", "-q-", "--=", "--=x", "--nonsense", "--nonsense=1", "-é", "--help=1", "-?"} {
		add(append(append(append([]string{}, options...), odd), operands...)...)
		add(append(append(append([]string{}, options...), operands...), odd)...)
	}
	for c := byte('A'); c <= 'z'; c++ {
		if v.Lookup(c, "") == nil && c != 'h' {
			add("-" + string(rune(c)))
		}
	}
	for _, other := range verb.All() {
		for _, r := range other.Options() {
			for _, name := range r.Names(false) {
				if v.Lookup(0, name) == nil {
					add(append([]string{"--" + name}, operands...)...)
				}
			}
		}
	}
}

// pairs has two options at a time, each with its first value: what excludes what, and which mistake is found first.
func pairs(v *verb.Verb, around func(...string)) {
	rows := v.Options()
	for i, a := range rows {
		for _, b := range rows[i:] {
			first, second := spellings(a, values(a)[0]), spellings(b, values(b)[0])
			if len(first) > 0 && len(second) > 0 {
				around(append(append([]string{}, first[0]...), second[len(second)-1]...)...)
				around(append(append([]string{}, second[0]...), first[len(first)-1]...)...)
			}
		}
	}
}

// later matches what stock says of a command line that it has understood.
var later = regexp.MustCompile(`^$|Could not open|Unknown file format|Image creation needs a size|\w: Invalid parameter '|` +
	`Formatting '|Supported .*options|required|Format driver '.*' does not support|Invalid options|Unknown protocol|` +
	`a: Backing file|a: Parameter|--image-opts and --format are mutually exclusive`)

func globalCases() []usage {
	var all []usage
	for _, line := range []string{"", "-z", "--foo", "-T", "--trace", "--tr", "--=x", "foo", "foo --help", "-- create", "-q create", "--help=1",
		"--version=x", "-T foo", "-T -foo", "-T foo=bar", "-T help,foo", "-T , x", "-T enable=x,bogus=1", "-T nbd_*", "-T bdrv_open_common x",
		"-T events=/nonexistent", "-T events=/dev/null x", "-Tfoo -Tbar x", "-T file=/nonexistent/x y", "-h create", "--vers x", "-Vh", "mount a b",
		"help", "list", "version", "completion bash", "gen-man .", "creat a", "-", "--"} {
		all = append(all, usage{args: strings.Fields(line)})
	}
	for _, line := range []string{"create a -q", "create a -q 1M", "info a -f raw", "resize a -1 --shrink", "resize a 1 --zz", "compare a b -z"} {
		all = append(all, usage{strings.Fields(line), true})
	}
	return all
}

// TestUsageEqualsStock runs command lines made from the tables through stock and through the parsers. A line that fails
// in parsing must print the same and end the same. One in 48 is run, for speed; PLATTER_MATRIX=1 runs all.
func TestUsageEqualsStock(t *testing.T) {
	stock := oracle(t)
	cases := globalCases()
	for _, v := range verb.All() {
		cases = append(cases, matrix(v)...)
	}
	every, err := strconv.Atoi(os.Getenv("PLATTER_MATRIX"))
	if err != nil || every < 1 {
		every = 48
	}
	var wait sync.WaitGroup
	slots := make(chan string, 2)
	slots <- t.TempDir()
	slots <- t.TempDir()
	total, run := len(cases), 0
	for i, c := range cases {
		h := fnv.New32()
		fmt.Fprintf(h, "%q", c.args)
		if i >= len(globalCases()) && h.Sum32()%uint32(every) != 0 {
			continue
		}
		run++
		dir := <-slots
		wait.Add(1)
		go func() {
			defer func() { slots <- dir; wait.Done() }()
			compareUsage(t, stock, dir, c)
		}()
	}
	wait.Wait()
	t.Logf("%d of %d command lines compared", run, total)
}

func compareUsage(t *testing.T, stock, dir string, c usage) {
	environ, own := []string(nil), map[string]string{}
	if c.posixly {
		environ, own = []string{"POSIXLY_CORRECT=1"}, map[string]string{"POSIXLY_CORRECT": "1"}
	}
	want := ask(t, stock, dir, environ, c.args...)
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
		t.Error(err)
	}
	e, out, errs := testEnv("qemu-img", own)
	code, parsed := parseOnly(e, c.args)
	got := answer{out.String(), errs.String(), code}
	if !parsed && got != want {
		t.Errorf("%q:\n got %+v\nwant %+v", c.args, got, want)
	}
	said := strings.TrimPrefix(want.stderr, got.stderr) // warnings of parsing
	if parsed && (!later.MatchString(said+want.stdout) || strings.Contains(said, "\nTry '")) {
		t.Errorf("%q: understood, but stock says\n%+v", c.args, want)
	}
}

// parseOnly reads a command line of qemu-img and does not run it.
func parseOnly(e *env, args []string) (code int, parsed bool) {
	rest, err := e.global(args)
	if err == nil {
		err = e.makeTraceFile()
	}
	if err == nil {
		if verb.Find(rest[0]) == nil {
			return e.notFound(rest[0]), false
		}
		_, err = e.parse(rest[0], rest[1:])
	}
	return exitStatus(err), err == nil
}
