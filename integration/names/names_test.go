package names

import (
	"os"
	"strings"
	"testing"

	"platter/integration/twin"
)

// tree makes images that refer to each other in every way.
func tree(s *twin.Side) {
	s.Helper()
	for _, dir := range []string{"a", "a/b", "c"} {
		if err := os.Mkdir(s.Path(dir), 0o755); err != nil {
			s.Fatal(err)
		}
	}
	s.Write("plain.raw", []byte(strings.Repeat("plain", 52429*4)[:1<<20]))
	s.Stock("qemu-img convert -O qcow2 plain.raw a/base.qcow2")
	for _, line := range []string{
		"a/rel.qcow2 base.qcow2", "a/b/up.qcow2 ../base.qcow2", "c/across.qcow2 ../a/base.qcow2", "abs.qcow2 " + s.Path("a/base.qcow2"),
		"deep.qcow2 a/rel.qcow2", "proto.qcow2 file:a/base.qcow2", "a/proto.qcow2 file:a/base.qcow2", "missing.qcow2 nowhere.qcow2",
		`json1.qcow2 'json:{"driver":"qcow2","file":{"driver":"file","filename":"a/base.qcow2"}}'`,
		`a/json2.qcow2 'json:{"driver":"qcow2","file":{"driver":"file","filename":"base.qcow2"}}'`,
		`json3.qcow2 'json:{"file.filename":"a/base.qcow2"}'`, `json4.qcow2 'json:{"driver":"qcow2","file":"x"}'`, `json5.qcow2 'json:nonsense'`,
		"null.qcow2 null-co://", `nullj.qcow2 'json:{"driver":"null-co","size":1048576}'`, "nbd.qcow2 nbd://localhost:1/x", "nosuch.qcow2 nosuch:x", "colon.qcow2 ./a:b", "empty.qcow2 file:",
	} {
		w := strings.SplitN(line, " ", 2)
		s.Stock("qemu-img create -q -u -f qcow2 -b " + w[1] + " -F qcow2 " + w[0] + " 1M")
	}
	s.Stock("qemu-img create -q -u -f qcow2 -b null-co:// -F raw nullraw.qcow2 1M")
	for link, to := range map[string]string{"link.qcow2": "a/rel.qcow2", "a/linkdir": "../c", "c/link.qcow2": "../a/b/up.qcow2"} {
		if err := os.Symlink(to, s.Path(link)); err != nil {
			s.Fatal(err)
		}
	}
}

func TestReferences(t *testing.T) {
	twin.Compare(t, func(s *twin.Side) {
		tree(s)
		for _, name := range []string{"a/rel.qcow2", "a/b/up.qcow2", "c/across.qcow2", "abs.qcow2", "deep.qcow2", "proto.qcow2", "a/proto.qcow2", "missing.qcow2", "json1.qcow2",
			"a/json2.qcow2", "json3.qcow2", "json4.qcow2", "json5.qcow2", "null.qcow2", "nullraw.qcow2", "nullj.qcow2", "nbd.qcow2", "nosuch.qcow2", "colon.qcow2", "empty.qcow2",
			"link.qcow2", "a/linkdir/across.qcow2", "c/link.qcow2", "./deep.qcow2", "file:deep.qcow2", s.Path("deep.qcow2"), "a/../deep.qcow2", "a//rel.qcow2"} {
			for _, line := range []string{"info $N", "info --backing-chain $N", "info --backing-chain --output=json $N", "map --output=json $N", "convert -O raw $N out.raw", "create -f qcow2 -b $N -F qcow2 c/new.qcow2", "check $N"} {
				s.Img(strings.ReplaceAll(line, "$N", name))
			}
		}
		s.Normalise(`"actual-size": \d+|disk size: .*`, "disk size")
	})
}

