package manual_test

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"platter/cmd/platter/internal/manual"
	"platter/cmd/platter/internal/verb"
)

var (
	font       = regexp.MustCompile(`\\f[BIR]`)
	leftMarkup = regexp.MustCompile(`[A-Z]<[^>]*>`)
	option     = regexp.MustCompile(`(^|[\s(|\[])(--?[A-Za-z][-A-Za-z]*)`)
)

// plain undoes the markup.
func plain(roff string) string {
	return strings.NewReplacer(`\-`, "-", `\(aq`, "'", `\(dq`, `"`, `\e`, `\`, `\&`, "").Replace(font.ReplaceAllString(roff, ""))
}

func mentioned(text string) []string {
	var all []string
	for _, m := range option.FindAllStringSubmatch(text, -1) {
		all = append(all, m[2])
	}
	return all
}

// accepted lists every spelling that the parser takes in platter mode.
func accepted(v *verb.Verb) []string {
	all := []string{"-h", "--help"}
	for c, spec := 0, v.Spec(true); c < 256; c++ {
		if _, ok := spec.Short[byte(c)]; ok {
			all = append(all, "-"+string(rune(c)))
		}
	}
	for _, l := range v.Spec(true).Long {
		all = append(all, "--"+l.Name)
	}
	return all
}

// TestTablesHelpAndManAgree holds the three to each other: what help and the page name is accepted, what is accepted
// stands in the page, and each option is in the help.
func TestTablesHelpAndManAgree(t *testing.T) {
	pages := manual.Pages("1.2.3")
	for _, v := range manual.Verbs() {
		takes := accepted(v)
		help, page := v.Help("platter", false), plain(pages["platter-"+v.Name+".1"])
		body := strings.SplitN(page, ".SH OPTIONS", 2)[1]
		for _, word := range mentioned(help) {
			if !slices.Contains(takes, word) {
				t.Errorf("%s --help has %s, which is not accepted", v.Name, word)
			}
		}
		for _, line := range strings.Split(strings.Split(body, ".SH")[0], "\n") {
			if strings.HasPrefix(line, "-") {
				for _, word := range mentioned(line) {
					if !slices.Contains(takes, word) {
						t.Errorf("the page of %s has %s, which is not accepted", v.Name, word)
					}
				}
			}
		}
		for _, word := range takes {
			if !slices.Contains(mentioned(body), word) {
				t.Errorf("the page of %s lacks %s", v.Name, word)
			}
		}
		if left := leftMarkup.FindString(page + help); left != "" {
			t.Errorf("the page or the help of %s shows markup: %q", v.Name, left)
		}
		for _, r := range v.Options() {
			if !strings.Contains(help, "  "+r.Head(true)+"\n") {
				t.Errorf("%s --help lacks %s", v.Name, r.Head(true))
			}
			for _, value := range r.Values {
				if !strings.Contains(help, "\n       "+value.Name+"\n") || !strings.Contains(page, "\n"+value.Name+"\n") {
					t.Errorf("%s: %s is not in the help and on the page", v.Name, value.Name)
				}
			}
		}
		if !strings.Contains(plain(pages["platter.1"]), "platter-"+v.Name+"(1)\n") {
			t.Errorf("platter.1 lacks %s", v.Name)
		}
	}
}

// TestLongOrderIsComplete holds the order of stock's long names to the rows.
func TestLongOrderIsComplete(t *testing.T) {
	for _, v := range manual.Verbs() {
		order := strings.Fields(v.LongOrder)
		for _, r := range v.Options() {
			for _, name := range r.Names(false) {
				if !slices.Contains(order, name) {
					t.Errorf("%s: --%s has no place in LongOrder", v.Name, name)
				}
			}
			if len(r.Help) == 0 {
				t.Errorf("%s: %s is not explained", v.Name, r.Key())
			}
		}
		for _, name := range order {
			if name != "help" && v.Lookup(0, name) == nil {
				t.Errorf("%s: LongOrder has --%s, which no row has", v.Name, name)
			}
		}
	}
}

func TestExamplesAreAccepted(t *testing.T) {
	for _, v := range manual.Verbs() {
		for i := 0; i < len(v.Example); i += 2 {
			words := strings.Fields(v.Example[i])
			if words[0] != v.Name {
				t.Errorf("%q is no example of %s", v.Example[i], v.Name)
			}
			for _, w := range words[1:] {
				name, _, _ := strings.Cut(w, "=")
				if strings.HasPrefix(w, "-") && !slices.Contains(accepted(v), name) {
					t.Errorf("%q: %s is not accepted", v.Example[i], w)
				}
			}
		}
	}
}

func TestPagesAreSoundRoff(t *testing.T) {
	if _, err := exec.LookPath("groff"); err != nil {
		t.Skip(err)
	}
	var all strings.Builder
	for _, text := range manual.Pages("1.2.3") {
		all.WriteString(text)
	}
	c := exec.Command("groff", "-man", "-ww", "-Tascii", "-z")
	c.Stdin = strings.NewReader(all.String())
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s%v", out, err)
	}
}
