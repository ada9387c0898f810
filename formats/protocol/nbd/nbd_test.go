package nbd_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"platter/chain"
	"platter/formats"
	"platter/formats/protocol/nbd"
	"platter/formats/raw"
	"platter/integration/programs"
)

func testEnv() *chain.Env {
	return &chain.Env{Registry: formats.NewRegistry(raw.Driver(), nbd.Driver()), Env: &formats.Env{
		Secret: func(string) ([]byte, error) { return nil, errors.New("no secrets here") },
		Object: func(string) (any, bool) { return nil, false },
		Warn:   func(string, ...any) {}, Report: func(string, ...any) {},
	}}
}

func open(name string, flags formats.OpenFlags) (*chain.Node, error) {
	return chain.Open(context.Background(), testEnv(), chain.Request{Filename: name, Format: "raw", Flags: flags})
}

// serve starts a server on a Unix socket in a new directory and waits until it listens; it ends with the test.
func serve(t *testing.T, program string, args func(socket string) []string) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(program, args(socket)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 500 {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			return socket
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s does not listen", program)
	return ""
}

func stockServer(t *testing.T) string {
	t.Helper()
	return programs.StockPath(t, "qemu-nbd")
}

// exercise writes, zeroes, discards and reads at random and holds the export against a byte array.
func exercise(t *testing.T, name string) {
	ctx := context.Background()
	n, err := open(name, formats.ReadWrite|formats.Unmap)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	model := make([]byte, n.Size())
	if err := n.WriteZeroes(ctx, 0, n.Size(), formats.MayUnmap); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for step := range 300 {
		k := 1 + rng.Int64N(200_000)
		off := rng.Int64N(n.Size() - k)
		p := make([]byte, k)
		switch rng.IntN(4) {
		case 0, 1:
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			err = n.WriteAt(ctx, p, off, 0)
			copy(model[off:], p)
		case 2:
			err = n.WriteZeroes(ctx, off, k, 0)
			clear(model[off : off+k])
		default:
			if err = n.ReadAt(ctx, p, off); err == nil && !bytes.Equal(p, model[off:off+k]) {
				t.Fatalf("step %d: read of %d at %d differs", step, k, off)
			}
		}
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
	}
	if err := n.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got := make([]byte, n.Size())
			if err := n.ReadAt(ctx, got, 0); err != nil || !bytes.Equal(got, model) {
				t.Errorf("parallel read of all differs (%v)", err)
			}
		})
	}
	wg.Wait()
	covered := int64(0)
	for covered < n.Size() {
		e, err := n.Status(ctx, covered, n.Size()-covered)
		if err != nil || e.Len <= 0 {
			t.Fatalf("status at %d: %+v, %v", covered, e, err)
		}
		if e.State.Has(formats.Zero) && len(bytes.TrimLeft(model[covered:covered+e.Len], "\x00")) > 0 {
			t.Errorf("%d+%d is called zero", covered, e.Len)
		}
		covered += e.Len
	}
}

