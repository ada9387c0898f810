package servers

import (
	"bytes"
	"fmt"
	"testing"

	"platter/integration/twin"
)

const export = "nbd+unix:///?socket=s"

// Every way to name an export, over both kinds of socket.
func TestNBDNames(t *testing.T) {
	port := freePort(t) // nobody listens there
	twin.Compare(t, func(s *twin.Side) {
		s.Write("disk.raw", noise(1<<20))
		qemuNBD(s, "-f", "raw", "-x", "disk", "-e", "8", "disk.raw")
		sock := s.Path("s")
		for _, name := range []string{
			"nbd+unix:///disk?socket=s", "nbd+unix:///?socket=s", "nbd+unix:///other?socket=s", "nbd+unix://host/disk?socket=s",
			"nbd+unix:///disk?socket=", "nbd+unix:///disk?socket=s&more=1", "nbd+unix:///disk?sock=s",
			"nbd+unix:///disk?socket=" + sock, "nbd+unix:disk?socket=s", "nbd+unix:///di%73k?socket=s",
			"nbd:unix:s:exportname=disk", "nbd:unix:s", "nbd:unix:s:exportname=", "nbd:unix:" + sock + ":exportname=disk",
			"nbd:unix:s:exportname=other", "nbd:unix:nowhere:exportname=disk", "nbd:", "nbd:x", "nbd:unix:", "nbd:unix",
			"nbd:exportname=disk", "nbd::exportname=disk", "nbd:localhost", "nbd:localhost:", "nbd:localhost:x",
			"nbd:localhost:" + port, "nbd:[::1]:" + port, "nbd:127.0.0.1:" + port + ":exportname=disk", "nbd:nosuch.invalid:10809",
			"nbd://", "nbd:///disk", "nbd://localhost:" + port, "nbd://localhost:" + port + "/disk", "nbd://[::1]:" + port + "/disk",
			"nbd+tcp://127.0.0.1:" + port + "/disk", "nbd://user@localhost:" + port + "/", "nbd://localhost:0/x", "nbd://localhost:99999/x",
			"nbd://localhost:" + port + "/disk?socket=s", "nbd://localhost:" + port + "/disk#part", "nbds://localhost/x", "nbd+tls://localhost/x",
			`json:{"driver":"nbd","server":{"type":"unix","path":"s"},"export":"disk"}`,
			`json:{"driver":"nbd","path":"s","export":"disk"}`,
			`json:{"driver":"raw","file":{"driver":"nbd","server":{"type":"unix","path":"s"},"export":"disk"}}`,
			`json:{"driver":"nbd","server":{"type":"unix"},"export":"disk"}`,
			`json:{"driver":"nbd","server":{"type":"inet","host":"localhost"},"export":"disk"}`,
			`json:{"driver":"nbd","server":{"type":"inet","port":"1"},"export":"disk"}`,
			`json:{"driver":"nbd","server":{"type":"inet","host":"localhost","port":"` + port + `","ipv4":true,"ipv6":false},"export":"d"}`,
			`json:{"driver":"nbd","server":{"type":"inet","host":"localhost","port":"` + port + `","ipv4":"maybe"},"export":"d"}`,
			`json:{"driver":"nbd","server":{"type":"inet","host":"localhost","port":"` + port + `","keep-alive":true},"export":"d"}`,
			`json:{"driver":"nbd","server":{"type":"fd","str":"77"},"export":"d"}`,
			`json:{"driver":"nbd","server":{"type":"nosuch"},"export":"d"}`,
			`json:{"driver":"nbd","server":{"type":"unix","path":"s","nosuch":1},"export":"disk"}`,
			`json:{"driver":"nbd","server":{"path":"s"},"export":"disk"}`,
			`json:{"driver":"nbd","server":"s","export":"disk"}`,
			`json:{"driver":"nbd","host":"localhost","port":"` + port + `","export":"disk"}`,
			`json:{"driver":"nbd","host":"localhost","path":"s"}`,
			`json:{"driver":"nbd","host":"localhost","port":"x"}`,
			`json:{"driver":"nbd","port":"1"}`,
			`json:{"driver":"nbd"}`,
			`json:{"driver":"nbd","path":"s","export":"disk","nosuch":"x"}`,
			`json:{"driver":"nbd","path":"s","server":{"type":"unix","path":"s"}}`,
		} {
			s.Img("info '" + name + "'")
		}
		for _, opts := range []string{
			"driver=nbd,path=s,export=disk", "driver=nbd,server.type=unix,server.path=s,export=disk",
			"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=s,file.export=disk",
			"file.driver=nbd,file.path=s,file.export=disk", "driver=nbd,filename=nbd+unix:///disk?socket=s",
			"file.filename=nbd+unix:///disk?socket=s", "driver=nbd,filename=nbd+unix:///disk?socket=s,path=s",
			"driver=nbd,filename=disk.raw", "driver=nbd,path=s,export=disk,reconnect-delay=1", "driver=nbd,path=s,export=disk,open-timeout=1",
			"driver=nbd,path=s,export=disk,reconnect-delay=x", "driver=nbd,path=s,export=disk,open-timeout=-1",
			"driver=nbd,path=nowhere,open-timeout=1",
		} {
			s.Img("info --image-opts '" + opts + "'")
		}
		s.Img("info '" + "nbd+unix:///" + string(bytes.Repeat([]byte("x"), 5000)) + "?socket=s'")
	})
}

