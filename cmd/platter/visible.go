package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// visible makes text fit for a terminal: control characters, which names in images or of files may have, become \xNN.
// Those in keep stay.
func visible(s, keep string) string {
	odd := func(r rune) bool { return (r < ' ' || r >= 0x7f) && !strings.ContainsRune(keep, r) }
	if !strings.ContainsFunc(s, odd) {
		return s
	}
	var b strings.Builder
	for i, n := 0, 0; i < len(s); i += n {
		var r rune
		r, n = utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			r = rune(s[i]) // a name in another encoding, where the same bytes are control characters
		}
		control := r < ' ' || r >= 0x7f && r < 0xa0
		if !control || strings.ContainsRune(keep, r) {
			b.WriteString(s[i : i+n])
			continue
		}
		for _, c := range []byte(s[i : i+n]) {
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// safe is the text of messages and results as they are printed: as qemu-img they are what they are, under platter's own
// name no name in them can steer the terminal.
func (e *env) safe(text string) string {
	if e.stock {
		return text
	}
	return visible(text, "\n\t")
}

// safeWriter makes each text that is written safe.
type safeWriter struct {
	e   *env
	out io.Writer
}

// Write writes a text that ends at the end of a character.
func (w safeWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.out, w.e.safe(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
