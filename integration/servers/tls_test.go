package servers

import (
	"os"
	"path/filepath"
	"testing"

	"platter/integration/programs"
	"platter/integration/twin"
)

// folders makes the credentials that the TLS tests use, each in a folder by its name.
func folders(t *testing.T) string {
	dir := t.TempDir()
	good, other := newAuthority(t, "good CA", valid), newAuthority(t, "other CA", valid)
	old, early := newAuthority(t, "old CA", expired), newAuthority(t, "early CA", future)
	for _, c := range []struct {
		name          string
		signer, trust *authority
		who, host     string
		when          span
	}{
		{"server", good, good, "server", "localhost", valid},
		{"server-elsewhere", good, good, "server", "elsewhere.example", valid},
		{"client", good, good, "client", "a client", valid},
		{"nocert", good, good, "", "", valid},
		{"otherca", other, other, "client", "a client", valid},
		{"otherca-nocert", other, other, "", "", valid},
		{"stranger", other, good, "client", "a stranger", valid},
		{"expired", good, good, "client", "an old client", expired},
		{"future", good, good, "client", "an early client", future},
		{"expired-ca", old, old, "client", "a client", valid},
		{"future-ca", early, early, "", "", valid},
		{"servercert-as-client", good, good, "server", "localhost", valid},
	} {
		c.signer.credentials(t, filepath.Join(dir, c.name), c.trust, c.who, c.host, c.when)
	}
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("empty/x", "")
	write("garbage/ca-cert.pem", "this is no certificate\n")
	write("emptyca/ca-cert.pem", "")
	good.credentials(t, filepath.Join(dir, "nokey"), good, "client", "x", valid)
	os.Remove(filepath.Join(dir, "nokey", "client-key.pem"))
	good.credentials(t, filepath.Join(dir, "onlykey"), good, "client", "x", valid)
	os.Remove(filepath.Join(dir, "onlykey", "client-cert.pem"))
	good.credentials(t, filepath.Join(dir, "badcert"), good, "client", "x", valid)
	write("badcert/client-cert.pem", "nothing\n")
	good.credentials(t, filepath.Join(dir, "mismatch"), good, "client", "x", valid)
	good.credentials(t, filepath.Join(dir, "mismatch2"), good, "client", "y", valid)
	key, _ := os.ReadFile(filepath.Join(dir, "mismatch2", "client-key.pem"))
	write("mismatch/client-key.pem", string(key))
	return dir
}

const (
	tlsName = "driver=nbd,host=localhost,port=PORT,tls-creds=t"
	sockTLS = "driver=nbd,path=s,tls-creds=t"
)

// clients are the ways in which a client comes with credentials.
func clients(dir string) []string {
	var lines []string
	for _, name := range []string{"client", "nocert", "otherca", "otherca-nocert", "stranger", "expired", "future", "expired-ca", "future-ca",
		"servercert-as-client", "empty", "garbage", "emptyca", "nokey", "onlykey", "badcert", "mismatch", "nosuch"} {
		lines = append(lines, "info --object tls-creds-x509,id=t,dir="+dir+"/"+name+" --image-opts "+tlsName)
	}
	object := "info --object tls-creds-x509,id=t,dir=" + dir + "/client"
	return append(lines,
		object+",verify-peer=off --image-opts "+tlsName,
		object+",endpoint=client --image-opts "+tlsName,
		object+",sanity-check=off --image-opts "+tlsName,
		"info --object tls-creds-x509,id=t,dir="+dir+"/expired,sanity-check=off --image-opts "+tlsName,
		"info --object tls-creds-x509,id=t,dir="+dir+"/otherca-nocert,verify-peer=off --image-opts "+tlsName,
		"info --object tls-creds-x509,id=t,endpoint=server,dir="+dir+"/server --image-opts "+tlsName,
		"info --object tls-creds-x509,id=t --image-opts "+tlsName,
		object+" --image-opts "+tlsName+",tls-hostname=elsewhere.example",
		object+" --image-opts "+tlsName+",tls-hostname=nowhere.example",
		object+" --image-opts driver=nbd,host=127.0.0.1,port=PORT,tls-creds=t",
		object+" --image-opts "+tlsName+",export=none",
		object+" --image-opts driver=nbd,host=localhost,port=PORT,tls-creds=none",
		object+" --image-opts driver=nbd,host=localhost,port=PORT",
		"info --object secret,id=t,data=x --image-opts "+tlsName,
		"info nbd://localhost:PORT/",
		"info --object tls-creds-x509,id=t,dir="+dir+"/client --image-opts driver=raw,file.driver=nbd,file.host=localhost,file.port=PORT,file.tls-creds=t",
		"convert --object tls-creds-x509,id=t,dir="+dir+"/client --image-opts -O raw "+tlsName+" out.raw",
		"convert --object tls-creds-x509,id=t,dir="+dir+"/client --target-image-opts -n small.raw "+tlsName,
		"compare --object tls-creds-x509,id=t,dir="+dir+"/client --image-opts "+tlsName+" driver=raw,file.filename=disk.raw",
	)
}

