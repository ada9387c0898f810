package option

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
	"syscall"
)

// ParseSize reads a size in bytes: decimal digits, an optional fraction (which needs a suffix), and an optional suffix
// b, k, M, G, T, P or E in either case, powers of 1024; or a hexadecimal number after 0x. Leading spaces are passed
// over. The error is syscall.ERANGE for a number of 2^64 or more, and syscall.EINVAL for what is no size.
func ParseSize(s string) (uint64, error) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	if hex, ok := hexDigits(s); ok {
		return parseHex(hex)
	}
	s = strings.TrimPrefix(s, "+")
	whole := digits(s)
	rest := s[len(whole):]
	var fraction float64
	if strings.HasPrefix(rest, ".") {
		f := digits(rest[1:])
		if whole == "" && f == "" {
			return 0, syscall.EINVAL
		}
		fraction, _ = strconv.ParseFloat("0."+f+"0", 64)
		rest = rest[1+len(f):]
	} else if whole == "" {
		return 0, syscall.EINVAL
	}
	shift := 0
	if rest != "" {
		power := strings.IndexByte("BKMGTPE", rest[0]&^0x20)
		if power < 0 || len(rest) > 1 {
			return 0, syscall.EINVAL
		}
		shift = 10 * power
	}
	if fraction != 0 && shift == 0 {
		return 0, syscall.EINVAL
	}
	n := uint64(0)
	if whole != "" {
		var err error
		if n, err = strconv.ParseUint(whole, 10, 64); err != nil {
			return 0, syscall.ERANGE
		}
	}
	return scale(n, fraction, shift)
}

// scale computes (n + fraction) << shift, rounding the fraction's part to the nearest byte.
func scale(n uint64, fraction float64, shift int) (uint64, error) {
	high, low := bits.Mul64(n, 1<<shift)
	low, carry := bits.Add64(low, uint64(math.Floor(fraction*float64(uint64(1)<<shift)+0.5)), 0)
	if high+carry != 0 {
		return 0, syscall.ERANGE
	}
	return low, nil
}

func digits(s string) string {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[:n]
}

// hexDigits returns what follows a 0x.
func hexDigits(s string) (string, bool) {
	if len(s) < 2 || s[0] != '0' || s[1]|0x20 != 'x' {
		return "", false
	}
	return s[2:], true
}

func parseHex(s string) (uint64, error) {
	return parseBase(s, 16)
}

// parseBase reads s as an unsigned number with nothing around it; base is 8, 10 or 16.
func parseBase(s string, base int) (uint64, error) {
	if s == "" || strings.ContainsAny(s, "+-_") {
		return 0, syscall.EINVAL
	}
	n, err := strconv.ParseUint(s, base, 64)
	if err == nil {
		return n, nil
	}
	if err.(*strconv.NumError).Err == strconv.ErrRange {
		return 0, syscall.ERANGE
	}
	return 0, syscall.EINVAL
}

// parseUint reads an unsigned number as C's strtoull with base 0: decimal, octal after 0, hexadecimal after 0x, with
// leading spaces and a sign; a negative number counts modulo 2^64.
func parseUint(s string) (uint64, error) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	n, err := uint64(0), error(nil)
	switch hex, isHex := hexDigits(s); {
	case isHex:
		n, err = parseHex(hex)
	case len(s) > 1 && s[0] == '0':
		n, err = parseBase(s[1:], 8)
	default:
		n, err = parseBase(s, 10)
	}
	if err == nil && negative {
		n = -n
	}
	return n, err
}
