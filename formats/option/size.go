package option

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
	"syscall"
)

// ParseSize reads a size in bytes: decimal digits, an optional fraction (which needs a suffix), and an optional suffix
// B, K, M, G, T, P or E in either case, powers of 1024; or a hexadecimal integer after 0x, without suffix. Leading
// white space and a plus sign are passed over. The error wraps syscall.ERANGE for a number below 0 or of 2^64 or more,
// and syscall.EINVAL for what is no size, or has something after it.
func ParseSize(s string) (uint64, error) {
	s = strings.TrimLeft(s, spaces)
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	if hex, ok := hexDigits(s); ok && !negative {
		return parseHex(hex)
	}
	whole, fraction, rest := splitDecimal(s)
	if whole == "" && fraction == "" {
		return 0, syscall.EINVAL
	}
	n, err := strconv.ParseUint("0"+whole, 10, 64)
	if negative || err != nil {
		return 0, outOfRange(s, whole)
	}
	shift, ok := suffix(rest)
	if !ok {
		return 0, syscall.EINVAL
	}
	return scale(n, parseFraction(fraction), shift)
}

// splitDecimal cuts s into the digits before and behind the point, and what follows.
func splitDecimal(s string) (whole, fraction, rest string) {
	whole = digits(s)
	rest = s[len(whole):]
	if tail, ok := strings.CutPrefix(rest, "."); ok {
		fraction = digits(tail)
		rest = tail[len(fraction):]
	}
	return whole, fraction, rest
}

// outOfRange is the error for s, a number that does not fit or is negative. QEMU tells so only if nothing follows
// what it reads first, which is the part before the point if there is one; otherwise the text is no size at all.
func outOfRange(s, whole string) error {
	first := whole
	if whole == "" {
		first = "." + digits(s[1:])
	}
	if first == s {
		return syscall.ERANGE
	}
	return syscall.EINVAL
}

// suffix reads a unit as the power of two that it multiplies by; "" is a byte.
func suffix(s string) (shift int, ok bool) {
	if s == "" {
		return 0, true
	}
	power := strings.IndexByte("BKMGTPEbkmgtpe", s[0])
	return power % 7 * 10, power >= 0 && len(s) == 1
}

// parseFraction reads the digits behind a point. The result may be 1, by rounding, and is never 0 when a digit is not.
func parseFraction(digits string) float64 {
	f, _ := strconv.ParseFloat("0."+digits+"0", 64)
	if f == 0 && strings.Trim(digits, "0") != "" {
		return math.SmallestNonzeroFloat64
	}
	return f
}

// scale computes (n + fraction) << shift, rounding the fraction's part to the nearest byte. A fraction of a byte is
// an error however small it is.
func scale(n uint64, fraction float64, shift int) (uint64, error) {
	if shift == 0 && fraction > 0 && fraction < 1 {
		return 0, syscall.EINVAL
	}
	high, low := bits.Mul64(n, 1<<shift)
	low, carry := bits.Add64(low, uint64(math.Floor(fraction*float64(uint64(1)<<shift)+0.5)), 0)
	if high+carry != 0 {
		return 0, syscall.ERANGE
	}
	return low, nil
}

// spaces are the bytes that C's isspace knows in the C locale.
const spaces = " \t\n\v\f\r"

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
	if s == "" || strings.Trim(s, "0123456789abcdefABCDEF"[:base+base/16*6]) != "" {
		return 0, syscall.EINVAL
	}
	n, err := strconv.ParseUint(s, base, 64)
	if err != nil {
		return 0, syscall.ERANGE
	}
	return n, nil
}

// ParseUint reads an unsigned number as C's strtoull with base 0: decimal, octal after 0, hexadecimal after 0x, with
// leading spaces and a sign; a negative number counts modulo 2^64.
func ParseUint(s string) (uint64, error) {
	s = strings.TrimLeft(s, spaces)
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
