package formats

// Lender is an image that can show where its bytes lie in memory, so that who passes them on to the kernel need not copy
// them. A mount answers large reads so.
type Lender interface {
	// Lend adds the memory that holds [off, off+n), a range within the size, to l, and reports whether it could. What
	// it added before it had to give up stays in l, which is of use to nobody then but must be given back.
	//
	// The bytes may change as those of a file may that somebody else writes to at the same time; they are not put to
	// another use before the loan is given back. Touching them may fault, where the file has become shorter or the
	// disk fails: they are for system calls, which answer EFAULT then.
	Lend(off, n int64, l *Loan) bool
	// Return takes back what was held in a loan's name; token is what Hold was told.
	Return(token uint64)
}

// MaxParts bounds the pieces of a loan; a range that is more scattered is better copied.
const MaxParts = 64

// Loan is what one request has been lent. It can be used again after Release.
type Loan struct {
	Parts   [][]byte
	holders []holder
}

type holder struct {
	of    Lender
	token uint64
}

var zeroes [64 << 10]byte

// Hold remembers that of is to be told when the loan is given back.
func (l *Loan) Hold(of Lender, token uint64) { l.holders = append(l.holders, holder{of, token}) }

// Held reports whether Hold was called with the same values.
func (l *Loan) Held(of Lender, token uint64) bool {
	for _, h := range l.holders {
		if h.of == of && h.token == token {
			return true
		}
	}
	return false
}

// Add appends a piece; false says that there are too many.
func (l *Loan) Add(p []byte) bool {
	if len(l.Parts) >= MaxParts {
		return false
	}
	l.Parts = append(l.Parts, p)
	return true
}

// AddZeroes appends n bytes that are zero.
func (l *Loan) AddZeroes(n int64) bool {
	for n > 0 {
		k := min(n, int64(len(zeroes)))
		if !l.Add(zeroes[:k]) {
			return false
		}
		n -= k
	}
	return true
}

// Release gives everything back, the last first.
func (l *Loan) Release() {
	for k := len(l.holders) - 1; k >= 0; k-- {
		h := l.holders[k]
		h.of.Return(h.token)
	}
	clear(l.holders)
	clear(l.Parts)
	l.holders, l.Parts = l.holders[:0], l.Parts[:0]
}