func TestOptionNames(t *testing.T) {
	names := []string{
		`'json:{"driver":"qcow2","file":{"driver":"file","filename":"a/rel.qcow2"}}'`, `'json:{"driver":"qcow2","file.filename":"a/rel.qcow2"}'`,
		`'json:{"driver":"qcow2","file":{"driver":"file","filename":"deep.qcow2"},"backing":{"driver":"raw","file":{"driver":"file","filename":"plain.raw"}}}'`,
		`'json:{"driver":"qcow2","file":{"driver":"file","filename":"deep.qcow2"},"backing":null}'`, `'json:{"driver":"qcow2","file":{"driver":"file","filename":"deep.qcow2"},"backing":""}'`,
		`'json:{"driver":"qcow2","file":{"driver":"file","filename":"deep.qcow2"},"backing":{"driver":"qcow2","file.filename":"a/rel.qcow2","backing.file.filename":"plain.raw","backing.driver":"raw"}}'`,
		`'json:{"driver":"qcow2","file":{"driver":"raw","file":{"driver":"file","filename":"a/rel.qcow2"}}}'`, `'json:{"driver":"qcow2","file":{"driver":"raw","offset":0,"file":{"driver":"file","filename":"a/rel.qcow2"}}}'`,
		`'json:{"driver":"copy-on-read","file":{"driver":"qcow2","file":{"driver":"file","filename":"a/rel.qcow2"}}}'`, `'json:{"driver":"raw","offset":4096,"size":8192,"file":{"driver":"file","filename":"plain.raw"}}'`,
		`'json:{"driver":"raw","size":9000000,"file":{"driver":"file","filename":"plain.raw"}}'`,
		`'json:{"driver":"raw","file":{"driver":"file","filename":"plain.raw","locking":"off"}}'`, `'json:{"driver":"raw","file":{"driver":"file","filename":"plain.raw","locking":"maybe"}}'`,
		`'json:{"driver":"raw","file":{"driver":"file","filename":"plain.raw","aio":"native"}}'`, `'json:{"driver":"raw","file":{"driver":"file","filename":"plain.raw","aio":"native","cache":{"direct":true}}}'`,
		`'json:{"driver":"raw","file":{"driver":"file","filename":"plain.raw","aio":"io_uring"}}'`, `'json:{"driver":"raw","file":{"driver":"file","filename":"plain.raw","pr-manager":"none"}}'`,
		`'json:{"driver":"raw","file":{"driver":"file","filename":"plain.raw","x-check-cache-dropped":true,"drop-cache":false}}'`, `'json:{"driver":"raw","file":{"driver":"file","filename":"plain.raw","drop-cache":"maybe"}}'`,
		`'json:{"driver":"raw","file":{"driver":"file","filename":"plain.raw","aio-max-batch":7}}'`, `'json:{"driver":"raw","file":{"driver":"file"}}'`, `'json:{"driver":"file","filename":"plain.raw"}'`,
		`'json:{"driver":"qcow2","file":{"driver":"file","filename":"a/rel.qcow2"},"lazy-refcounts":true,"l2-cache-size":65536}'`, `'json:{"driver":"qcow2","file":{"driver":"file","filename":"a/rel.qcow2"},"node-name":"n1","read-only":true}'`,
		`'json:{}'`, `'json:[]'`, `'json:{"driver":1}'`, `'json:{"driver":"qcow2","file":{"driver":"file","filename":"a/rel.qcow2"}'`, `'json:{"driver":"qcow2","file":{"driver":"file","filename":"a/rel.qcow2","nosuch":1}}'`,
	}
	options := []string{
		"driver=qcow2,file.driver=file,file.filename=a/rel.qcow2", "file.filename=a/rel.qcow2", "a/rel.qcow2", "driver=qcow2,file.filename=deep.qcow2,backing.driver=raw,backing.file.filename=plain.raw",
		"driver=qcow2,file.filename=deep.qcow2,backing=", "driver=raw,offset=4096,size=8k,file.filename=plain.raw", "driver=raw,file.filename=plain.raw,file.locking=off", "driver=raw,file.filename=plain.raw,file.locking=maybe",
		"driver=raw,file.filename=plain.raw,file.aio=native", "driver=raw,file.filename=plain.raw,file.aio=native,cache.direct=on", "driver=raw,file.filename=plain.raw,file.aio=nosuch", "driver=raw,file.filename=plain.raw,file.x-check-cache-dropped=on",
		"driver=raw,file.filename=plain.raw,file.pr-manager=p", "driver=raw,file.filename=plain.raw,file.drop-cache=off", "driver=raw,file.filename=plain.raw,file.aio-max-batch=x", "driver=raw,file.0.filename=plain.raw", "driver=raw,file.filename=plain.raw,file.filename=x",
		"driver=raw,file=plain.raw", "driver=raw", "driver=nosuch,file.filename=plain.raw", "driver=qcow2,file.filename=a/rel.qcow2,backing.nosuch=1", "file.filename=plain.raw,read-only=maybe", "file.filename=plain.raw,cache.direct=x", "file.filename=plain.raw,discard=x", "file.filename=plain.raw,detect-zeroes=x",
		"driver=throttle,throttle-group=g,file.driver=raw,file.file.filename=plain.raw", "driver=copy-on-read,file.driver=qcow2,file.file.filename=a/rel.qcow2",
	}
	twin.Compare(t, func(s *twin.Side) {
		tree(s)
		for _, n := range names {
			for _, verb := range []string{"info ", "info --output=json --backing-chain ", "map --output=json ", "check "} {
				s.Img(verb + n)
			}
			s.Img("create -f qcow2 -b " + n + " -F raw new.qcow2")
			s.Img("info --backing-chain new.qcow2")
		}
		for _, o := range options {
			for _, verb := range []string{"info --image-opts ", "info --backing-chain --output=json --image-opts ", "convert --image-opts -O raw ", "bench -c 1 --image-opts "} {
				line := verb + o
				if strings.HasPrefix(verb, "convert") {
					line += " out.raw"
				}
				s.Img(line)
			}
		}
		s.Normalise(`"actual-size": \d+|disk size: .*`, "disk size")
		s.Normalise(`Run completed in [0-9.]+ seconds`, "Run completed in N seconds")
		s.Normalise(`#block\d{3,}`, "#blockN")
	})
}
