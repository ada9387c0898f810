package formats

import "context"

// Turn is the place of a write in an order. Where a file's layout depends on the order in which concurrent writes
// allocate their space, the caller gives each write a turn: the driver awaits it before it allocates, and passes it on as
// soon as what the write needs is allocated, so that compressing, and moving data, overlap. A driver that knows nothing
// of turns is correct: the caller then passes them on itself.
//
// The methods may be called more than once, and on a nil Turn.
type Turn struct {
	await func() error
	pass  func()
}

// NewTurn makes a turn of two functions: await blocks until the turn has come, pass lets the next one come.
func NewTurn(await func() error, pass func()) *Turn { return &Turn{await, pass} }

// Await returns when it is this write's turn, or with an error if it will not come.
func (t *Turn) Await() error {
	if t == nil {
		return nil
	}
	return t.await()
}

// Pass lets the next write have its turn.
func (t *Turn) Pass() {
	if t != nil {
		t.pass()
	}
}

type turnKey struct{}

// WithTurn gives the write that is called with the context its turn; nil takes it away.
func WithTurn(ctx context.Context, t *Turn) context.Context {
	if t == nil && TurnOf(ctx) == nil {
		return ctx
	}
	return context.WithValue(ctx, turnKey{}, t)
}

// TurnOf is the turn of the present write, nil if it has none. What a driver writes to its children on the way must not
// take the turn again: it goes by WithTurn(ctx, nil), or the turn is passed on before.
func TurnOf(ctx context.Context) *Turn {
	t, _ := ctx.Value(turnKey{}).(*Turn)
	return t
}

// AheadCompressor is a CompressedWriter that compresses a cluster before it awaits its turn, so that several clusters can
// be given to it at once.
type AheadCompressor interface {
	CompressedWriter
	CompressesAhead()
}
