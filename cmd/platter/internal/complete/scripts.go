package complete

import (
	_ "embed"
	"io"
	"strings"
)

var (
	//go:embed platter.bash
	bash string
	//go:embed platter.zsh
	zsh string
	//go:embed platter.fish
	fish string
)

// Script gives the script for a shell; false if there is none.
func Script(shell string) (string, bool) {
	s, ok := map[string]string{"bash": bash, "zsh": zsh, "fish": fish}[shell]
	return s, ok
}

// Answers writes what a script asks for: a line with "files" and the prefix, or "words"; then a candidate a line, for
// zsh and fish with a tab and its help. bash gives the line as typed, the others the words.
func Answers(out io.Writer, names Names, shell string, args []string) {
	word := ""
	if shell == "bash" {
		args = split(strings.Join(args, " "))
		args = args[1:] // the program
	}
	if len(args) > 0 {
		word = args[len(args)-1]
	}
	a := Complete(names, args)
	if a.Files {
		io.WriteString(out, strings.TrimSpace("files "+a.Prefix)+"\n")
		return
	}
	io.WriteString(out, "words\n")
	// bash takes "=" and ":" for the ends of words and replaces only what follows them.
	cut := strings.LastIndexAny(word, "=:") + 1
	for _, c := range a.Candidates {
		if shell == "bash" {
			io.WriteString(out, c.Word[min(cut, len(c.Word)):]+"\n")
			continue
		}
		io.WriteString(out, c.Word+"\t"+c.Help+"\n")
	}
}

// split cuts a line into words as a shell does: quotes and backslashes hold words together. The last word may be empty
// or unfinished. There is always at least one.
func split(line string) []string {
	var words []string
	var w strings.Builder
	quote, begun := byte(0), false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			w.WriteByte(line[i])
			begun = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, begun = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if begun {
				words = append(words, w.String())
			}
			w.Reset()
			begun = false
		default:
			w.WriteByte(c)
			begun = true
		}
	}
	return append(words, w.String())
}
