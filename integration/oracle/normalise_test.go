package oracle

import (
	"path"
	"regexp"
)

// normaliser replaces what is legitimately random or depends on the clock, in the output of both programs.
type normaliser struct {
	groups      string // pattern for VERB/FORMAT
	text        *regexp.Regexp
	replacement string
	reason      string
}

var normalisers = []normaliser{
	{"*/*", regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "DATE", "a snapshot's date is when it was made"},
	{"*/*", regexp.MustCompile(`"(date-n?sec)": \d+`), `"$1": N`, "a snapshot's date is when it was made"},
	{"*/*", regexp.MustCompile(`\b(u?uid|"uuid"): ("?)[0-9a-f]{8}-[0-9a-f-]{27}`), "$1: ${2}UUID", "LUKS UUIDs are random"},
	{"*/*", regexp.MustCompile(`\b(iters"?: )\d+`), "${1}N", "LUKS iteration counts are measured"},
	{"*/vmdk", regexp.MustCompile(`((?:parent )?cid: |"(?:parent-)?cid": )\d+`), "${1}N", "a vmdk content ID is random"},
	{"*/*", regexp.MustCompile(`#block\d{3,}`), "#blockN", "generated node names end in random digits"},
	{"bench/*", regexp.MustCompile(`Run completed in [0-9.]+ seconds`), "Run completed in N seconds", "a measured time"},
	// The first and the last figure stay, and with them the form of the line.
	{"*/*", regexp.MustCompile(`(\(0\.00/100%\)\r)(?:    \([0-9.]+/100%\)\r)*(    \(100\.00/100%\)\r)`), "$1$2",
		"where progress is reported depends on how requests are scheduled"},
}

func normalise(g group, r result) result {
	for _, n := range normalisers {
		if ok, _ := path.Match(n.groups, g.name()); ok {
			r.stdout = n.text.ReplaceAllString(r.stdout, n.replacement)
			r.stderr = n.text.ReplaceAllString(r.stderr, n.replacement)
		}
	}
	return r
}
