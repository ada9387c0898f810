package oracle

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"platter/integration/programs"
)

// The letters that some verb has as an option, and two that none has.
const letters = "abcdfghilmnopqrstuBCFOSTUWZ9"

// usageCases are the ways to call a verb wrongly, or rightly in an unusual order, made from its option table.
func usageCases(v verb) []testCase {
	g := &group{}
	add := func(words ...string) { g.add("usage/qcow2", false, v.name+" "+strings.Join(words, " ")) }
	for _, o := range v.options {
		optionCases(add, v, o)
	}
	for i, l := range letters {
		if v.hasShort(string(l)) {
			continue
		}
		add("-"+string(l), v.good)
		if i%4 == 0 {
			add(v.good, "-"+string(l))
		}
	}
	for i, long := range foreignLongs(v) {
		if i%3 == len(v.name)%3 { // a third: which one differs from verb to verb
			add(long, v.good)
		}
	}
	mixedCases(add, v)
	operandCases(add, v)
	g.add("usage/qcow2", false, format{}.lines(moreUsage[v.name])...)
	return g.cases
}

// moreUsage are what no table gives: options before the verb, and words that stock's own table of long options has mixed up.
var moreUsage = map[string]string{
	"info": `
		-T nosuch info disk.qcow2
		--trace nosuch info disk.qcow2
		--trace=enable=nosuch info disk.qcow2
		-T enable=help
		-T help info disk.qcow2
		-T file=trace.log info disk.qcow2
		-T file=nosuch/x info disk.qcow2
		-T file=a%s info disk.qcow2
		-T events=junk.txt info disk.qcow2
		-T events=missing info disk.qcow2
		-T events=folder info disk.qcow2
		-T '' info disk.qcow2
		-T nosuch=1 info disk.qcow2
		-T file info disk.qcow2
		-T nosuch -T none info disk.qcow2
		-T
		-T nosuch
		-T nosuch --version
		info -T nosuch disk.qcow2
		--vers
		--he
		-Vx
		-h info
		-x info disk.qcow2
		-- info disk.qcow2
		- info disk.qcow2`,
	"snapshot": `
		snapshot --create one disk.qcow2
		snapshot --create=one disk.qcow2
		snapshot --cre one disk.qcow2
		snapshot --apply one disk.qcow2
		snapshot --apply=one disk.qcow2
		snapshot --delete one disk.qcow2
		snapshot --delete=one disk.qcow2
		snapshot --list disk.qcow2
		snapshot --list=one disk.qcow2
		snapshot disk.qcow2
		snapshot -c one -l disk.qcow2
		snapshot -l -c one disk.qcow2
		snapshot -a one -d one disk.qcow2
		snapshot --delete
		snapshot --create
		snapshot -U -c one disk.qcow2
		snapshot -c '' disk.qcow2
		snapshot -d '' disk.qcow2
		snapshot -lc disk.qcow2
		snapshot -cl disk.qcow2`,
}

// mixedCases puts each option beside the next one of the table, in both orders and around the operands.
func mixedCases(add func(...string), v verb) {
	form := func(o verbOption, long bool) string {
		name := o.short
		if name == "" || long && o.long != "" {
			name = o.long
		}
		if o.value != "" {
			name += " '" + o.value + "'"
		}
		return name
	}
	for i, o := range v.options {
		next := v.options[(i+1)%len(v.options)]
		add(form(next, false), v.good, form(o, true))
		add(form(o, false), form(next, true), "--", v.good)
	}
}

// optionCases: missing, wrong, repeated, stuck and superfluous values, and abbreviations.
func optionCases(add func(...string), v verb, o verbOption) {
	for _, name := range []string{o.short, o.long} {
		if name == "" {
			continue
		}
		if o.value == "" {
			add(name, v.good)
			add(name, name, v.good)
			add(v.good, name)
			add(name)
			continue
		}
		value := "'" + o.value + "'"
		add(v.good, name)
		add(name)
		add(name, value, v.good)
		add(v.good, name, value)
		add(name, value, name, value, v.good)
		add(name, "''", v.good)
		if o.bad != "" {
			add(name, o.bad, v.good)
			add(name, o.bad, name, value, v.good)
			add(name, value, name, o.bad, v.good)
		}
	}
	if o.short != "" && o.value != "" {
		add(o.short+o.value, v.good)
		add(o.short+"="+o.value, v.good)
	}
	if o.long == "" {
		return
	}
	add(o.long+"="+o.value, v.good)
	add(o.long[:len(o.long)-1], o.value, v.good)
	add(o.long[:4], o.value, v.good)
	add(o.long+"x", v.good)
	add(o.long[1:], v.good)
}

