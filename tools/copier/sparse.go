package copier

import "platter/formats/codec"

const sector = 512

// Span is a part of a buffer that is written as data, or reads as zeroes and need not be.
type Span struct {
	Len  int64
	Data bool
}

// FirstSpan cuts the first span off b, which lies at off in the target. Data that is followed by less than least bytes of
// zeroes goes on behind them; a run of zeroes ends, and one of data too, at a multiple of align in the target, so that no
// write begins in the midst of a unit. These are the rules of qemu-img's -S. Lengths are multiples of 512.
func FirstSpan(b []byte, off, least, align int64) Span {
	least = min(least, int64(len(b)))
	r := firstPart(b, off, align)
	if !r.Data {
		return r
	}
	used, seen := r.Len, r.Len
	for seen < int64(len(b)) {
		p := firstPart(b[seen:], off+seen, align)
		seen += p.Len
		if p.Data {
			used = seen
		} else if p.Len >= least {
			break
		}
	}
	return Span{used, true}
}

// firstPart finds the run of sectors at the start of b that are all zero, or all not, and moves its end to a multiple of
// align: data is lengthened, zeroes are shortened, and zeroes that do not reach the next multiple count as data.
func firstPart(b []byte, off, align int64) Span {
	zero := codec.IsZero(b[:min(sector, len(b))])
	end, size := int64(sector), int64(len(b))
	for end < size && codec.IsZero(b[end:min(end+sector, size)]) == zero {
		end += sector
	}
	if end >= size {
		return Span{size, !zero}
	}
	if tail := (off + end) % align; tail != 0 {
		if zero && end <= tail {
			zero = false
		}
		if zero {
			end -= tail
		} else {
			end += align - tail
		}
	}
	return Span{min(end, size), !zero}
}
