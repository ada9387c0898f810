package servers

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"platter/integration/twin"
)

// Servers that fail: the same words as stock, exit 1, and a source that is what it was.
func TestNBDFailures(t *testing.T) {
	pattern := []string{"pattern", "4M"}
	for name, args := range map[string][]string{
		"reads fail":       {"--filter=error", "pattern", "16k", "error-pread=EIO", "error-pread-rate=100%"},
		"no space":         {"--filter=error", "memory", "4M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%"},
		"writes fail":      {"--filter=error", "memory", "4M", "error-pwrite=EIO", "error-pwrite-rate=100%"},
		"zeroes fail":      {"--filter=error", "memory", "4M", "error-zero=EPERM", "error-zero-rate=100%"},
		"extents fail":     {"--filter=error", "memory", "4M", "error-extents=EIO", "error-extents-rate=100%"},
		"other error":      {"--filter=error", "memory", "4M", "error-pread=ESHUTDOWN", "error-pread-rate=100%"},
		"slow":             {"--filter=delay", "memory", "4M", "delay-read=20ms", "delay-write=20ms", "delay-open=50ms"},
		"truncated":        append([]string{"--filter=truncate"}, append(pattern, "truncate=3000001")...),
		"extended":         append([]string{"--filter=truncate"}, append(pattern, "truncate=5000001")...),
		"offset":           append([]string{"--filter=offset"}, append(pattern, "offset=1M", "range=1M")...),
		"needs tls":        {"--tls=require", "--tls-psk=keys", "memory", "1M"},
		"no export":        {"--filter=exportname", "memory", "4M", "exportname=only", "exportname-strict=true"},
		"error on opening": {"eval", "open=echo 'EACCES not for you' >&2; exit 1", "get_size=echo 1M", "pread=exit 1"},
	} {
		t.Run(name, func(t *testing.T) {
			twin.Compare(t, func(s *twin.Side) {
				s.Write("keys", []byte("alice:0123456789abcdef0123456789abcdef\n"))
				s.Write("small.raw", noise(1<<20))
				s.Write("zero.raw", make([]byte, 1<<20))
				nbdkit(s, args...)
				for _, line := range []string{"info $N", "info -f raw $N", "convert -f raw -O raw $N out.raw", "convert --salvage -f raw -O raw $N saved.raw",
					"convert -n -f raw -O raw small.raw $N", "convert -n -f raw -O raw -S 0 zero.raw $N", "compare -f raw -F raw $N small.raw", "map -f raw $N",
					"bench -f raw -c 2 $N", "bench -w -f raw -c 2 --flush-interval 1 $N", "dd -f raw bs=256k if=$N of=dd.raw", "create -f raw $N 1M", "check -f qcow2 $N", "measure -f raw -O qcow2 $N"} {
					s.Img(replace(line, "$N", export))
				}
				s.NoteSums("small.raw", "zero.raw", "saved.raw")
				s.Normalise(`Run completed in [0-9.]+ seconds`, "Run completed in N seconds")
				s.Normalise(`/tmp/nbdkit\w+/`, "/tmp/nbdkit/") // newer ones of nbdkit name the script
			})
		})
	}
}

// after runs what when the first bytes of a command's work have gone through a server.
func after(s *twin.Side, line string, wait time.Duration, what func()) {
	s.Helper()
	cmd := s.Command(context.Background(), line)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	time.Sleep(wait)
	what()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(40 * time.Second):
		cmd.Cancel()
		s.Fatalf("%s: no end: %s%s", line, &out, &errs)
	}
	s.Note("$ qemu-img %s\n%s%s(exit %d)", line, &out, &errs, cmd.ProcessState.ExitCode())
}

// A server that dies in the middle ends the command with an error, on both sides of a copy.
func TestNBDServerDies(t *testing.T) {
	for _, c := range []struct{ name, line string }{
		{"source", "convert -f raw -O raw -m 1 " + export + " out.raw"},
		{"target", "convert -n -f raw -O raw -m 1 noise.raw " + export},
		{"bench", "bench -f raw -c 1000 -d 1 " + export},
		{"dd", "dd -f raw -O raw bs=64k if=" + export + " of=out.raw"},
		{"compare", "compare -f raw -F raw " + export + " noise.raw"},
	} {
		t.Run(c.name, func(t *testing.T) {
			twin.Compare(t, func(s *twin.Side) {
				s.Write("noise.raw", noise(16<<20))
				s.Write("disk.raw", noise(16<<20))
				end := nbdkit(s, "--filter=delay", "file", "disk.raw", "delay-read=300ms", "delay-write=300ms")
				after(s, c.line, 700*time.Millisecond, end)
				s.NoteSums("noise.raw")
				s.Normalise(`(byte|offset|sector) [0-9]+`, "$1 N")
			})
		})
	}
}

