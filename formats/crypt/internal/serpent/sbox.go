package serpent

// The S-boxes as circuits over 32 columns at once: the terms of each output's algebraic normal form, with the
// exclusive-ors shared between outputs. TestSBoxes holds them against the tables of the specification.

func sbox0(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := a & b
	m5 := a & c
	m6 := c & b
	m9 := a & d
	m10 := d & b
	m7 := b & m5
	m13 := d & m5
	m14 := d & m6
	x0 := m14 ^ m5
	x1 := m7 ^ x0
	x2 := d ^ x1
	x3 := a ^ c
	x4 := m3 ^ x2
	x5 := m13 ^ m6
	x6 := x3 ^ x4
	x7 := d ^ x3
	x8 := m10 ^ x1
	x9 := x5 ^ x8
	x10 := a ^ x9
	x11 := b ^ x4
	x12 := x5 ^ x6
	x13 := m10 ^ x11
	x14 := b ^ m9
	x15 := x14 ^ x7
	return ^x12, ^x10, x13, x15
}

func sbox1(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := a & b
	m5 := a & c
	m6 := b & c
	m9 := a & d
	m10 := d & b
	m12 := d & c
	m11 := b & m9
	m13 := c & m9
	m14 := b & m12
	x0 := m13 ^ m14
	x1 := m11 ^ x0
	x2 := d ^ m3
	x3 := b ^ m9
	x4 := m5 ^ x1
	x5 := c ^ x2
	x6 := a ^ m12
	x7 := m6 ^ x3
	x8 := x0 ^ x6
	x9 := x3 ^ x4
	x10 := b ^ x5
	x11 := a ^ x5
	x12 := d ^ x9
	x13 := m10 ^ x4
	x14 := x11 ^ x13
	x15 := x7 ^ x8
	return ^x15, ^x14, ^x10, ^x12
}

func sbox2(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m5 := c & a
	m6 := c & b
	m9 := d & a
	m10 := d & b
	m12 := d & c
	m7 := a & m6
	m11 := b & m9
	m13 := d & m5
	x0 := b ^ c
	x1 := m11 ^ m13
	x2 := m6 ^ x1
	x3 := a ^ m7
	x4 := m12 ^ x2
	x5 := x0 ^ x3
	x6 := m5 ^ x0
	x7 := b ^ m10
	x8 := a ^ x4
	x9 := m10 ^ x5
	x10 := m9 ^ x4
	x11 := d ^ x7
	x12 := x11 ^ x8
	x13 := d ^ x6
	x14 := x10 ^ x5
	return x13, x14, x12, ^x9
}

func sbox3(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := a & b
	m5 := a & c
	m6 := b & c
	m9 := a & d
	m10 := b & d
	m12 := d & c
	m7 := c & m3
	m11 := b & m9
	m13 := c & m9
	m14 := b & m12
	x0 := b ^ m13
	x1 := a ^ d
	x2 := m12 ^ x0
	x3 := m5 ^ x2
	x4 := c ^ x1
	x5 := m3 ^ x4
	x6 := m7 ^ x5
	x7 := m14 ^ x1
	x8 := m11 ^ x6
	x9 := m6 ^ x7
	x10 := m9 ^ x9
	x11 := m11 ^ x3
	x12 := x10 ^ x2
	x13 := a ^ m9
	x14 := x3 ^ x6
	x15 := x11 ^ x13
	x16 := m10 ^ x8
	return x12, x15, x16, x14
}

func sbox4(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := a & b
	m5 := a & c
	m6 := b & c
	m9 := a & d
	m10 := d & b
	m12 := d & c
	m7 := c & m3
	m11 := b & m9
	m13 := d & m5
	m14 := b & m12
	x0 := a ^ m10
	x1 := m6 ^ x0
	x2 := c ^ m9
	x3 := m11 ^ x1
	x4 := m12 ^ m14
	x5 := b ^ x2
	x6 := d ^ m3
	x7 := c ^ m7
	x8 := m3 ^ x7
	x9 := m10 ^ x5
	x10 := x1 ^ x4
	x11 := x3 ^ x5
	x12 := x6 ^ x9
	x13 := m5 ^ x10
	x14 := x3 ^ x4
	x15 := d ^ m13
	x16 := x13 ^ x15
	x17 := x14 ^ x8
	return ^x12, x16, x17, x11
}