func TestAgainstStock(t *testing.T) {
	bin := stockServer(t)
	img := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(img, make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := serve(t, bin, func(s string) []string { return []string{"-k", s, "-f", "raw", "-t", "-e", "8", "-x", "disk", img} })
	exercise(t, "nbd+unix:///disk?socket="+socket)
	exercise(t, "nbd:unix:"+socket+":exportname=disk")
	_, err := open("nbd+unix:///other?socket="+socket, 0)
	if err == nil || err.Error() != "Requested export not available" {
		t.Errorf("an export that is not there: %v", err)
	}
}

func TestReadOnlyExport(t *testing.T) {
	bin := stockServer(t)
	img := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(img, bytes.Repeat([]byte("read only "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	socket := serve(t, bin, func(s string) []string { return []string{"-k", s, "-f", "raw", "-t", "-r", img} })
	n, err := open("nbd+unix:///?socket="+socket, formats.ReadWrite)
	if err != nil {
		return // refusing to open it for writing is right, too
	}
	defer n.Close()
	if err := n.WriteAt(context.Background(), []byte("x"), 0, 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("write: %v, want EPERM", err)
	}
}

func TestAgainstNbdkit(t *testing.T) {
	bin, err := exec.LookPath("nbdkit")
	if err != nil {
		t.Skip("nbdkit is not installed")
	}
	socket := serve(t, bin, func(s string) []string { return []string{"-f", "-U", s, "memory", "2M"} })
	exercise(t, "nbd+unix:///?socket="+socket)
}

// liar is a server that ends its handshake properly and then answers each request with what answer returns.
func liar(t *testing.T, answer func(cookie []byte) []byte) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go talk(c, answer)
		}
	}()
	return socket
}

func talk(c net.Conn, answer func(cookie []byte) []byte) {
	defer c.Close()
	be := binary.BigEndian
	c.Write([]byte("NBDMAGICIHAVEOPT\x00\x03"))
	io.ReadFull(c, make([]byte, 4))
	for {
		head := make([]byte, 16)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		opt := be.Uint32(head[8:])
		io.ReadFull(c, make([]byte, be.Uint32(head[12:])))
		reply := func(kind uint32, data []byte) {
			p := be.AppendUint64(nil, 0x0003e889045565a9)
			p = be.AppendUint32(be.AppendUint32(be.AppendUint32(p, opt), kind), uint32(len(data)))
			c.Write(append(p, data...))
		}
		if opt == 7 {
			reply(3, append(be.AppendUint64([]byte{0, 0}, 1<<20), 0, 1))
			reply(1, nil)
			break
		}
		reply(1, nil)
	}
	for {
		req := make([]byte, 28)
		if _, err := io.ReadFull(c, req); err != nil {
			return
		}
		p := answer(req[8:16])
		if p == nil {
			return
		}
		c.Write(p)
	}
}

func TestLyingServersGiveErrorsNotData(t *testing.T) {
	be := binary.BigEndian
	chunk := func(cookie []byte, flags, kind uint16, data []byte) []byte {
		p := be.AppendUint32(nil, 0x668e33ef)
		p = append(be.AppendUint16(be.AppendUint16(p, flags), kind), cookie...)
		return append(be.AppendUint32(p, uint32(len(data))), data...)
	}
	for name, answer := range map[string]func([]byte) []byte{
		"dies":           func([]byte) []byte { return nil },
		"wrong magic":    func(k []byte) []byte { return make([]byte, 16) },
		"other request":  func(k []byte) []byte { return chunk(make([]byte, 8), 1, 0, nil) },
		"data elsewhere": func(k []byte) []byte { return chunk(k, 1, 1, append(be.AppendUint64(nil, 1<<19), 1, 2)) },
		"too much data":  func(k []byte) []byte { return chunk(k, 1, 1, make([]byte, 8+8192)) },
		"huge chunk":     func(k []byte) []byte { return chunk(k, 1, 9, nil)[:16] },
		"hole too long":  func(k []byte) []byte { return chunk(k, 1, 2, []byte{0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255}) },
		"simple reply":   func(k []byte) []byte { return append([]byte{0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0}, k...) },
		"error":          func(k []byte) []byte { return chunk(k, 1, 1<<15+1, []byte{0, 0, 0, 5, 0, 0}) },
	} {
		t.Run(name, func(t *testing.T) {
			n, err := open("nbd+unix:///?socket="+liar(t, answer), 0)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			if err := n.ReadAt(ctx, make([]byte, 4096), 0); err == nil || qerrOf(err) != syscall.EIO {
				t.Errorf("read: %v, want EIO", err)
			}
		})
	}
}

func qerrOf(err error) syscall.Errno {
	var e syscall.Errno
	for _, k := range []syscall.Errno{syscall.EIO, syscall.EINVAL, syscall.EPERM} {
		if errors.Is(err, k) {
			e = k
		}
	}
	return e
}

func TestNamesAreRefusedInStocksWords(t *testing.T) {
	for name, want := range map[string]string{
		"nbd://": "No valid URL specified", "nbd://localhost:99999/x": "No valid URL specified",
		"nbd+unix:///exp": "No valid URL specified", "nbd://h/x?socket=/z": "No valid URL specified",
		"nbd:foo":                                      "error parsing address 'foo'",
		"nbd:unix:/nowhere/s":                          "Failed to connect to '/nowhere/s': No such file or directory",
		"nbd://localhost:1/x":                          "Failed to connect to 'localhost:1': Connection refused",
		`json:{"driver":"nbd"}`:                        "NBD server address missing",
		`json:{"driver":"nbd","port":3}`:               "NBD server address missing",
		`json:{"driver":"nbd","path":"/x","host":"y"}`: "path and host may not be used at the same time",
	} {
		req := chain.Request{Filename: name}
		if n, err := chain.Open(context.Background(), testEnv(), req); err == nil {
			n.Close()
			t.Errorf("%s: opened", name)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, want %q", name, err, want)
		}
	}
}
