package nbd

import (
	"context"
	"encoding/binary"
	"io"
	"math"
	"net"
	"sync"
	"syscall"
	"time"

	"platter/formats/qerr"
)

const (
	requestMagic    = 0x25609513
	simpleMagic     = 0x67446698
	structuredMagic = 0x668e33ef

	cmdRead        = 0
	cmdWrite       = 1
	cmdDisconnect  = 2
	cmdFlush       = 3
	cmdTrim        = 4
	cmdWriteZeroes = 6
	cmdBlockStatus = 7

	cmdFlagFUA      = 1 << 0
	cmdFlagNoHole   = 1 << 1
	cmdFlagReqOne   = 1 << 3
	cmdFlagFastZero = 1 << 4

	chunkDone   = 1 << 0
	chunkNone   = 0
	chunkData   = 1
	chunkHole   = 2
	chunkStatus = 5
	chunkError  = 1<<15 + 1
	chunkErrOff = 1<<15 + 2

	// maxTransfer is the most that servers must take in one request where they do not say more.
	maxTransfer = 32 << 20
	maxText     = 4096
	maxExtents  = 1 << 20 // bytes of block status in one chunk
)

// request is one command under way.
type request struct {
	kind   uint16
	off    int64
	n      int64
	into   []byte // of a read
	status func(id uint32, extents []byte)
	err    error
	done   chan struct{}
}

// client multiplexes requests over one connection.
type client struct {
	s       *session
	writing sync.Mutex
	mu      sync.Mutex
	cookie  uint64
	waiting map[uint64]*request
	broken  error
	told    bool      // a request has ended with broken
	since   time.Time // when it broke
	closed  bool
}

// brokenSince tells whether the connection broke, and when.
func (c *client) brokenSince() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since, c.broken != nil
}

// toldBroken tells whether a request has ended with the reason why the connection broke.
func (c *client) toldBroken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told
}

func newClient(s *session) *client {
	c := &client{s: s, waiting: map[uint64]*request{}}
	go c.receive()
	return c
}

// do sends a command and waits for its reply. When ctx ends the reply still comes, and goes into the caller's buffer,
// so the wait goes on: a server that hangs is broken by closing the connection.
func (c *client) do(ctx context.Context, r *request, flags uint16, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.done = make(chan struct{})
	c.mu.Lock()
	if c.broken != nil {
		defer c.mu.Unlock()
		return c.broken
	}
	c.cookie++
	cookie := c.cookie
	c.waiting[cookie] = r
	c.mu.Unlock()
	if err := c.send(r, flags, cookie, payload); err != nil {
		c.fail(err)
	}
	stop := context.AfterFunc(ctx, func() { c.fail(ctx.Err()) })
	defer stop()
	<-r.done
	return r.err
}

func (c *client) send(r *request, flags uint16, cookie uint64, payload []byte) error {
	head := make([]byte, 0, 28)
	be := binary.BigEndian
	head = be.AppendUint32(head, requestMagic)
	head = be.AppendUint16(head, flags)
	head = be.AppendUint16(head, r.kind)
	head = be.AppendUint64(head, cookie)
	head = be.AppendUint64(head, uint64(r.off))
	head = be.AppendUint32(head, uint32(r.n))
	c.writing.Lock()
	defer c.writing.Unlock()
	bufs := net.Buffers{head}
	if len(payload) > 0 {
		bufs = append(bufs, payload)
	}
	_, err := bufs.WriteTo(c.s.conn)
	return err
}

// fail breaks the connection: all requests end with EIO.
func (c *client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		c.broken = qerr.New(syscall.EIO, "the connection to the NBD server broke: %s", ioText(err))
		c.since = time.Now()
		c.s.conn.Close()
	}
	for k, r := range c.waiting {
		delete(c.waiting, k)
		r.err, c.told = c.broken, true
		close(r.done)
	}
}

// receive reads replies until the connection ends.
func (c *client) receive() {
	for {
		if err := c.receiveOne(); err != nil {
			c.fail(err)
			return
		}
	}
}

func (c *client) receiveOne() error {
	var head [20]byte
	if _, err := io.ReadFull(c.s.r, head[:16]); err != nil {
		return err
	}
	be := binary.BigEndian
	switch magic := be.Uint32(head[:]); {
	case magic == simpleMagic:
		return c.simple(be.Uint64(head[8:]), be.Uint32(head[4:]))
	case magic == structuredMagic && c.s.structured:
		if _, err := io.ReadFull(c.s.r, head[16:]); err != nil {
			return err
		}
		return c.chunk(be.Uint64(head[8:]), be.Uint16(head[4:]), be.Uint16(head[6:]), be.Uint32(head[16:]))
	default:
		return protocolError("invalid magic 0x%x", magic)
	}
}

