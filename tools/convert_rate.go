package tools

import (
	"context"
	"sync"
	"time"
)

// limiter keeps writing at a rate. A nil limiter lets everything pass.
type limiter struct {
	rate  float64 // bytes a second
	mu    sync.Mutex
	ready time.Time // when what was let pass is paid for
}

// newLimiter gives a limiter of rate bytes a second, nil for 0.
func newLimiter(rate int64) *limiter {
	if rate <= 0 {
		return nil
	}
	return &limiter{rate: float64(rate), ready: time.Now()}
}

// burst is what may be written before anything is held back, as a share of a second's bytes: as in QEMU's throttling.
const burst = 100 * time.Millisecond

// wait returns when n bytes may be written.
func (l *limiter) wait(ctx context.Context, n int64) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	now := time.Now()
	if l.ready.Before(now) {
		l.ready = now
	}
	delay := l.ready.Sub(now) - burst
	l.ready = l.ready.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	l.mu.Unlock()
	if delay <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
