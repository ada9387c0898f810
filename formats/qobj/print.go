package qobj

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// AppendJSON appends v as JSON: on one line with ", " and ": " between, or, when pretty, each member on a line of its
// own, indented by four spaces a level. Everything outside printable ASCII is escaped.
func AppendJSON(dst []byte, v any, pretty bool) []byte {
	w := writer{pretty: pretty}
	return w.value(dst, v, 0)
}

type writer struct{ pretty bool }

func (w writer) value(dst []byte, v any, depth int) []byte {
	switch v := normal(v).(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case float64:
		return append(dst, FormatFloat(v)...)
	case string:
		return appendString(dst, v)
	case *Dict:
		dst = append(dst, '{')
		n := 0
		for k, e := range v.All() {
			dst = w.separator(dst, n, depth+1)
			dst = append(appendString(dst, k), ": "...)
			dst = w.value(dst, e, depth+1)
			n++
		}
		return append(w.end(dst, depth), '}')
	case List:
		dst = append(dst, '[')
		for i, e := range v {
			dst = w.separator(dst, i, depth+1)
			dst = w.value(dst, e, depth+1)
		}
		return append(w.end(dst, depth), ']')
	default:
		panic(fmt.Sprintf("qobj: %T is not a JSON value", v))
	}
}

func (w writer) separator(dst []byte, n, depth int) []byte {
	switch {
	case w.pretty:
		if n > 0 {
			dst = append(dst, ',')
		}
		return w.newline(dst, depth)
	case n > 0:
		return append(dst, ", "...)
	}
	return dst
}

func (w writer) end(dst []byte, depth int) []byte {
	if w.pretty {
		return w.newline(dst, depth)
	}
	return dst
}

func (w writer) newline(dst []byte, depth int) []byte {
	dst = append(dst, '\n')
	for range depth {
		dst = append(dst, "    "...)
	}
	return dst
}

// FormatFloat is C's "%.17g", which QEMU prints floats with.
func FormatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	const digits = 17
	exp := strconv.FormatFloat(f, 'e', digits-1, 64)
	mantissa, e, _ := strings.Cut(exp, "e")
	x, _ := strconv.Atoi(e)
	if x < -4 || x >= digits {
		return trimZeros(mantissa) + "e" + e
	}
	return trimZeros(strconv.FormatFloat(f, 'f', digits-1-x, 64))
}

// trimZeros takes the zeros off the end of a fraction, as %g does.
func trimZeros(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for len(s) > 0 {
		cp, n := decode(s)
		s = s[n:]
		switch cp {
		case '"', '\\':
			dst = append(dst, '\\', byte(cp))
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = appendRune(dst, cp)
		}
	}
	return append(dst, '"')
}

func appendRune(dst []byte, cp rune) []byte {
	switch {
	case cp < 0:
		return append(dst, `\uFFFD`...)
	case cp >= 0x20 && cp < 0x7f:
		return append(dst, byte(cp))
	case cp > 0xffff:
		cp -= 0x10000
		return fmt.Appendf(dst, `\u%04X\u%04X`, 0xd800|cp>>10, 0xdc00|cp&0x3ff)
	}
	return fmt.Appendf(dst, `\u%04X`, cp)
}
