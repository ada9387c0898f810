package formats

import "context"

// Committed is ctx for what must be finished once metadata has begun to change: it is never cancelled. In contrast to
// context.WithoutCancel it makes nothing new of a context that cannot be cancelled, so that a write costs no allocation.
func Committed(ctx context.Context) context.Context {
	if ctx.Done() == nil {
		return ctx
	}
	return context.WithoutCancel(ctx)
}
