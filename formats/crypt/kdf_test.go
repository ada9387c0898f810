package crypt

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"errors"
	"testing"
	"time"
)

func TestPBKDF2(t *testing.T) {
	for _, h := range Hashes() {
		for _, n := range []int{1, 16, 20, 64, 129} {
			for _, rounds := range []int{1, 123, parallelIterations} {
				want, err := pbkdf2.Key(h.New, "password", []byte("some salt"), rounds, n)
				if err != nil {
					t.Fatal(err)
				}
				got, err := PBKDF2(context.Background(), h, []byte("password"), []byte("some salt"), uint32(rounds), n)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, %d bytes, %d iterations: %x (%v), want %x", h, n, rounds, got, err, want)
				}
			}
		}
	}
}

func TestPBKDF2Stops(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := PBKDF2(ctx, SHA256, nil, nil, 1<<32-1, 64); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("2³² iterations: %v", err)
	}
}

func TestCalibrate(t *testing.T) {
	n, err := Calibrate(context.Background(), SHA256, 64, 10*time.Millisecond)
	if err != nil || n < 1000 {
		t.Errorf("%d iterations a second (%v)", n, err)
	}
}

func TestAntiForensic(t *testing.T) {
	for _, h := range Hashes() {
		for _, n := range []int{16, 24, 32, 48, 64} {
			key, dst := noise(3, n), make([]byte, n*50)
			if err := AFSplit(bytes.NewReader(noise(4, n*49)), h, key, dst, 50); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, n)
			AFMerge(h, dst, got, 50)
			if !bytes.Equal(got, key) {
				t.Errorf("%s, %d bytes: the key does not come back", h, n)
			}
			dst[n*20] ^= 1
			AFMerge(h, dst, got, 50)
			if bytes.Equal(got, key) {
				t.Errorf("%s, %d bytes: a changed stripe gives the same key", h, n)
			}
		}
	}
}

func BenchmarkPBKDF2(b *testing.B) {
	for _, h := range []Hash{SHA1, SHA256, SHA512, RIPEMD160, SM3} {
		b.Run(string(h), func(b *testing.B) {
			for b.Loop() {
				PBKDF2(context.Background(), h, []byte("abc"), make([]byte, 32), 10000, h.Size())
			}
		})
	}
}
