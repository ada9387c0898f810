package crypt

import (
	"context"
	"crypto/hmac"
	"crypto/subtle"
	"encoding/binary"
	"runtime"
	"time"
)

// ctxEvery is after how many iterations PBKDF2 looks whether it shall stop: some 20 ms.
const ctxEvery = 1 << 16

// PBKDF2 derives n bytes from a password (RFC 8018, section 5.2) with HMAC over h. Headers can ask for 2³² iterations,
// which take many minutes, hence the context.
func PBKDF2(ctx context.Context, h Hash, password, salt []byte, iterations uint32, n int) ([]byte, error) {
	mac := hmac.New(h.New, password)
	key := make([]byte, 0, n+h.Size())
	u := make([]byte, 0, h.Size())
	var num [4]byte
	for block := uint32(1); len(key) < n; block++ {
		binary.BigEndian.PutUint32(num[:], block)
		mac.Reset()
		mac.Write(salt)
		mac.Write(num[:])
		u = mac.Sum(u[:0])
		key = append(key, u...)
		t := key[len(key)-len(u):]
		for i := uint32(1); i < iterations; i++ {
			mac.Reset()
			mac.Write(u)
			u = mac.Sum(u[:0])
			subtle.XORBytes(t, t, u)
			if i%ctxEvery == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
	}
	return key[:n], nil
}

// Calibrate measures how many iterations PBKDF2 does in a second of this thread's processor time for a key of n
// bytes. QEMU measures for half a second; here a twentieth of the time that the result is meant for is enough,
// in bounds that keep the error to a few percent.
func Calibrate(ctx context.Context, h Hash, n int, want time.Duration) (uint64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	least := min(max(want/20, 4*time.Millisecond), 50*time.Millisecond)
	password, salt := make([]byte, 8), make([]byte, 32)
	for iterations := uint32(1 << 12); ; iterations *= 2 {
		start := threadTime()
		if _, err := PBKDF2(ctx, h, password, salt, iterations, n); err != nil {
			return 0, err
		}
		spent := threadTime() - start
		if spent >= least || iterations >= 1<<30 {
			return uint64(iterations) * uint64(time.Second) / uint64(max(spent, 1)), nil
		}
	}
}