func sbox5(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := b & a
	m5 := c & a
	m9 := a & d
	m10 := b & d
	m12 := c & d
	m7 := c & m3
	m11 := d & m3
	m13 := d & m5
	m14 := c & m10
	x0 := c ^ d
	x1 := a ^ x0
	x2 := m10 ^ m3
	x3 := b ^ m13
	x4 := m11 ^ m12
	x5 := m14 ^ x3
	x6 := x0 ^ x2
	x7 := m5 ^ x4
	x8 := b ^ m9
	x9 := d ^ x7
	x10 := x1 ^ x2
	x11 := m9 ^ x1
	x12 := x11 ^ x3
	x13 := m7 ^ x12
	x14 := x6 ^ x8
	x15 := x5 ^ x9
	x16 := x10 ^ x4
	return ^x14, ^x16, ^x15, ^x13
}

func sbox6(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := a & b
	m5 := c & a
	m6 := c & b
	m9 := a & d
	m10 := d & b
	m12 := d & c
	m7 := a & m6
	m11 := a & m10
	m14 := b & m12
	x0 := m14 ^ m7
	x1 := b ^ c
	x2 := m3 ^ x0
	x3 := a ^ m6
	x4 := m5 ^ x1
	x5 := m12 ^ x2
	x6 := m11 ^ x3
	x7 := d ^ x4
	x8 := c ^ x5
	x9 := m10 ^ x8
	x10 := x0 ^ x6
	x11 := m9 ^ x1
	x12 := x5 ^ x7
	x13 := x10 ^ x7
	x14 := x6 ^ x9
	return ^x13, ^x11, ^x14, x12
}

func sbox7(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := b & a
	m5 := a & c
	m6 := c & b
	m9 := d & a
	m10 := d & b
	m12 := c & d
	m7 := a & m6
	m11 := b & m9
	m13 := c & m9
	m14 := d & m6
	x0 := c ^ m9
	x1 := b ^ x0
	x2 := m5 ^ x1
	x3 := m13 ^ m3
	x4 := d ^ m11
	x5 := m10 ^ m14
	x6 := a ^ m7
	x7 := x2 ^ x3
	x8 := x0 ^ x3
	x9 := x4 ^ x5
	x10 := x1 ^ x9
	x11 := x2 ^ x6
	x12 := m6 ^ x4
	x13 := x10 ^ x6
	x14 := x5 ^ x8
	x15 := x12 ^ x7
	x16 := m12 ^ x14
	return ^x16, x15, x13, x11
}

func inverse0(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := a & b
	m5 := c & a
	m6 := c & b
	m9 := d & a
	m10 := b & d
	m12 := d & c
	m11 := a & m10
	m13 := c & m9
	m14 := c & m10
	x0 := m13 ^ m14
	x1 := a ^ b
	x2 := c ^ x1
	x3 := m10 ^ x0
	x4 := m11 ^ m12
	x5 := m6 ^ x4
	x6 := c ^ x5
	x7 := x0 ^ x5
	x8 := a ^ d
	x9 := d ^ m3
	x10 := m3 ^ x3
	x11 := m9 ^ x6
	x12 := x2 ^ x9
	x13 := x2 ^ x3
	x14 := x10 ^ x11
	x15 := x7 ^ x8
	x16 := m5 ^ x13
	return ^x14, x16, ^x12, ^x15
}

func inverse1(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := b & a
	m5 := a & c
	m6 := c & b
	m9 := d & a
	m10 := b & d
	m7 := a & m6
	m13 := c & m9
	m14 := c & m10
	x0 := b ^ m13
	x1 := m7 ^ x0
	x2 := m14 ^ x1
	x3 := c ^ d
	x4 := a ^ m10
	x5 := m9 ^ x2
	x6 := x3 ^ x4
	x7 := a ^ m6
	x8 := d ^ x1
	x9 := m3 ^ x2
	x10 := m10 ^ x5
	x11 := x4 ^ x9
	x12 := x7 ^ x8
	x13 := m5 ^ x12
	x14 := x10 ^ x3
	return ^x11, x14, ^x13, x6
}

func inverse2(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := b & a
	m6 := b & c
	m9 := d & a
	m10 := b & d
	m12 := d & c
	m7 := c & m3
	m11 := d & m3
	m13 := c & m9
	x0 := m13 ^ m3
	x1 := c ^ m10
	x2 := m11 ^ m9
	x3 := a ^ x1
	x4 := x0 ^ x2
	x5 := d ^ x4
	x6 := c ^ m12
	x7 := b ^ m6
	x8 := x4 ^ x6
	x9 := m6 ^ m7
	x10 := d ^ x0
	x11 := x3 ^ x7
	x12 := x10 ^ x9
	x13 := b ^ x8
	x14 := x3 ^ x5
	return x11, x13, ^x14, ^x12
}