// Every verb on an export.
func TestNBDVerbs(t *testing.T) {
	twin.Compare(t, func(s *twin.Side) {
		s.Write("disk.raw", append(noise(1<<20), make([]byte, 3<<20)...))
		s.Write("other.raw", noise(2<<20))
		s.Write("small.raw", noise(4096))
		s.Write("large.raw", noise(5<<20))
		qemuNBD(s, "-f", "raw", "-e", "8", "--discard=unmap", "--detect-zeroes=on", "disk.raw")
		for _, line := range []string{
			"info $N", "info --output=json $N", "info -f raw $N", "info -f qcow2 $N", "info -U $N",
			"map $N", "map --output=json $N", "map --output=json -s 64k -l 128k $N",
			"check $N", "check -f raw $N", "snapshot -l $N", "snapshot -c x $N", "measure -O qcow2 $N", "measure -O raw $N",
			"compare $N other.raw", "compare -s $N disk.raw", "compare disk.raw $N",
			"convert -O raw $N out.raw", "convert -O qcow2 -c $N out.qcow2", "dd if=$N of=dd.raw bs=64k count=3 skip=1",
			"create -f raw $N 4M", "create -f raw $N 1M", "create -f raw $N 8M", "create -f raw $N",
			"create -f raw -o preallocation=full $N 1M", "create -f raw -o preallocation=nosuch $N 1M", "create -f qcow2 $N 1M",
			"info $N", "convert -n -O raw other.raw $N", "compare other.raw $N", "convert -O raw other.raw $N",
			"convert -O raw large.raw $N", "convert -n -O raw large.raw $N", "convert -O qcow2 small.raw $N", "info $N",
			"convert -n -O raw --target-is-zero small.raw $N", "convert -n -O raw -S 0 other.raw $N", "convert -n -t none other.raw $N",
			"convert -n -t writethrough small.raw $N", "convert -n -W -m 4 -O raw other.raw $N", "convert -C -n -O raw other.raw $N",
			"resize -f raw $N 8M", "resize -f raw $N 4M", "resize -f raw $N +1M", "resize -f raw --shrink $N 1M", "resize --preallocation=full -f raw $N 8M",
			"dd if=small.raw of=$N bs=4096", "dd -n if=small.raw of=$N bs=4096", "commit $N", "rebase -u -b x $N", "amend -o size=8M $N", "bitmap --add $N b",
			"bench -c 4 -f raw $N", "bench -c 4 -w -f raw --pattern 7 $N", "bench -c 4 -w -f raw --flush-interval 2 -t none $N",
			"create -f qcow2 -b $N -F raw over.qcow2", "info over.qcow2", "info --backing-chain over.qcow2", "map --output=json over.qcow2",
			"convert -O raw over.qcow2 flat.raw", "compare over.qcow2 disk.raw", "rebase -f qcow2 -b disk.raw -F raw over.qcow2", "info over.qcow2",
			"rebase -b $N -F raw over.qcow2", "commit over.qcow2", "create -f qcow2 -b $N over2.qcow2", "create -f qcow2 -u -b $N -F raw over3.qcow2 1M",
		} {
			s.Img(replace(line, "$N", export))
		}
		s.NoteSums("disk.raw", "out.raw", "dd.raw", "flat.raw")
		s.Normalise(`#block\d{3,}`, "#blockN")
		s.Normalise(`Run completed in [0-9.]+ seconds`, "Run completed in N seconds")
	})
}

