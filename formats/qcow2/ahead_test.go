package qcow2_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"platter/formats/formatstest"
)

// compressedImage is an image of compressed clusters and what it holds.
func compressedImage(t *testing.T, opts string, size int64) (*formatstest.Store, []byte) {
	s := newImage(t, opts, size)
	n := openStore(t, s, rw)
	want, rng := make([]byte, size), rand.New(rand.NewPCG(5, 6))
	for k := range want {
		want[k] = byte(rng.IntN(12))
	}
	const step = 2 << 20
	for off := int64(0); off < size; off += step {
		if err := n.WriteCompressed(context.Background(), want[off:off+step], off); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return s, want
}

// TestCompressedReaders reads compressed clusters in order and at random, by many at once, while clusters are given up and
// their places used again with the same content.
func TestCompressedReaders(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, opts := range []string{"cluster_size=64k", "cluster_size=4k,compression_type=zstd", "cluster_size=2M"} {
		s, want := compressedImage(t, opts, 8<<20)
		n := openStore(t, s, rw)
		var readers, writer sync.WaitGroup
		for k, block := range []int64{1 << 20, 128 << 10, 4096, 12345, 70000, 512} {
			readers.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(k), 1))
				p, off := make([]byte, block), int64(0)
				for range min(300, 20<<20/block) {
					if k%2 == 1 {
						off = rng.Int64N(n.Size())
					} else if off >= n.Size() {
						off = 0
					}
					q := p[:min(block, n.Size()-off)]
					if err := n.ReadAt(ctx, q, off); err != nil || !bytes.Equal(q, want[off:off+int64(len(q))]) {
						t.Errorf("%s: read of %d at %d: %v", opts, len(q), off, err)
						return
					}
					off += int64(len(q))
				}
			})
		}
		var end atomic.Bool
		writer.Go(func() {
			for off := int64(0); !end.Load(); off = (off + 2<<20) % n.Size() {
				write := n.WriteCompressed(ctx, want[off:off+2<<20], off)
				if write != nil { // what is stored is not stored anew: a plain write and a discard first
					write = n.WriteAt(ctx, want[off:off+2<<20], off, 0)
				}
				if write != nil || n.Flush(ctx) != nil {
					t.Errorf("%s: write at %d: %v", opts, off, write)
					return
				}
			}
		})
		readers.Wait()
		end.Store(true)
		writer.Wait()
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		sound(t, s, opts)
	}
}

// TestCompressedReadFaults lets single reads of the file fail while the disk is read in order: an error is told to whoever
// asked or to nobody, and what is read after it is right.
func TestCompressedReadFaults(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	created, want := compressedImage(t, "cluster_size=64k", 4<<20)
	for after := range 40 {
		n := openStore(t, created, 0)
		created.SetFault(&formatstest.Fault{Op: formatstest.OpRead, After: after, Once: true, Errno: syscall.EIO})
		p, failed := make([]byte, 192<<10), 0
		for off := int64(0); off < n.Size(); {
			q := p[:min(int64(len(p)), n.Size()-off)]
			if n.ReadAt(ctx, q, off) != nil {
				failed++
				continue
			}
			same(t, "read", q, want[off:off+int64(len(q))])
			off += int64(len(q))
		}
		created.SetFault(nil)
		if n.Close(); failed > 1 {
			t.Fatalf("fault after %d: %d reads failed", after, failed)
		}
	}
}
