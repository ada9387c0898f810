package twin

import (
	"fmt"
	"strings"
)

// Unified shows the lines in which two texts differ, "" if they are the same. The texts are short, so the longest
// common subsequence is computed in full.
func Unified(what, want, have string) string {
	if want == have {
		return ""
	}
	a, b := lines(want), lines(have)
	if len(a)*len(b) > 16<<20 {
		return fmt.Sprintf("--- stock %s\n+++ ours %s\n(too long to show: %d and %d lines)\n", what, what, len(a), len(b))
	}
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	out := fmt.Sprintf("--- stock %s\n+++ ours %s\n", what, what)
	kept := 0
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			if kept++; kept <= 3 {
				out += " " + a[i] + "\n"
			}
			i, j = i+1, j+1
			continue
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out += "-" + a[i] + "\n"
			i++
		default:
			out += "+" + b[j] + "\n"
			j++
		}
		kept = 0
	}
	return out
}

// lines splits a text; a missing newline at the end, and blanks that a terminal hides, are made visible.
func lines(s string) []string {
	if s == "" {
		return nil
	}
	s = strings.NewReplacer("\r", "\\r", "\t", "\\t").Replace(s)
	if rest, ok := strings.CutSuffix(s, "\n"); ok {
		return strings.Split(rest, "\n")
	}
	return strings.Split(s+"\\(no newline)", "\n")
}

// Words splits a command line at blanks; '…' keeps blanks and makes empty words.
func Words(line string) []string {
	var out []string
	var word strings.Builder
	quoted, some := false, false
	for _, c := range line {
		switch {
		case c == '\'':
			quoted, some = !quoted, true
		case c == ' ' && !quoted:
			if some {
				out = append(out, word.String())
			}
			word.Reset()
			some = false
		default:
			word.WriteRune(c)
			some = true
		}
	}
	if some {
		out = append(out, word.String())
	}
	return out
}
