package crypt

import (
	"context"
	"crypto/hmac"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"time"
)

// ctxEvery is after how many iterations PBKDF2 looks whether it shall stop: some 20 ms.
const ctxEvery = 1 << 16

// parallelIterations is from how many iterations on a goroutine for each block is worth it.
const parallelIterations = 1 << 12

// PBKDF2 derives n bytes from a password (RFC 8018, section 5.2) with HMAC over h. Headers can ask for 2³² iterations,
// which take many minutes, hence the context. The blocks of a key longer than a digest are made side by side.
func PBKDF2(ctx context.Context, h Hash, password, salt []byte, iterations uint32, n int) ([]byte, error) {
	blocks := (n + h.Size() - 1) / h.Size()
	key := make([]byte, blocks*h.Size())
	if blocks == 1 || iterations < parallelIterations {
		err := pbkdf2Blocks(ctx, h, password, salt, iterations, key, 1)
		return key[:n], err
	}
	var wait sync.WaitGroup
	errs := make([]error, blocks)
	for i := range blocks {
		wait.Go(func() {
			part := key[i*h.Size():][:h.Size()]
			errs[i] = pbkdf2Blocks(ctx, h, password, salt, iterations, part, uint32(i+1))
		})
	}
	wait.Wait()
	return key[:n], errors.Join(errs...)
}

// pbkdf2Blocks makes the blocks from number first on that fill key.
func pbkdf2Blocks(ctx context.Context, h Hash, password, salt []byte, iterations uint32, key []byte, first uint32) error {
	mac := hmac.New(h.New, password)
	u := make([]byte, 0, h.Size())
	var num [4]byte
	for ; len(key) > 0; first++ {
		binary.BigEndian.PutUint32(num[:], first)
		mac.Reset()
		mac.Write(salt)
		mac.Write(num[:])
		u = mac.Sum(u[:0])
		t := key[:copy(key, u)]
		for i := uint32(1); i < iterations; i++ {
			mac.Reset()
			mac.Write(u)
			u = mac.Sum(u[:0])
			subtle.XORBytes(t, t, u)
			if i%ctxEvery == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		key = key[len(t):]
	}
	return nil
}

// Calibrate measures how many iterations PBKDF2 does in a second of this thread's processor time for a key of n
// bytes. QEMU measures for half a second; here a twentieth of the time that the result is meant for is enough,
// in bounds that keep the error to a few percent.
func Calibrate(ctx context.Context, h Hash, n int, want time.Duration) (uint64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	least := min(max(want/20, 4*time.Millisecond), 50*time.Millisecond)
	password, salt := make([]byte, 8), make([]byte, 32)
	key := make([]byte, (n+h.Size()-1)/h.Size()*h.Size())
	for iterations := uint32(1 << 12); ; iterations *= 2 {
		start := threadTime()
		if err := pbkdf2Blocks(ctx, h, password, salt, iterations, key, 1); err != nil {
			return 0, err
		}
		spent := threadTime() - start
		if spent >= least || iterations >= 1<<30 {
			return uint64(iterations) * uint64(time.Second) / uint64(max(spent, 1)), nil
		}
	}
}
