package qobj

type kind uint8

const (
	end kind = iota
	lcurly
	rcurly
	lsquare
	rsquare
	colon
	comma
	integer
	float
	keyword
	quoted
	stray
)

type token struct {
	kind kind
	text string
}

var punctuation = [256]kind{'{': lcurly, '}': rcurly, '[': lsquare, ']': rsquare, ':': colon, ',': comma}

// lexer cuts JSON text into tokens, with QEMU's extension of strings in single quotes.
type lexer struct{ rest string }

// next returns the next token. What is no token comes as stray, with the text up to and including the byte that
// could not follow.
func (l *lexer) next() token {
	for l.rest != "" && (l.rest[0] == ' ' || l.rest[0] == '\t' || l.rest[0] == '\r' || l.rest[0] == '\n') {
		l.rest = l.rest[1:]
	}
	if l.rest == "" {
		return token{}
	}
	switch c := l.rest[0]; {
	case punctuation[c] != 0:
		return l.take(punctuation[c], 1)
	case c >= 'a' && c <= 'z':
		n := 1
		for n < len(l.rest) && l.rest[n] >= 'a' && l.rest[n] <= 'z' {
			n++
		}
		return l.take(keyword, n)
	case c == '"' || c == '\'':
		return l.string(c)
	case c == '-' || c >= '0' && c <= '9':
		return l.number()
	}
	return l.take(stray, 1)
}

func (l *lexer) take(k kind, n int) token {
	n = min(n, len(l.rest))
	t := token{k, l.rest[:n]}
	l.rest = l.rest[n:]
	return t
}

// string takes a string with its quotes. Control bytes, FE and FF may not stand in it; all else, escapes and UTF-8
// included, is judged by the parser.
func (l *lexer) string(quote byte) token {
	for n := 1; n < len(l.rest); n++ {
		c := l.rest[n]
		if c == '\\' {
			n++
			if n == len(l.rest) {
				break
			}
			c = l.rest[n]
		} else if c == quote {
			return l.take(quoted, n+1)
		}
		if c < 0x20 || c > 0xfd {
			return l.take(stray, n+1)
		}
	}
	return l.take(stray, len(l.rest))
}

// number takes an integer or a float by the grammar of RFC 8259.
func (l *lexer) number() token {
	n := 0
	if l.rest[0] == '-' {
		n++
	}
	digits := leadingDigits(l.rest[n:])
	if digits == 0 {
		return l.take(stray, n+1)
	}
	if l.rest[n] == '0' && digits > 1 {
		return l.take(stray, n+2)
	}
	n += digits
	k := integer
	if n < len(l.rest) && l.rest[n] == '.' {
		k = float
		n++
		digits = leadingDigits(l.rest[n:])
		if digits == 0 {
			return l.take(stray, n+1)
		}
		n += digits
	}
	if n < len(l.rest) && l.rest[n]|0x20 == 'e' {
		k = float
		n++
		if n < len(l.rest) && (l.rest[n] == '+' || l.rest[n] == '-') {
			n++
		}
		digits = leadingDigits(l.rest[n:])
		if digits == 0 {
			return l.take(stray, n+1)
		}
		n += digits
	}
	return l.take(k, n)
}
