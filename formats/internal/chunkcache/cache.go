package chunkcache

import (
	"container/list"
	"sync"
)

// Cache holds chunks by number. All methods may be called concurrently. The zero Cache is not usable; see New.
type Cache struct {
	mu     sync.Mutex
	limit  int64 // bytes
	bytes  int64
	chunks map[int64]*chunk
	order  list.List // front: used last
}

// chunk is one entry; ready is closed when data or err is set.
type chunk struct {
	number int64
	data   []byte
	err    error
	ready  chan struct{}
	place  *list.Element
}

// New makes a cache of about limit bytes; the chunk asked for last is kept however large it is.
func New(limit int64) *Cache {
	return &Cache{limit: limit, chunks: map[int64]*chunk{}}
}

// Get gives chunk number, calling decode to make it if it is not there. The data is shared and must not be changed. An
// error is not kept: the next caller tries again.
func (c *Cache) Get(number int64, decode func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	if k := c.chunks[number]; k != nil {
		c.order.MoveToFront(k.place)
		c.mu.Unlock()
		<-k.ready
		return k.data, k.err
	}
	k := &chunk{number: number, ready: make(chan struct{})}
	k.place = c.order.PushFront(k)
	c.chunks[number] = k
	c.mu.Unlock()

	data, err := decode()
	c.mu.Lock()
	k.data, k.err = data, err
	close(k.ready)
	if err != nil {
		c.drop(k)
	} else if c.chunks[number] == k {
		c.bytes += int64(len(data))
		c.shrink(k)
	}
	c.mu.Unlock()
	return data, err
}

// Forget drops a chunk whose source has changed.
func (c *Cache) Forget(number int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.chunks[number]; k != nil {
		c.drop(k)
	}
}

// drop removes k if it is still there. The lock is held.
func (c *Cache) drop(k *chunk) {
	if c.chunks[k.number] != k {
		return
	}
	c.order.Remove(k.place)
	delete(c.chunks, k.number)
	select {
	case <-k.ready:
		c.bytes -= int64(len(k.data))
	default: // still being made: not counted yet
	}
}

// shrink drops the chunks used longest ago, but not keep and none that is being made. The lock is held.
func (c *Cache) shrink(keep *chunk) {
	for e := c.order.Back(); e != nil && c.bytes > c.limit; {
		k := e.Value.(*chunk)
		e = e.Prev()
		select {
		case <-k.ready:
			if k != keep {
				c.drop(k)
			}
		default:
		}
	}
}
