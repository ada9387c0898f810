package oracle

import "strings"

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
	operandCases(add, v)
	return g.cases
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
