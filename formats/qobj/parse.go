package qobj

import (
	"strconv"
	"strings"
	"syscall"

	"platter/formats/qerr"
)

// Limits of the parser, QEMU's. They bound what a text can cost before it is looked at as a whole.
const (
	maxTokenBytes = 64 << 20
	maxTokens     = 2 << 20
	maxNesting    = 1024
)

// ParseJSON reads exactly one JSON value. Strings may also stand in single quotes. Errors are in QEMU's words.
func ParseJSON(s string) (any, error) {
	l := lexer{s}
	tokens, err := oneValue(&l)
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		return nil, qerr.New(syscall.EINVAL, "Expecting a JSON value")
	}
	p := parser{tokens: tokens}
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	if l.next().kind != end {
		return nil, qerr.New(syscall.EINVAL, "Expecting at most one JSON value")
	}
	return v, nil
}

func parseError(format string, a ...any) error {
	return qerr.New(syscall.EINVAL, "JSON parse error, "+format, a...)
}

// oneValue collects tokens until the brackets are balanced, or more are closed than opened: only then the grammar
// gets to see them, and a stray character anywhere before wins over any other error.
func oneValue(l *lexer) ([]token, error) {
	var tokens []token
	var braces, squares, size int
	for {
		t := l.next()
		switch t.kind {
		case end:
			return tokens, nil
		case stray:
			return nil, parseError("stray '%s'", t.text)
		case lcurly:
			braces++
		case rcurly:
			braces--
		case lsquare:
			squares++
		case rsquare:
			squares--
		}
		size += len(t.text)
		switch {
		case size > maxTokenBytes:
			return nil, qerr.New(syscall.EINVAL, "JSON token size limit exceeded")
		case len(tokens) >= maxTokens:
			return nil, qerr.New(syscall.EINVAL, "JSON token count limit exceeded")
		case braces+squares > maxNesting:
			return nil, qerr.New(syscall.EINVAL, "JSON nesting depth limit exceeded")
		}
		tokens = append(tokens, t)
		if braces < 0 || squares < 0 || braces == 0 && squares == 0 {
			return tokens, nil
		}
	}
}

type parser struct{ tokens []token }

func (p *parser) peek() kind {
	if len(p.tokens) == 0 {
		return end
	}
	return p.tokens[0].kind
}

func (p *parser) pop() token {
	if len(p.tokens) == 0 {
		return token{}
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t
}

func (p *parser) value() (any, error) {
	switch p.peek() {
	case end:
		return nil, parseError("premature EOI")
	case lcurly:
		return p.object()
	case lsquare:
		return p.array()
	case integer, float:
		return number(p.pop())
	case quoted:
		return unquote(p.pop().text)
	case keyword:
		switch word := p.pop().text; word {
		case "true":
			return true, nil
		case "false":
			return false, nil
		case "null":
			return nil, nil
		default:
			return nil, parseError("invalid keyword '%s'", word)
		}
	}
	return nil, parseError("expecting value")
}

func (p *parser) object() (any, error) {
	p.pop()
	d := NewDict()
	if p.peek() == rcurly {
		p.pop()
		return d, nil
	}
	for {
		if err := p.pair(d); err != nil {
			return nil, err
		}
		switch p.pop().kind {
		case end:
			return nil, parseError("premature EOI")
		case rcurly:
			return d, nil
		case comma:
		default:
			return nil, parseError("expected separator in dict")
		}
	}
}

func (p *parser) pair(d *Dict) error {
	if p.peek() == end {
		return parseError("premature EOI")
	}
	k, err := p.value()
	if err != nil {
		return err
	}
	key, ok := k.(string)
	if !ok {
		return parseError("key is not a string in object")
	}
	switch p.pop().kind {
	case end:
		return parseError("premature EOI")
	case colon:
	default:
		return parseError("missing : in object pair")
	}
	v, err := p.value()
	if err != nil {
		return err
	}
	if d.Has(key) {
		return parseError("duplicate key")
	}
	d.Set(key, v)
	return nil
}

func (p *parser) array() (any, error) {
	p.pop()
	list := List{}
	if p.peek() == rsquare {
		p.pop()
		return list, nil
	}
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		switch p.pop().kind {
		case end:
			return nil, parseError("premature EOI")
		case rsquare:
			return list, nil
		case comma:
		default:
			return nil, parseError("expected separator in list")
		}
	}
}

// number gives an integer as int64, else uint64, else float64, as it fits.
func number(t token) (any, error) {
	if t.kind == integer {
		if n, err := strconv.ParseInt(t.text, 10, 64); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseUint(t.text, 10, 64); err == nil {
			return n, nil
		}
	}
	f, _ := strconv.ParseFloat(t.text, 64) // out of range gives an infinity, as strtod does
	return f, nil
}

// nulBytes is how \u0000 is kept in a string: the two-byte form that C's strings can hold. AppendJSON turns it back.
const nulBytes = "\xc0\x80"

var escapes = map[byte]byte{
	'"': '"', '\'': '\'', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

func unquote(s string) (any, error) {
	var b strings.Builder
	// The closing quote stays: a cut-off \u names it in its error. It cannot come earlier, it would be escaped.
	for s = s[1:]; len(s) > 1; {
		if s[0] != '\\' {
			cp, n := decode(s)
			if cp < 0 {
				return nil, parseError("invalid UTF-8 sequence in string")
			}
			b.WriteString(s[:n])
			s = s[n:]
			continue
		}
		if s[1] != 'u' {
			c, ok := escapes[s[1]]
			if !ok {
				return nil, parseError("invalid escape sequence in string")
			}
			b.WriteByte(c)
			s = s[2:]
			continue
		}
		cp, n, err := unicodeEscape(s)
		if err != nil {
			return nil, err
		}
		if cp == 0 {
			b.WriteString(nulBytes)
		} else {
			b.WriteRune(cp)
		}
		s = s[n:]
	}
	return b.String(), nil
}

// unicodeEscape reads \uXXXX, or two of them that form a surrogate pair, from the front of s.
func unicodeEscape(s string) (cp rune, n int, err error) {
	cp, ok := hex4(s[2:])
	if !ok {
		return 0, 0, parseError("%s is not a valid Unicode character", s[:min(6, len(s))])
	}
	n = 6
	if cp&^0x3ff == 0xd800 && strings.HasPrefix(s[n:], `\u`) {
		if low, ok := hex4(s[n+2:]); ok && low&^0x3ff == 0xdc00 {
			cp = (cp&0x3ff<<10 | low&0x3ff) + 0x10000
			n += 6
		}
	}
	if !validRune(cp) {
		return 0, 0, parseError("%s is not a valid Unicode character", s[:n])
	}
	return cp, n, nil
}

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:4], 16, 16)
	return rune(n), err == nil
}