// operandCases: too few, too many, and where options end.
func operandCases(add func(...string), v verb) {
	words := words(v.good)
	last := words[len(words)-1]
	add()
	add("--", v.good)
	add(v.good, "--")
	add("--", v.good, "--")
	add(v.good, "--", last)
	add(v.good, last)
	add(v.good, last, last)
	add(v.good, "-")
	add("-", v.good)
	add("''", v.good)
	add(v.good, "''")
	add("--nosuch", v.good)
	add("--nosuch=1", v.good)
	add("---", v.good)
	add("--=", v.good)
	for n := 1; n < len(words); n++ {
		add(quoteAll(words[:n])...)
		rotated := append(append([]string{}, words[n:]...), words[:n]...)
		add(quoteAll(rotated)...)
	}
	add(strings.Replace(v.good, "disk.qcow2", "missing.qcow2", 1))
	add(strings.Replace(v.good, "disk.qcow2", "folder", 1))
	add(strings.Replace(v.good, "disk.qcow2", "empty.qcow2", 1))
	add(strings.Replace(v.good, "disk.qcow2", "junk.txt", 1))
	add(strings.Replace(v.good, "disk.qcow2", "nosuch:disk.qcow2", 1))
	add(strings.Replace(v.good, "disk.qcow2", "file:disk.qcow2", 1))
	add(strings.Replace(v.good, "disk.qcow2", `json:{"driver":"qcow2","file":{"driver":"file","filename":"disk.qcow2"}}`, 1))
	add(strings.Replace(v.good, "disk.qcow2", `json:{"driver":"qcow2"}`, 1))
	add(strings.Replace(v.good, "disk.qcow2", `json:{"driver":`, 1))
	add("--image-opts", strings.Replace(v.good, "disk.qcow2", "driver=qcow2,file.filename=disk.qcow2", 1))
	add("--image-opts", strings.Replace(v.good, "disk.qcow2", "driver=qcow2,file.driver=file,file.filename=disk.qcow2", 1))
	add("--image-opts", strings.Replace(v.good, "disk.qcow2", "driver=nosuch,file.filename=disk.qcow2", 1))
	add("--image-opts", strings.Replace(v.good, "disk.qcow2", "driver=qcow2,nosuch=1,file.filename=disk.qcow2", 1))
	add("--image-opts -f qcow2", v.good)
	add("-U", v.good)
	add("--object secret,id=s", v.good)
	add("--object secret", v.good)
	add("--object secret,id=s,data=a --object secret,id=s,data=b", v.good)
	add("--object nosuch,id=s", v.good)
}

func quoteAll(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = "'" + w + "'"
	}
	return out
}

func (v verb) hasShort(letter string) bool {
	for _, o := range v.options {
		if o.short == "-"+letter {
			return true
		}
	}
	return false
}

// foreignLongs are the long options of the other verbs that this one has not.
func foreignLongs(v verb) []string {
	mine := map[string]bool{}
	for _, o := range v.options {
		mine[o.long] = true
	}
	var out []string
	for _, other := range verbs {
		for _, o := range other.options {
			if o.long != "" && !mine[o.long] {
				mine[o.long] = true
				out = append(out, o.long)
			}
		}
	}
	return out
}

var helpOption = regexp.MustCompile(`(?m)^ +(?:(-\w)(?:, |$| ))?(--[a-z0-9-]+)?`)

// TestUsageKnowsEveryOption holds the tables of options to what stock's --help lists.
func TestUsageKnowsEveryOption(t *testing.T) {
	stock := programs.NeedStock(t, "qemu-img")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, v := range verbs {
		out, err := stock.Command(ctx, t.TempDir(), v.name, "--help").Output()
		if err != nil {
			t.Fatalf("%s --help: %v", v.name, err)
		}
		_, list, _ := strings.Cut(string(out), "Arguments:")
		listed := map[string]bool{}
		for _, m := range helpOption.FindAllStringSubmatch(list, -1) {
			listed[m[1]], listed[m[2]] = true, true
		}
		known := map[string]bool{"": true, "--progres": true} // a misprint in amend's
		for _, o := range v.options {
			known[o.short], known[o.long] = true, true
		}
		for name := range listed {
			if !known[name] {
				t.Errorf("%s: the table lacks %s", v.name, name)
			}
		}
		for _, o := range v.options {
			if o.long != "" && !listed[o.long] {
				t.Logf("%s: stock's help does not tell of %s", v.name, o.long)
			}
		}
	}
}