func TestTLS(t *testing.T) {
	dir := folders(t)
	port := freePort(t)
	for _, c := range []struct{ name, cert, verify string }{
		{"verifying", "server", "yes"}, {"not verifying", "server", "no"}, {"elsewhere", "server-elsewhere", "no"}, {"plaintext", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			twin.Compare(t, func(s *twin.Side) {
				s.Write("disk.raw", noise(1<<20))
				s.Write("small.raw", noise(4096))
				args := []string{"-t", "-p", port, "-b", "127.0.0.1", "-f", "raw", "-e", "8", "disk.raw"}
				if c.cert != "" {
					args = append([]string{"--object", "tls-creds-x509,id=tls0,endpoint=server,dir=" + dir + "/" + c.cert + ",verify-peer=" + c.verify,
						"--tls-creds", "tls0"}, args...)
				}
				serve(s, programs.NeedStock(s, "qemu-nbd"), "tcp", "127.0.0.1:"+port, args...)
				for _, line := range clients(dir) {
					s.Img(replace(line, "PORT", port))
				}
				s.NoteSums("disk.raw", "out.raw")
				s.Normalise(port, "PORT")
				hangUps(s)
				s.Normalise(dir, "CERTS")
			})
		})
	}
}

// hangUps makes one of the ways in which it shows that a server does not like the client's certificate, and closes the
// connection: that depends on how far the client is.
func hangUps(s *twin.Side) {
	s.Normalise(`(Failed to (read|send) option re(ply|quest header)|TLS handshake failed): .*`, "the server hung up")
}

// TLS over a Unix socket, and with nbdkit.
func TestTLSNbdkit(t *testing.T) {
	dir := folders(t)
	twin.Compare(t, func(s *twin.Side) {
		s.Write("small.raw", noise(4096))
		nbdkit(s, "--tls=require", "--tls-certificates="+dir+"/server", "--tls-verify-peer", "memory", "1M")
		for _, name := range []string{"client", "nocert"} {
			object := "--object tls-creds-x509,id=t,dir=" + dir + "/" + name
			if name == "client" {
				s.Img("info " + object + " --image-opts " + sockTLS)
				s.Img("info " + object + " --image-opts " + sockTLS + ",tls-hostname=elsewhere")
			}
			s.Img("info " + object + " --image-opts " + sockTLS + ",tls-hostname=localhost")
			s.Img("convert " + object + " -n --target-image-opts small.raw " + sockTLS + ",tls-hostname=localhost")
			s.Img("convert " + object + " --image-opts -O raw " + sockTLS + ",tls-hostname=localhost out.raw")
		}
		s.NoteSums("out.raw")
		s.Normalise(dir, "CERTS")
		hangUps(s)
	})
}
