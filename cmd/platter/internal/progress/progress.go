package progress

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"platter/tools"
)

// Progress shows how far a verb is.
type Progress struct {
	Meter *tools.Meter // to be given to the verb
	end   func()
}

// End finishes what is shown, after a failure, too.
func (p *Progress) End() { p.end() }

// Line is qemu-img's way, which -p asks for: one line, written over.
func Line(out io.Writer) *Progress {
	show := func(percent float32) { Show(out, percent) }
	return &Progress{Meter: &tools.Meter{Show: show}, end: func() { EndLine(out) }}
}

// Show writes one percentage in qemu-img's way.
func Show(out io.Writer, percent float32) { fmt.Fprintf(out, "    (%3.2f/100%%)\r", percent) }

// EndLine ends the line that qemu-img -p writes; it does so even if no percentage has been written.
func EndLine(out io.Writer) { io.WriteString(out, "\n") }

// OnRequest is silent until SIGUSR1 asks for a line on out, which is standard error.
func OnRequest(out io.Writer) *Progress {
	var asked atomic.Bool
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGUSR1)
	go func() {
		for range caught {
			asked.Store(true)
		}
	}()
	tick := func(percent float32) {
		if asked.Swap(false) {
			fmt.Fprintf(out, "    (%3.2f/100%%)\n", percent)
		}
	}
	return &Progress{Meter: &tools.Meter{Tick: tick}, end: func() { signal.Stop(caught); close(caught) }}
}

// Bar draws a bar with the rate and the remaining time on a terminal.
func Bar(out io.Writer) *Progress {
	b := &bar{out: out, now: time.Now, width: terminalWidth(out)}
	return &Progress{&tools.Meter{Tick: b.tick, Whole: b.whole}, b.clear}
}

// bar is one line that is drawn over and over.
type bar struct {
	out   io.Writer
	now   func() time.Time
	width int

	mu           sync.Mutex
	start, drawn time.Time
	first        float32 // percentage at start
	visible      bool
	total        int64 // bytes; 0 if not known
}

const (
	barDelay    = 500 * time.Millisecond // what is over sooner needs no bar
	barInterval = 100 * time.Millisecond
)

// whole lets the bar show the rate in bytes.
func (b *bar) whole(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total = bytes
}

func (b *bar) tick(percent float32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if b.start.IsZero() {
		b.start, b.first = now, percent
	}
	if now.Sub(b.start) < barDelay || now.Sub(b.drawn) < barInterval {
		return
	}
	b.drawn, b.visible = now, true
	io.WriteString(b.out, "\r"+b.line(percent, now.Sub(b.start))+"\x1b[K")
}

// line is "[=====>      ]  42.0 %  117 MiB/s  0:41 left", with the rate in percent if the size is not known.
func (b *bar) line(percent float32, elapsed time.Duration) string {
	tail := fmt.Sprintf(" %5.1f %%", percent)
	if rate := float64(percent-b.first) / elapsed.Seconds(); rate > 0 {
		left := time.Duration(float64(100-percent) / rate * float64(time.Second)).Round(time.Second)
		tail += "  " + b.rate(rate) + "  " + clock(left) + " left"
	}
	room := min(b.width-len(tail)-3, 40)
	if room < 5 {
		return strings.TrimSpace(tail)
	}
	done := min(int(percent/100*float32(room)), room)
	head := ""
	if done < room {
		head = ">"
	}
	return "[" + strings.Repeat("=", done) + head + strings.Repeat(" ", room-done-len(head)) + "]" + tail
}

func (b *bar) rate(percent float64) string {
	if b.total == 0 {
		return fmt.Sprintf("%.1f %%/s", percent)
	}
	r, unit := percent/100*float64(b.total), 0
	for r >= 1024 && unit < 4 {
		r, unit = r/1024, unit+1
	}
	return fmt.Sprintf("%.3g %s/s", r, []string{"B", "KiB", "MiB", "GiB", "TiB"}[unit])
}

func clock(d time.Duration) string {
	s := int(d.Seconds())
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

func (b *bar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.visible {
		io.WriteString(b.out, "\r\x1b[K")
	}
}

// IsTerminal says whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// terminalWidth is 80 if it cannot be told.
func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
	}
	return 80
}