// What a server does not offer is refused or done otherwise, as stock does.
func TestNBDAbilities(t *testing.T) {
	lines := []string{
		"info $N", "map --output=json $N", "convert -O raw $N out.raw", "convert -n -O raw new.raw $N", "create -f raw $N 1M",
		"convert -n -O raw -S 0 zero.raw $N", "bench -w -c 3 -f raw $N", "resize -f raw $N 3M", "compare $N new.raw", "check -r all $N", "commit $N",
		"dd if=new.raw of=$N", "convert -n --target-image-opts new.raw driver=nbd,path=s", "snapshot -c x $N", "amend -o compat=1.1 $N",
	}
	for name, args := range map[string][]string{
		"plain":         {"memory", "2M"},
		"read-only":     {"-r", "memory", "2M"},
		"no structured": {"--no-sr", "memory", "2M"},
		"no extents":    {"--filter=noextents", "memory", "2M"},
		"no zero":       {"--filter=nozero", "memory", "2M"},
		"emulated zero": {"--filter=nozero", "memory", "2M", "zeromode=emulate"},
		"no trim":       {"--filter=blocksize", "memory", "2M"},
		"no multi-conn": {"--filter=multi-conn", "memory", "2M", "multi-conn-mode=disable"},
		"fua emulated":  {"--filter=fua", "memory", "2M", "fuamode=emulate"},
		"fua forced":    {"--filter=fua", "memory", "2M", "fuamode=force"},
		"no parallel":   {"--filter=noparallel", "memory", "2M", "serialize=all-requests"},
		"min block 4k":  {"--filter=blocksize-policy", "memory", "2M", "blocksize-minimum=4096", "blocksize-preferred=4096", "blocksize-maximum=64k", "blocksize-error-policy=error"},
		"min block 64k": {"--filter=blocksize-policy", "memory", "2M", "blocksize-minimum=65536", "blocksize-preferred=65536", "blocksize-maximum=1M", "blocksize-error-policy=error"},
	} {
		t.Run(name, func(t *testing.T) {
			twin.Compare(t, func(s *twin.Side) {
				s.Write("new.raw", noise(1<<20))
				s.Write("zero.raw", make([]byte, 1<<20))
				nbdkit(s, args...)
				for _, line := range lines {
					s.Img(replace(line, "$N", export))
				}
				s.NoteSums("out.raw")
				s.Img("convert -O raw " + export + " after.raw")
				s.NoteSums("after.raw")
				s.Normalise(`Run completed in [0-9.]+ seconds`, "Run completed in N seconds")
			})
		})
	}
}

func TestNBDSizes(t *testing.T) {
	for _, size := range []int{0, 1, 511, 513, 4097, 1000001} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			for server, start := range map[string]func(s *twin.Side){
				"nbdkit":   func(s *twin.Side) { nbdkit(s, "file", "disk.raw") },
				"qemu-nbd": func(s *twin.Side) { qemuNBD(s, "-f", "raw", "disk.raw") },
			} {
				t.Run(server, func(t *testing.T) {
					twin.Compare(t, func(s *twin.Side) {
						s.Write("disk.raw", noise(size))
						s.Write("more.raw", bytes.Repeat([]byte("more"), (size+1023)/1024*256))
						s.Write("less.raw", bytes.Repeat([]byte("l"), size/2))
						start(s)
						for _, line := range []string{
							"info $N", "map --output=json $N", "convert -O raw $N out.raw", "convert -O qcow2 $N out.qcow2", "measure -O raw $N",
							"compare -s out.raw $N", "compare disk.raw $N", "dd if=$N of=dd.raw bs=1000", "bench -f raw -c 1 -s 512 $N",
							"convert -n -O raw less.raw $N", "convert -n -O raw more.raw $N", "dd -n if=less.raw of=$N", "create -f raw $N 1",
						} {
							s.Img(replace(line, "$N", export))
						}
						s.NoteSums("disk.raw", "out.raw", "dd.raw")
						s.Normalise(`Run completed in [0-9.]+ seconds`, "Run completed in N seconds")
					})
				})
			}
		})
	}
}
