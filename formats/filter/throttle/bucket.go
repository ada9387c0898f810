package throttle

import (
	"context"
	"strconv"
	"sync"
	"time"

	"platter/formats/qobj"
)

// bucket is one limit; rates are units (bytes or operations) per second.
type bucket struct {
	average, burst, length float64
	level                  float64
	last                   time.Time
}

// wait leaks what has flown off since the last call and says how long the bucket stays over its capacity.
func (b *bucket) wait(now time.Time) time.Duration {
	if b.average == 0 {
		return 0
	}
	if !b.last.IsZero() {
		b.level = max(0, b.level-b.average*now.Sub(b.last).Seconds())
	}
	b.last = now
	capacity := b.average / 10
	if b.burst > 0 {
		capacity = b.burst * b.length
	}
	if b.level <= capacity {
		return 0
	}
	return time.Duration((b.level - capacity) / b.average * float64(time.Second))
}

// direction tells reads from writes.
type direction int

const (
	reading direction = iota
	writing
)

// group is the state of a throttle group.
type group struct {
	mu       sync.Mutex
	total    [2]bucket // bytes, operations
	each     [2][2]bucket
	iopsSize float64
}

// newGroup reads the limits out of the object's properties: x-NAME, or NAME within limits.
func newGroup(d *qobj.Dict) *group {
	limits, _ := d.Dict("limits")
	value := func(name string, missing float64) float64 {
		v, ok := d.Get("x-" + name)
		if !ok && limits != nil {
			v, ok = limits.Get(name)
		}
		if !ok {
			return missing
		}
		return number(v, missing)
	}
	read := func(name string) bucket {
		return bucket{average: value(name, 0), burst: value(name+"-max", 0), length: value(name+"-max-length", 1)}
	}
	g := &group{iopsSize: value("iops-size", 0)}
	g.total = [2]bucket{read("bps-total"), read("iops-total")}
	g.each = [2][2]bucket{{read("bps-read"), read("iops-read")}, {read("bps-write"), read("iops-write")}}
	return g
}

func number(v any, missing float64) float64 {
	switch n := v.(type) {
	case int64:
		return float64(n)
	case uint64:
		return float64(n)
	case float64:
		return n
	case string:
		if f, err := strconv.ParseFloat(n, 64); err == nil {
			return f
		}
	}
	return missing
}

// pass waits until n bytes may move in a direction, and counts them.
func (g *group) pass(ctx context.Context, dir direction, n int64) error {
	ops := 1.0
	if g.iopsSize > 0 {
		ops = max(1, float64(n)/g.iopsSize)
	}
	for {
		g.mu.Lock()
		now, wait := time.Now(), time.Duration(0)
		buckets := []*bucket{&g.total[0], &g.total[1], &g.each[dir][0], &g.each[dir][1]}
		for _, b := range buckets {
			wait = max(wait, b.wait(now))
		}
		if wait == 0 {
			for k, b := range buckets {
				b.level += []float64{float64(n), ops}[k%2]
			}
		}
		g.mu.Unlock()
		if wait == 0 {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}