func protocolError(format string, a ...any) error {
	return qerr.New(syscall.EINVAL, "protocol error: "+format, a...)
}

// find gives a request under way; it stays under way.
func (c *client) find(cookie uint64) (*request, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.waiting[cookie]; r != nil {
		return r, nil
	}
	return nil, protocolError("a reply for no request")
}

// end completes a request, if it is still under way.
func (c *client) end(cookie uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.waiting[cookie]; r != nil {
		delete(c.waiting, cookie)
		close(r.done)
	}
}

func (c *client) simple(cookie uint64, code uint32) error {
	r, err := c.find(cookie)
	if err != nil {
		return err
	}
	switch {
	case code != 0:
		r.err = errnoOf(code)
	case r.kind == cmdRead && c.s.structured:
		return protocolError("a simple reply to a read with structured replies")
	case r.kind == cmdRead:
		if _, err := io.ReadFull(c.s.r, r.into); err != nil {
			return err
		}
	}
	c.end(cookie)
	return nil
}

// chunk takes one part of a structured reply.
func (c *client) chunk(cookie uint64, flags, kind uint16, n uint32) error {
	r, err := c.find(cookie)
	if err != nil {
		return err
	}
	switch {
	case kind == chunkNone && n == 0:
	case kind == chunkData && r.kind == cmdRead:
		err = c.data(r, int64(n))
	case kind == chunkHole && r.kind == cmdRead && n == 12:
		err = c.hole(r)
	case kind == chunkStatus && r.kind == cmdBlockStatus && n >= 12 && n <= maxExtents && (n-4)%8 == 0:
		err = c.extents(r, n)
	case kind == chunkError || kind == chunkErrOff:
		err = c.error(r, kind, n)
	default:
		err = protocolError("unexpected chunk of type %d with %d bytes", kind, n)
	}
	if err == nil && flags&chunkDone != 0 {
		c.end(cookie)
	}
	return err
}

// within holds a range in a reply against the request and gives its offset in the buffer.
func (r *request) within(off uint64, n int64) (int64, error) {
	if off > math.MaxInt64 || int64(off) < r.off || n < 0 || int64(off)-r.off > r.n-n {
		return 0, protocolError("a chunk of %d bytes at %d in the reply to a read of %d at %d", n, off, r.n, r.off)
	}
	return int64(off) - r.off, nil
}

func (c *client) data(r *request, n int64) error {
	var off uint64
	if n < 9 {
		return protocolError("a data chunk of %d bytes", n)
	}
	if err := binary.Read(c.s.r, binary.BigEndian, &off); err != nil {
		return err
	}
	at, err := r.within(off, n-8)
	if err == nil {
		_, err = io.ReadFull(c.s.r, r.into[at:at+n-8])
	}
	return err
}

func (c *client) hole(r *request) error {
	var h struct {
		Off uint64
		Len uint32
	}
	if err := binary.Read(c.s.r, binary.BigEndian, &h); err != nil {
		return err
	}
	at, err := r.within(h.Off, int64(h.Len))
	if err == nil {
		clear(r.into[at : at+int64(h.Len)])
	}
	return err
}

func (c *client) extents(r *request, n uint32) error {
	p := make([]byte, n)
	if _, err := io.ReadFull(c.s.r, p); err != nil {
		return err
	}
	r.status(binary.BigEndian.Uint32(p), p[4:])
	return nil
}

func (c *client) error(r *request, kind uint16, n uint32) error {
	if n < 6 || n > maxText+14 {
		return protocolError("an error chunk of %d bytes", n)
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(c.s.r, p); err != nil {
		return err
	}
	if r.err == nil {
		r.err = errnoOf(binary.BigEndian.Uint32(p))
	}
	return nil
}

// errnoOf maps the protocol's error numbers, which are Linux's, but only some of them.
func errnoOf(code uint32) error {
	switch e := syscall.Errno(code); e {
	case syscall.EPERM, syscall.EIO, syscall.ENOMEM, syscall.ENOSPC, syscall.EOVERFLOW, syscall.EOPNOTSUPP, syscall.ESHUTDOWN:
		return e
	}
	return syscall.EINVAL
}

// close says goodbye and ends the connection. That it breaks now does no harm.
func (c *client) close() {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	broken := c.broken != nil
	c.mu.Unlock()
	if closed {
		return
	}
	if !broken {
		c.send(&request{kind: cmdDisconnect}, 0, 0, nil)
	}
	c.s.conn.Close()
}
