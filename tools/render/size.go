package render

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size writes a number of bytes with at most three digits that count and a binary unit: "1.5 MiB".
func Size(n int64) string {
	const units = "KMGTPE"
	// The unit changes at 1000, so that there are never four digits.
	_, exp := math.Frexp(float64(n) / (1000.0 / 1024.0))
	if i := (exp - 1) / 10; i > 0 && n > 0 {
		return threeDigits(float64(n)/float64(uint64(1)<<(10*i))) + " " + units[i-1:i] + "iB"
	}
	return threeDigits(float64(n)) + " B"
}

// threeDigits is C's %0.3g.
func threeDigits(f float64) string {
	e := strconv.FormatFloat(f, 'e', 2, 64)
	mantissa, exponent, _ := strings.Cut(e, "e")
	x, _ := strconv.Atoi(exponent)
	if x < -4 || x >= 3 {
		return trim(mantissa) + "e" + exponent
	}
	return trim(strconv.FormatFloat(f, 'f', 2-x, 64))
}

func trim(s string) string {
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// Percent is one step of a progress display.
func Percent(p float32) string { return fmt.Sprintf("    (%3.2f/100%%)", p) }
