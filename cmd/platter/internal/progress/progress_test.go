package progress

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestLineIsStocks(t *testing.T) {
	var out bytes.Buffer
	p := Line(&out)
	p.Meter.Advance(0, 100)
	p.Meter.Advance(12.345, 100)
	p.Meter.Advance(100, 0)
	p.End()
	want := "    (0.00/100%)\r    (12.35/100%)\r    (100.00/100%)\r\n"
	if out.String() != want {
		t.Errorf("%q", out.String())
	}
}

func TestOnRequest(t *testing.T) {
	var out bytes.Buffer
	p := OnRequest(&out)
	p.Meter.Advance(1, 100)
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	for i := 0; out.Len() == 0 && i < 1000; i++ {
		time.Sleep(time.Millisecond)
		p.Meter.Advance(0.01, 100)
	}
	p.End()
	if !strings.HasPrefix(out.String(), "    (1.0") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%q", out.String())
	}
}

func TestBar(t *testing.T) {
	var out bytes.Buffer
	clock := time.Unix(0, 0)
	b := &bar{out: &out, now: func() time.Time { return clock }, width: 60}
	b.tick(0)
	clock = clock.Add(100 * time.Millisecond)
	b.tick(1)
	if out.Len() != 0 {
		t.Errorf("drawn too early: %q", out.String())
	}
	clock = clock.Add(9900 * time.Millisecond)
	b.tick(20)
	want := "\r[=====>                       ]  20.0 %  2.0 %/s  0:40 left\x1b[K"
	if out.String() != want {
		t.Errorf("\n got %q\nwant %q", out.String(), want)
	}
	b.whole(1 << 30)
	if got := b.line(20, 10*time.Second); !strings.HasSuffix(got, "]  20.0 %  20.5 MiB/s  0:40 left") || len(got) > 60 {
		t.Errorf("%q", got)
	}
	clock = clock.Add(time.Millisecond)
	b.tick(21)
	b.clear()
	if out.String() != want+"\r\x1b[K" {
		t.Errorf("%q", out.String())
	}
}
