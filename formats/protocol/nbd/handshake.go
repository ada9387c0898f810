package nbd

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
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
	export string
}

func handshake(ctx context.Context, c net.Conn, export, meta string, config *tls.Config) (*session, error) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	n := &negotiator{session: session{conn: c, r: bufio.NewReaderSize(c, 64<<10)}, export: export}
	if err := n.greet(); err != nil {
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

func (n *negotiator) read(p any) error {
	if err := binary.Read(n.r, binary.BigEndian, p); err != nil {
		return qerr.New(syscall.EINVAL, "Failed to read from the NBD server: %s", ioText(err))
	}
	return nil
}

func ioText(err error) string {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return "Unexpected end-of-file before all data were read"
	}
	return qerr.Text(err)
}

func (n *negotiator) greet() error {
	var head struct {
		Magic, Kind uint64
	}
	if err := n.read(&head); err != nil {
		return err
	}
	if head.Magic != initMagic {
		return qerr.New(syscall.EINVAL, "Bad initial magic received: 0x%x", head.Magic)
	}
	if head.Kind == oldMagic {
		return qerr.New(syscall.ENOTSUP, "the NBD server speaks only the old handshake, which is not supported")
	}
	if head.Kind != optionMagic {
		return qerr.New(syscall.EINVAL, "Bad server magic received: 0x%x", head.Kind)
	}
	var flags uint16
	if err := n.read(&flags); err != nil {
		return err
	}
	if flags&flagFixedNewstyle == 0 {
		return qerr.New(syscall.ENOTSUP, "the NBD server does not speak the fixed newstyle handshake")
	}
	answer := uint32(flagFixedNewstyle)
	if flags&flagNoZeroes != 0 {
		answer |= flagNoZeroes
	}
	_, err := n.conn.Write(binary.BigEndian.AppendUint32(nil, answer))
	return err
}

// send sends an option.
func (n *negotiator) send(opt uint32, data []byte) error {
	p := binary.BigEndian.AppendUint64(nil, optionMagic)
	p = binary.BigEndian.AppendUint32(p, opt)
	p = binary.BigEndian.AppendUint32(p, uint32(len(data)))
	_, err := n.conn.Write(append(p, data...))
	return err
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
	if err := n.read(&head); err != nil {
		return reply{}, err
	}
	if head.Magic != replyMagic || head.Opt != opt || head.Len > maxOption {
		return reply{}, qerr.New(syscall.EINVAL, "Unexpected option reply: magic 0x%x, option %d (expected %d), length %d",
			head.Magic, head.Opt, opt, head.Len)
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
		return qerr.New(syscall.EINVAL, "Server rejected request to start TLS")
	}
	c := tls.Client(n.conn, config)
	if err := c.HandshakeContext(ctx); err != nil {
		return qerr.New(syscall.EINVAL, "TLS handshake failed: %s", err)
	}
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
	if r.kind == repTLSRequired {
		return n.refused(r)
	}
	if r.kind != repAck {
		return nil
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
			return n.refused(r)
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

// refused turns an error reply into QEMU's words; what the server says comes on a line of its own.
func (n *negotiator) refused(r reply) error {
	msg := map[uint32]string{
		repError + 2:   "Denied by server for option %d (go)",
		repError + 3:   "Invalid parameters for option %d (go)",
		repUnknown:     "Requested export not available",
		repTLSRequired: "Server requires TLS for option %d (go)",
	}[r.kind]
	switch r.kind {
	case repUnknown:
	case repTLSRequired:
		msg = fmt.Sprintf("Server requires TLS for option %d (structured reply)", optStructuredReply)
		r.data = nil
	default:
		if msg == "" {
			msg = fmt.Sprintf("Unknown error code 0x%x when asking for option %%d (go)", r.kind)
		}
		msg = fmt.Sprintf(msg, optGo)
	}
	err := qerr.New(syscall.EINVAL, "%s", msg)
	if len(r.data) > 0 {
		err = qerr.WithHint(err, fmt.Sprintf("server reported: %s\n", r.data))
	}
	return err
}

// exportName is the older way to begin the transmission; the server just closes the connection if it refuses.
func (n *negotiator) exportName() error {
	if err := n.send(optExportName, []byte(n.export)); err != nil {
		return err
	}
	var head struct {
		Size  uint64
		Flags uint16
	}
	if err := n.read(&head); err != nil {
		return err
	}
	n.size, n.flags = head.Size, head.Flags
	return nil
}
