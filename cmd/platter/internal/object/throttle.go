package object

import (
	"math"
	"strings"
)

const maxLimit = 1_000_000_000_000_000 // of a throttle group's value

// bucket is one of the six limits of a throttle group.
type bucket struct{ average, max, length int64 }

// throttleValue gives x-NAME or limits.NAME.
func throttleValue(d *definition, name string, missing int64) int64 {
	if n, ok := d.integer("x-" + name); ok {
		return n
	}
	if limits, ok := d.Dict.Dict("limits"); ok {
		if n, ok := (&definition{Dict: limits}).integer(name); ok {
			return n
		}
	}
	return missing
}

func limitsInRange(d *definition) error {
	for i := range d.typ.props {
		name, ok := strings.CutPrefix(d.typ.props[i].name, "x-")
		n := throttleValue(d, name, 0)
		switch {
		case ok && strings.HasSuffix(name, "-length") && (n < 0 || n > math.MaxUint32):
			return invalid("x-%s value must be in therange [0, %d]", name, uint32(math.MaxUint32)) // stock's spelling
		case ok && n < 0:
			return invalid("Property values cannot be negative")
		}
	}
	return nil
}

// checkThrottle finds limits that contradict each other.
func checkThrottle(d *definition) error {
	buckets := map[string]bucket{}
	for _, kind := range []string{"bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write"} {
		buckets[kind] = bucket{throttleValue(d, kind, 0), throttleValue(d, kind+"-max", 0), throttleValue(d, kind+"-max-length", 1)}
	}
	for _, unit := range []string{"bps", "iops"} {
		total, read, write := buckets[unit+"-total"], buckets[unit+"-read"], buckets[unit+"-write"]
		if total.average != 0 && read.average|write.average != 0 || total.max != 0 && read.max|write.max != 0 {
			return invalid("bps/iops/max total values and read/write values cannot be used at the same time")
		}
	}
	iops := buckets["iops-total"].average | buckets["iops-read"].average | buckets["iops-write"].average
	if throttleValue(d, "iops-size", 0) != 0 && iops == 0 {
		return invalid("iops size requires an iops value to be set")
	}
	for _, kind := range []string{"bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write"} {
		if err := buckets[kind].check(); err != nil {
			return err
		}
	}
	return nil
}

func (b bucket) check() error {
	switch {
	case b.average > maxLimit || b.max > maxLimit:
		return invalid("bps/iops/max values must be within [0, %d]", maxLimit)
	case b.length == 0:
		return invalid("the burst length cannot be 0")
	case b.length > 1 && b.max == 0:
		return invalid("burst length set without burst rate")
	case b.max != 0 && b.length > maxLimit/b.max:
		return invalid("burst length too high for this burst rate")
	case b.max != 0 && b.average == 0:
		return invalid("bps_max/iops_max require corresponding bps/iops values")
	case b.max != 0 && b.max < b.average:
		return invalid("bps_max/iops_max cannot be lower than bps/iops")
	}
	return nil
}
