package qobj

import (
	"math"
	"strconv"
	"strings"
	"syscall"

	"platter/formats/qerr"
)

// fragmentMax is the longest part of a dotted key, in bytes.
const fragmentMax = 127

// ParseKeyval reads the "a.b=1,a.c.0=x,,y" syntax of --object: dotted keys give nested dictionaries, numbered parts
// lists, all values are strings, and a comma within a value is doubled. A first element without "=" is the value of
// impliedKey, unless that is "".
func ParseKeyval(s, impliedKey string) (*Dict, error) {
	d, _, err := parseKeyval(s, impliedKey, false)
	return d, err
}

// ParseKeyvalHelp is ParseKeyval for lists that may ask for help: an element that is "help" or "?" alone is taken out
// and reported.
func ParseKeyvalHelp(s, impliedKey string) (d *Dict, help bool, err error) {
	return parseKeyval(s, impliedKey, true)
}

func parseKeyval(s, impliedKey string, wantHelp bool) (d *Dict, help bool, err error) {
	d = NewDict()
	for ; s != ""; impliedKey = "" {
		if word, rest, _ := strings.Cut(s, ","); wantHelp && (word == "help" || word == "?") {
			help, s = true, rest
			continue
		}
		if s, err = keyvalOne(d, s, impliedKey); err != nil {
			return nil, false, err
		}
	}
	// The first part of a key is never a number, so that the top stays a dictionary.
	if _, err := listify(d, ""); err != nil {
		return nil, false, err
	}
	return d, help, nil
}

// keyvalOne reads one element from the front of s into d and returns what follows its comma.
func keyvalOne(d *Dict, s, impliedKey string) (string, error) {
	n := strings.IndexAny(s, "=,")
	if n < 0 {
		n = len(s)
	}
	key, hasValue := s[:n], n < len(s) && s[n] == '='
	implied := impliedKey != "" && n > 0 && !hasValue
	if implied {
		key = impliedKey
	}
	// A wrong part is told only after the parts before it were found consistent.
	parts, wrong := fragments(key)
	cur, at := d, 0
	for _, p := range parts[:max(0, len(parts)-1)] {
		at += len(p)
		var err error
		if cur, err = descend(cur, p, key[:at]); err != nil {
			return "", err
		}
		at++
	}
	if wrong != nil {
		return "", wrong
	}
	if !implied && !hasValue {
		return "", qerr.New(syscall.EINVAL, "Expected '=' after parameter '%s'", key)
	}
	// The value of an implied key ends at the first comma: a doubled one does not stand for itself there.
	value, rest := s[:n], s[n:]
	if hasValue {
		value, rest = CutValue(s[n+1:])
	}
	last := parts[len(parts)-1]
	if old, ok := cur.Get(last); ok {
		if _, isString := old.(string); !isString {
			return "", inconsistent(key)
		}
	}
	cur.Set(last, value)
	return strings.TrimPrefix(rest, ","), nil
}

func inconsistent(key string) error {
	return qerr.New(syscall.EINVAL, "Parameters '%s.*' used inconsistently", key)
}

func descend(cur *Dict, part, upTo string) (*Dict, error) {
	old, ok := cur.Get(part)
	if !ok {
		next := NewDict()
		cur.Set(part, next)
		return next, nil
	}
	next, ok := old.(*Dict)
	if !ok {
		return nil, inconsistent(upTo)
	}
	return next, nil
}

// fragments splits and checks a dotted key: the first part is a QAPI name, later ones a name or a number. With an
// error it returns the parts before the wrong one.
func fragments(key string) (parts []string, err error) {
	for at := 0; ; {
		rest, n := key[at:], 0
		if at > 0 {
			n = leadingDigits(rest)
		}
		if n == 0 {
			n = qapiName(rest)
		}
		last := n == len(rest)
		switch {
		case n == 0 || !last && rest[n] != '.':
			return parts, qerr.New(syscall.EINVAL, "Invalid parameter '%s'", key)
		case n > fragmentMax && at == 0 && last:
			return parts, qerr.New(syscall.EINVAL, "Parameter '%s' is too long", rest[:n])
		case n > fragmentMax:
			return parts, qerr.New(syscall.EINVAL, "Parameter fragment '%s' is too long", rest[:n])
		}
		parts = append(parts, rest[:n])
		if last {
			return parts, nil
		}
		at += n + 1
	}
}

func leadingDigits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isNameByte(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' || c == '-' || c == '_' }

// qapiName returns the length of the QAPI name at the front of s, 0 if there is none: a letter followed by letters,
// digits, "-" and "_", optionally after a downstream prefix "__RFQDN_".
func qapiName(s string) int {
	at := 0
	if strings.HasPrefix(s, "__") {
		at = 2
		for at < len(s) && (isNameByte(s[at]) && s[at] != '_' || s[at] == '.') {
			at++
		}
		if at >= len(s) || s[at] != '_' {
			return 0
		}
		at++
	}
	if at >= len(s) || !isLetter(s[at]) {
		return 0
	}
	for at < len(s) && isNameByte(s[at]) {
		at++
	}
	return at
}

// CutValue returns the value at the front of s with its doubled commas undone, and what follows it from its single
// comma on.
func CutValue(s string) (value, rest string) {
	var b strings.Builder
	for {
		n := strings.IndexByte(s, ',')
		if n < 0 {
			b.WriteString(s)
			return b.String(), ""
		}
		b.WriteString(s[:n])
		if n+1 >= len(s) || s[n+1] != ',' {
			return b.String(), s[n:]
		}
		b.WriteByte(',')
		s = s[n+2:]
	}
}

// keyIndex reads key as a list index, capped at the largest int32; ok is false unless it is all digits.
func keyIndex(key string) (index int, ok bool) {
	if key == "" || leadingDigits(key) != len(key) {
		return 0, false
	}
	n, err := strconv.ParseInt(key, 10, 32)
	if err != nil {
		return math.MaxInt32, true
	}
	return int(n), true
}

// listify turns dictionaries with numbered keys into lists, innermost first. path is the dotted way to d, with its
// final dot.
func listify(d *Dict, path string) (any, error) {
	indexes, members := 0, 0
	for k, v := range d.All() {
		if _, ok := keyIndex(k); ok {
			indexes++
		} else {
			members++
		}
		if inner, ok := v.(*Dict); ok {
			w, err := listify(inner, path+k+".")
			if err != nil {
				return nil, err
			}
			d.Set(k, w)
		}
	}
	if indexes == 0 {
		return d, nil
	}
	if members > 0 {
		return nil, qerr.New(syscall.EINVAL, "Parameters '%s*' used inconsistently", path)
	}
	list, filled, highest := make(List, indexes), make([]bool, indexes), 0
	for k, v := range d.All() {
		i, _ := keyIndex(k)
		highest = max(highest, i)
		if i < indexes {
			list[i], filled[i] = v, true
		}
	}
	for i := range min(indexes, highest) + 1 {
		if i == indexes || !filled[i] {
			return nil, qerr.New(syscall.EINVAL, "Parameter '%s%d' missing", path, i)
		}
	}
	return list[:highest+1], nil
}