// With reconnect-delay, a server that comes back within that time is used again, and nothing is missing.
func TestNBDReconnects(t *testing.T) {
	for _, back := range []bool{true, false} {
		twin.Compare(t, func(s *twin.Side) {
			s.Write("disk.raw", noise(2<<20))
			args := []string{"--filter=delay", "file", "disk.raw", "delay-read=200ms"}
			end := nbdkit(s, args...)
			after(s, "convert --image-opts -O raw -m 1 driver=raw,file.driver=nbd,file.path=s,file.reconnect-delay=2 out.raw", 500*time.Millisecond, func() {
				end()
				if back {
					syscall.Unlink(s.Path("s"))
					nbdkit(s, args...)
				}
			})
			if back {
				s.NoteSums("out.raw")
			}
			s.Normalise(`byte [0-9]+`, "byte N")
		})
	}
}

// open-timeout waits for a server that is not there yet.
func TestNBDOpenTimeout(t *testing.T) {
	twin.Compare(t, func(s *twin.Side) {
		after(s, "info --image-opts driver=raw,file.driver=nbd,file.path=s,file.open-timeout=10", 400*time.Millisecond, func() { nbdkit(s, "memory", "1M") })
		s.Img("info --image-opts driver=raw,file.driver=nbd,file.path=nowhere,file.open-timeout=1")
	})
}

// Servers that break off or talk nonsense while the connection is made.
func TestNBDHandshakes(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "short": "NBDMAG", "http": "HTTP/1.1 400 Bad Request\r\n\r\n", "old magic": "NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53",
		"other magic": "NBDMAGICIHAVEOPX\x00\x03", "ends after greeting": "NBDMAGICIHAVEOPT\x00\x03", "not fixed": "NBDMAGICIHAVEOPT\x00\x00",
		"wrong reply": "NBDMAGICIHAVEOPT\x00\x03" + strings.Repeat("reply with nonsense ", 5),
		"old style":   "NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x03" + strings.Repeat("\x00", 124),
		"plain style": "NBDMAGICIHAVEOPT\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x03" + strings.Repeat("\x00", 124),
	} {
		t.Run(name, func(t *testing.T) {
			twin.Compare(t, func(s *twin.Side) {
				l, err := net.Listen("unix", s.Path("s"))
				if err != nil {
					s.Fatal(err)
				}
				s.Cleanup(func() { l.Close() })
				go func() {
					for c, err := l.Accept(); err == nil; c, err = l.Accept() {
						c.Write([]byte(text))
						c.(*net.UnixConn).CloseWrite()
						time.AfterFunc(time.Second, func() { c.Close() })
					}
				}()
				s.Img("info -f raw " + export)
				if !strings.HasSuffix(name, "style") { // there is nothing behind the handshake
					s.Img("convert -O raw " + export + " out.raw")
				}
			})
		})
	}
}

// A server's dirty bitmap, seen through x-dirty-bitmap: dirty parts are shown as no data.
func TestNBDDirtyBitmap(t *testing.T) {
	twin.Compare(t, func(s *twin.Side) {
		s.Stock("qemu-img create -q -f qcow2 disk.qcow2 4M")
		s.Stock("qemu-io -f qcow2 -c 'write -P 3 0 4M' disk.qcow2")
		s.Stock("qemu-img bitmap --add disk.qcow2 b0")
		s.Stock("qemu-io -f qcow2 -c 'write -P 4 1M 64k' -c 'write -P 4 3M 512k' disk.qcow2")
		s.Stock("qemu-img bitmap --disable disk.qcow2 b0")
		qemuNBD(s, "-f", "qcow2", "-B", "b0", "-A", "-r", "disk.qcow2")
		for _, name := range []string{"qemu:dirty-bitmap:b0", "qemu:allocation-depth", "base:allocation", "qemu:dirty-bitmap:none", "x", ""} {
			s.Img("map --output=json --image-opts driver=raw,file.driver=nbd,file.path=s,file.x-dirty-bitmap=" + name)
			s.Img("map --output=json --image-opts driver=nbd,path=s,x-dirty-bitmap=" + name)
			s.Img("convert --image-opts -O raw driver=nbd,path=s,x-dirty-bitmap=" + name + " out.raw")
		}
		s.Img("info 'json:{\"driver\":\"nbd\",\"path\":\"s\",\"x-dirty-bitmap\":\"qemu:dirty-bitmap:b0\"}'")
	})
}
