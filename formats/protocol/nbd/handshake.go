package nbd

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"platter/formats/qerr"
)

// Numbers of the protocol ("Values" of doc/proto.md).
const (
	initMagic   = 0x4e42444d41474943 // NBDMAGIC
	oldMagic    = 0x00420281861253
	optionMagic = 0x49484156454f5054 // IHAVEOPT
	replyMagic  = 0x0003e889045565a9

	flagFixedNewstyle = 1 << 0
	flagNoZeroes      = 1 << 1

	optExportName      = 1
	optAbort           = 2
	optStartTLS        = 5
	optGo              = 7
	optStructuredReply = 8
	optSetMetaContext  = 10

	repAck         = 1
	repInfo        = 3
	repMetaContext = 4
	repError       = 1 << 31
	repUnknown     = repError + 6
	repUnsup       = repError + 1
	repTLSRequired = repError + 5

	infoExport    = 0
	infoBlockSize = 3

	maxName   = 4096
	maxOption = 64 << 10 // of what a server may send in reply to an option

	baseAllocation = "base:allocation"
)

// Transmission flags of an export.
const (
	flagHas         = 1 << 0
	flagReadOnly    = 1 << 1
	flagFlush       = 1 << 2
	flagFUA         = 1 << 3
	flagTrim        = 1 << 5
	flagWriteZeroes = 1 << 6
	flagFastZero    = 1 << 11
)

// session is a connection in the transmission phase.
type session struct {
	conn       net.Conn
	r          *bufio.Reader
	size       uint64
	flags      uint16
	minBlock   uint32
	maxBlock   uint32
	structured bool
	metaID     uint32 // of the context asked for
	hasMeta    bool
}

// negotiator speaks the handshake.
type negotiator struct {
	session
	export   string
	secure   bool // TLS has begun
	noZeroes bool // no reserved block follows the answer to optExportName
}

// reserved is the length of the block of zeroes that ends the older handshakes.
const reserved = 124

func handshake(ctx context.Context, c net.Conn, export, meta string, config *tls.Config) (*session, error) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	n := &negotiator{session: session{conn: c, r: bufio.NewReaderSize(c, 64<<10)}, export: export}
	kind, err := n.greet()
	if err == nil && kind != newStyle {
		err = n.older(kind, config != nil)
		s := n.session
		return &s, err
	}
	if err != nil {
		return nil, err
	}
	if config != nil {
		if err := n.startTLS(ctx, config); err != nil {
			return nil, err
		}
	}
	if err := n.structuredReplies(meta); err != nil {
		return nil, err
	}
	if err := n.goTransmit(); err != nil {
		return nil, err
	}
	s := n.session
	return &s, nil
}

// read reads p, which is called what in messages.
func (n *negotiator) read(what string, p any) error {
	if err := binary.Read(n.r, binary.BigEndian, p); err != nil {
		if n.secure && (err == io.EOF || err == io.ErrUnexpectedEOF) {
			return qerr.New(syscall.EINVAL, "Failed to read %s: Cannot read from TLS channel: The TLS connection was non-properly terminated.", what)
		}
		return qerr.New(syscall.EINVAL, "Failed to read %s: %s", what, ioText(err))
	}
	return nil
}

func ioText(err error) string {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return "Unexpected end-of-file before all data were read"
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return "Unable to read from socket: " + qerr.Strerror(errno)
	}
	return qerr.Text(err)
}

// style is the way in which a server shakes hands.
type style int

const (
	newStyle   style = iota // fixed newstyle: options and replies
	plainStyle              // newstyle before it was fixed: the one option that names the export
	oldStyle                // the server just tells of its only export
)