func inverse3(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := b & a
	m5 := a & c
	m6 := b & c
	m9 := a & d
	m10 := d & b
	m12 := d & c
	m7 := c & m3
	m11 := d & m3
	m13 := c & m9
	m14 := b & m12
	x0 := c ^ m9
	x1 := d ^ m6
	x2 := b ^ x0
	x3 := m11 ^ m5
	x4 := m12 ^ x3
	x5 := m7 ^ x2
	x6 := m14 ^ x1
	x7 := m13 ^ x6
	x8 := x4 ^ x5
	x9 := m6 ^ x4
	x10 := m10 ^ m3
	x11 := m13 ^ x10
	x12 := x5 ^ x7
	x13 := a ^ x0
	x14 := x11 ^ x9
	x15 := x13 ^ x6
	x16 := m9 ^ x14
	x17 := a ^ x8
	x18 := m10 ^ x15
	return x18, x12, x16, x17
}

func inverse4(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := b & a
	m5 := c & a
	m9 := d & a
	m10 := d & b
	m12 := c & d
	m7 := c & m3
	m11 := b & m9
	m13 := c & m9
	x0 := c ^ m9
	x1 := b ^ m11
	x2 := d ^ m5
	x3 := a ^ x1
	x4 := m13 ^ x0
	x5 := m3 ^ x2
	x6 := m10 ^ x3
	x7 := m7 ^ x5
	x8 := c ^ x7
	x9 := m12 ^ m3
	x10 := x3 ^ x4
	x11 := x4 ^ x5
	x12 := x6 ^ x8
	x13 := d ^ x10
	x14 := x0 ^ x1
	x15 := x14 ^ x9
	x16 := m12 ^ x13
	return ^x16, x11, ^x12, x15
}

func inverse5(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := a & b
	m5 := a & c
	m6 := b & c
	m9 := d & a
	m10 := b & d
	m7 := c & m3
	m11 := b & m9
	m13 := d & m5
	x0 := a ^ m11
	x1 := d ^ x0
	x2 := m6 ^ x1
	x3 := b ^ m9
	x4 := m7 ^ x3
	x5 := c ^ m3
	x6 := x0 ^ x5
	x7 := m10 ^ x6
	x8 := m13 ^ x7
	x9 := x2 ^ x4
	x10 := x4 ^ x5
	x11 := m5 ^ x9
	return x2, x11, x8, ^x10
}

func inverse6(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := a & b
	m5 := c & a
	m6 := b & c
	m9 := a & d
	m10 := d & b
	m12 := d & c
	m7 := a & m6
	m11 := b & m9
	m14 := b & m12
	x0 := m14 ^ m6
	x1 := m11 ^ x0
	x2 := d ^ m5
	x3 := b ^ m12
	x4 := x1 ^ x3
	x5 := m3 ^ m7
	x6 := a ^ x2
	x7 := x1 ^ x6
	x8 := d ^ x5
	x9 := c ^ m9
	x10 := x5 ^ x7
	x11 := x4 ^ x9
	x12 := m10 ^ x4
	x13 := a ^ x12
	x14 := c ^ x2
	x15 := b ^ x14
	x16 := x11 ^ x8
	return ^x10, ^x15, ^x13, ^x16
}

func inverse7(a, b, c, d uint32) (uint32, uint32, uint32, uint32) {
	m3 := b & a
	m5 := c & a
	m6 := b & c
	m9 := a & d
	m10 := d & b
	m12 := c & d
	m7 := a & m6
	m11 := b & m9
	m13 := c & m9
	m14 := b & m12
	x0 := b ^ m12
	x1 := a ^ m6
	x2 := m11 ^ x0
	x3 := c ^ m9
	x4 := m14 ^ x1
	x5 := m10 ^ x3
	x6 := d ^ m13
	x7 := m10 ^ x4
	x8 := x5 ^ x6
	x9 := m3 ^ m7
	x10 := x4 ^ x8
	x11 := x2 ^ x7
	x12 := x2 ^ x6
	x13 := m11 ^ x9
	x14 := m5 ^ x12
	x15 := x13 ^ x5
	return ^x11, ^x10, x14, x15
}
