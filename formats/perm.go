package formats

// Perm is a set of QEMU's block permissions; they decide which lock bytes a file's opener holds (byte 100+bit for each
// permission used, 200+bit for each not shared).
type Perm uint8

// The permissions, with QEMU's bit numbers.
const (
	PermConsistentRead Perm = 1 << iota
	PermWrite
	PermWriteUnchanged
	PermResize

	PermAll = PermConsistentRead | PermWrite | PermWriteUnchanged | PermResize
)

var permNames = [...]string{"consistent read", "write", "write unchanged", "resize"}

// Name is the name of a single permission as QEMU's messages show it.
func (p Perm) Name() string {
	for i, n := range permNames {
		if p == 1<<i {
			return n
		}
	}
	return ""
}