func (n *negotiator) greet() (style, error) {
	var magic, kind uint64
	if err := n.read("initial magic", &magic); err != nil {
		return 0, err
	}
	if magic != initMagic {
		return 0, qerr.New(syscall.EINVAL, "Bad initial magic received: 0x%016x", magic)
	}
	if err := n.read("server magic", &kind); err != nil {
		return 0, err
	}
	if kind == oldMagic {
		return oldStyle, nil
	}
	if kind != optionMagic {
		return 0, qerr.New(syscall.EINVAL, "Bad server magic received: 0x%016x", kind)
	}
	var flags uint16
	if err := n.read("server flags", &flags); err != nil {
		return 0, err
	}
	as, answer := plainStyle, uint32(0)
	if flags&flagFixedNewstyle != 0 {
		as, answer = newStyle, flagFixedNewstyle
	}
	if flags&flagNoZeroes != 0 {
		answer |= flagNoZeroes
	}
	n.noZeroes = flags&flagNoZeroes != 0
	return as, n.write("clientflags field", binary.BigEndian.AppendUint32(nil, answer))
}

// older ends the handshake with servers that know no options.
func (n *negotiator) older(kind style, secure bool) error {
	if secure {
		return qerr.New(syscall.EINVAL, "Server does not support STARTTLS")
	}
	if kind == plainStyle {
		return n.exportName()
	}
	if n.export != "" {
		return qerr.New(syscall.EINVAL, "Server does not support non-empty export names")
	}
	if err := n.read("export length", &n.size); err != nil {
		return err
	}
	var flags uint32
	if err := n.read("export flags", &flags); err != nil {
		return err
	}
	n.flags = uint16(flags)
	return n.read("reserved block", make([]byte, reserved))
}

// send sends an option.
func (n *negotiator) send(opt uint32, data []byte) error {
	p := binary.BigEndian.AppendUint64(nil, optionMagic)
	p = binary.BigEndian.AppendUint32(p, opt)
	p = binary.BigEndian.AppendUint32(p, uint32(len(data)))
	return n.write("option request header", append(p, data...))
}

// write sends p, which is what.
func (n *negotiator) write(what string, p []byte) error {
	_, err := n.conn.Write(p)
	if err == nil {
		return nil
	}
	text := qerr.Text(err)
	var errno syscall.Errno
	if errors.As(err, &errno) {
		text = "Unable to write to socket: " + qerr.Strerror(errno)
	}
	return qerr.New(syscall.EIO, "Failed to send %s: %s", what, text)
}

// reply is one answer to an option.
type reply struct {
	kind uint32
	data []byte
}

func (n *negotiator) receive(opt uint32) (reply, error) {
	var head struct {
		Magic     uint64
		Opt, Kind uint32
		Len       uint32
	}
	if err := n.read("option reply", &head); err != nil {
		return reply{}, err
	}
	switch {
	case head.Magic != replyMagic:
		return reply{}, qerr.New(syscall.EINVAL, "Unexpected option reply magic")
	case head.Opt != opt:
		return reply{}, qerr.New(syscall.EINVAL, "Unexpected option type %d, expected %d", head.Opt, opt)
	case head.Len > maxOption:
		return reply{}, qerr.New(syscall.EINVAL, "the reply to option %d has %d bytes, more than %d", opt, head.Len, maxOption)
	}
	r := reply{kind: head.Kind, data: make([]byte, head.Len)}
	_, err := io.ReadFull(n.r, r.data)
	return r, err
}

func (n *negotiator) startTLS(ctx context.Context, config *tls.Config) error {
	if err := n.send(optStartTLS, nil); err != nil {
		return err
	}
	r, err := n.receive(optStartTLS)
	if err != nil {
		return err
	}
	if r.kind != repAck {
		return n.refused(r, optStartTLS, "starttls")
	}
	c := tls.Client(n.conn, config)
	if err := c.HandshakeContext(ctx); err != nil {
		var own *qerr.Error
		if errors.As(err, &own) {
			return own
		}
		return qerr.New(syscall.EINVAL, "TLS handshake failed: %s", err)
	}
	n.secure = true
	n.conn, n.r = c, bufio.NewReaderSize(c, 64<<10)
	return nil
}

