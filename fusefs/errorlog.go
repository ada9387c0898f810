package fusefs

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// logLines is how many failures are kept.
const logLines = 200

// errorLog keeps the words of the last failures, which errno cannot carry.
type errorLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *errorLog) add(format string, a ...any) {
	line := time.Now().Format("2006-01-02 15:04:05 ") + clean(fmt.Sprintf(format, a...))
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == logLines {
		l.lines = append(l.lines[:0], l.lines[1:]...)
	}
	l.lines = append(l.lines, line)
}

// clean keeps control characters of names out of the terminal, and each message on one line.
func clean(s string) string {
	s = strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "; ")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

func (l *errorLog) text() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 0 {
		return nil, nil
	}
	return []byte(strings.Join(l.lines, "\n") + "\n"), nil
}
