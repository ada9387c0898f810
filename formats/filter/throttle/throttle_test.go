package throttle

import (
	"context"
	"testing"
	"time"

	"platter/formats/qobj"
)

func limits(pairs map[string]any) *group {
	d := qobj.NewDict()
	for k, v := range pairs {
		d.Set(k, v)
	}
	return newGroup(d)
}

// TestWaitsAreThoseOfTheBucket looks at the waits that the buckets ask for, on a clock of its own.
func TestWaitsAreThoseOfTheBucket(t *testing.T) {
	start := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		b     bucket
		after time.Duration
		want  time.Duration
	}{
		"no limit":            {bucket{level: 1e9}, 0, 0},
		"below capacity":      {bucket{average: 100, level: 10, last: start}, 0, 0},
		"over capacity":       {bucket{average: 100, level: 60, last: start}, 0, 500 * time.Millisecond},
		"some has leaked":     {bucket{average: 100, level: 60, last: start}, 250 * time.Millisecond, 250 * time.Millisecond},
		"all has leaked":      {bucket{average: 100, level: 60, last: start}, time.Second, 0},
		"a burst is allowed":  {bucket{average: 100, burst: 400, length: 2, level: 800, last: start}, 0, 0},
		"more than the burst": {bucket{average: 100, burst: 400, length: 2, level: 900, last: start}, 0, time.Second},
	} {
		if got := c.b.wait(start.Add(c.after)); got != c.want {
			t.Errorf("%s: wait %v, want %v", name, got, c.want)
		}
	}
}

func TestLimitsAreReadInBothForms(t *testing.T) {
	inner := qobj.NewDict()
	inner.Set("iops-read", int64(7))
	inner.Set("iops-read-max", int64(9))
	g := limits(map[string]any{"x-bps-total": "1000", "x-iops-size": int64(512), "limits": inner})
	if g.total[0].average != 1000 || g.iopsSize != 512 || g.each[reading][1].average != 7 || g.each[reading][1].burst != 9 {
		t.Errorf("read as %+v", g)
	}
	if g.each[writing][1].average != 0 {
		t.Error("writes are limited, too")
	}
}

func TestLargeRequestsCountAsSeveral(t *testing.T) {
	g := limits(map[string]any{"x-iops-total": int64(1000), "x-iops-size": int64(4096)})
	if err := g.pass(context.Background(), reading, 40960); err != nil {
		t.Fatal(err)
	}
	if got := g.total[1].level; got != 10 {
		t.Errorf("40960 bytes count as %v operations, want 10", got)
	}
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	g := limits(map[string]any{"x-bps-write": int64(1)})
	ctx, cancel := context.WithCancel(context.Background())
	if err := g.pass(ctx, writing, 1<<30); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := g.pass(ctx, writing, 1); err == nil {
		t.Error("a request passes the group after its context ended")
	}
	if err := g.pass(context.Background(), reading, 1<<30); err != nil {
		t.Errorf("reads are not limited: %v", err)
	}
}