// structuredReplies asks for them, and for the metadata context that block status needs.
func (n *negotiator) structuredReplies(meta string) error {
	if err := n.send(optStructuredReply, nil); err != nil {
		return err
	}
	r, err := n.receive(optStructuredReply)
	if err != nil {
		return err
	}
	if r.kind != repAck {
		return nil // what is wrong comes up again when the export is asked for
	}
	n.structured = true
	data := appendString(nil, n.export)
	data = appendString(binary.BigEndian.AppendUint32(data, 1), meta)
	if err := n.send(optSetMetaContext, data); err != nil {
		return err
	}
	for {
		r, err := n.receive(optSetMetaContext)
		if err != nil || r.kind != repMetaContext {
			return err // an error reply only means that there is no block status
		}
		if len(r.data) >= 4 && string(r.data[4:]) == meta {
			n.metaID, n.hasMeta = binary.BigEndian.Uint32(r.data), true
		}
	}
}

func appendString(p []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(p, uint32(len(s))), s...)
}

// goTransmit asks for the export and ends the handshake.
func (n *negotiator) goTransmit() error {
	data := appendString(nil, n.export)
	data = binary.BigEndian.AppendUint16(data, 1)
	data = binary.BigEndian.AppendUint16(data, infoBlockSize)
	if err := n.send(optGo, data); err != nil {
		return err
	}
	for {
		r, err := n.receive(optGo)
		switch {
		case err != nil:
			return err
		case r.kind == repAck && n.flags&flagHas != 0:
			return nil
		case r.kind == repAck:
			return qerr.New(syscall.EINVAL, "the NBD server did not describe the export '%s'", n.export)
		case r.kind == repUnsup:
			return n.exportName()
		case r.kind&repError != 0:
			return n.refused(r, optGo, "go")
		case r.kind == repInfo:
			if err := n.info(r.data); err != nil {
				return err
			}
		}
	}
}

func (n *negotiator) info(p []byte) error {
	be := binary.BigEndian
	switch {
	case len(p) == 12 && be.Uint16(p) == infoExport:
		n.size, n.flags = be.Uint64(p[2:]), be.Uint16(p[10:])
	case len(p) == 14 && be.Uint16(p) == infoBlockSize:
		n.minBlock, n.maxBlock = be.Uint32(p[2:]), be.Uint32(p[10:])
		if n.minBlock == 0 || n.minBlock&(n.minBlock-1) != 0 || n.minBlock > 64<<10 {
			return qerr.New(syscall.EINVAL, "server minimum block size %d is not a power of two", n.minBlock)
		}
		if n.maxBlock < n.minBlock {
			return qerr.New(syscall.EINVAL, "server maximum block size %d is smaller than its minimum %d", n.maxBlock, n.minBlock)
		}
	}
	return nil
}

// refusals are QEMU's words for error replies.
var refusals = map[uint32]string{
	repError + 2:   "Denied by server for option %d (%s)",
	repError + 3:   "Invalid parameters for option %d (%s)",
	repError + 4:   "Server lacks support for option %d (%s)",
	repTLSRequired: "TLS negotiation required before option %d (%s)",
	repError + 7:   "Server shutting down before option %d (%s)",
	repError + 8:   "Server requires INFO_BLOCK_SIZE for option %d (%s)",
}

// refused turns an error reply into QEMU's words; what the server says comes on a line of its own.
func (n *negotiator) refused(r reply, opt int, name string) error {
	msg, ok := refusals[r.kind]
	switch {
	case r.kind == repUnknown:
		msg = "Requested export not available"
	case ok:
		msg = fmt.Sprintf(msg, opt, name)
	default:
		msg = fmt.Sprintf("Unknown error code when asking for option %d (%s)", opt, name)
	}
	err := qerr.New(syscall.EINVAL, "%s", msg)
	hint := ""
	if r.kind == repTLSRequired {
		hint = "Did you forget a valid tls-creds?\n"
	}
	if len(r.data) > 0 {
		hint += fmt.Sprintf("server reported: %s\n", r.data)
	}
	if hint != "" {
		err = qerr.WithHint(err, hint)
	}
	return err
}

// exportName is the older way to begin the transmission; the server just closes the connection if it refuses.
func (n *negotiator) exportName() error {
	if err := n.send(optExportName, []byte(n.export)); err != nil {
		return err
	}
	if err := n.read("export length", &n.size); err != nil {
		return err
	}
	if err := n.read("export flags", &n.flags); err != nil || n.noZeroes {
		return err
	}
	return n.read("reserved block", make([]byte, reserved))
}
