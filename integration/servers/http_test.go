package servers

import (
	"fmt"
	"os"
	"testing"

	"platter/integration/twin"
)

// nginxConfig serves the folder DIR on PORT, with the ways that a server of images has of being difficult.
const nginxConfig = `
daemon off;
pid DIR/nginx.pid;
error_log DIR/error.log;
worker_processes 1;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3; uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
	server {
		listen 127.0.0.1:PORT;
		root DIR/www;
		location /noranges/ { alias DIR/www/; max_ranges 0; }
		location /moved/ { rewrite ^/moved/(.*) /$1 permanent; }
		location /found/ { rewrite ^/found/(.*) http://127.0.0.1:PORT/$1 redirect; }
		location /twice/ { rewrite ^/twice/(.*) /moved/$1 redirect; }
		location /loop/ { rewrite ^ /loop/x redirect; }
		location /private/ { alias DIR/www/; auth_basic "images"; auth_basic_user_file DIR/users; }
		location /cookie/ { if ($http_cookie !~ "key=open") { return 403; } alias DIR/www/; }
		location /gone/ { return 410; }
		location /error/ { return 500; }
		location /slow/ { alias DIR/www/; limit_rate 200k; }
		location /cut/ { return 444; }
	}
	server {
		listen 127.0.0.1:SSLPORT ssl;
		ssl_certificate CERTS/server/server-cert.pem; ssl_certificate_key CERTS/server/server-key.pem;
		root DIR/www;
	}
}
`

// nginx serves files of the side's folder www and gives the ports of HTTP and HTTPS.
func nginx(s *twin.Side, port, sslPort, certs string) {
	s.Helper()
	server := need(s.T, "nginx")
	if err := os.Chmod(s.Dir, 0o755); err != nil {
		s.Fatal(err)
	}
	config := replace(replace(replace(nginxConfig, "SSLPORT", sslPort), "PORT", port), "CERTS", certs)
	s.Write("nginx.conf", []byte(replace(config, "DIR", s.Dir)))
	s.Write("users", []byte("me:{PLAIN}pass word\n"))
	serve(s, server, "tcp", "127.0.0.1:"+port, "-c", s.Path("nginx.conf"), "-p", s.Dir, "-g", userOf())
	s.Normalise(sslPort, "SSLPORT")
	s.Normalise(port, "PORT")
	s.Normalise(certs, "CERTS")
}

// userOf keeps nginx from giving up root, which would take the test's files from it.
func userOf() string {
	if os.Getuid() == 0 {
		return "user root;"
	}
	return ""
}

// Every verb over HTTP. Converting runs with -m 1: stock does not come to an end when it reads a URL in parallel.
func TestHTTP(t *testing.T) {
	certs := folders(t)
	port, sslPort := freePort(t), freePort(t)
	twin.Compare(t, func(s *twin.Side) {
		if err := os.Mkdir(s.Path("www"), 0o755); err != nil {
			s.Fatal(err)
		}
		s.Write("www/disk.raw", noise(3<<20))
		s.Write("www/odd.raw", noise(1000001))
		s.Write("www/tiny.raw", noise(5))
		s.Write("www/empty.raw", nil)
		s.Stock("qemu-img create -q -f qcow2 www/disk.qcow2 4M")
		s.Stock("qemu-io -f qcow2 -c 'write -P 7 1M 100k' -c 'write -P 9 3M 4k' www/disk.qcow2")
		s.Stock("qemu-img create -q -f qcow2 -b disk.qcow2 -F qcow2 www/over.qcow2")
		nginx(s, port, sslPort, certs)
		u := "http://127.0.0.1:" + port
		for _, line := range []string{
			"info U/disk.raw", "info -f raw U/disk.raw", "info --output=json U/disk.qcow2", "info U/odd.raw", "info U/tiny.raw", "info U/empty.raw",
			"info U/disk.qcow2", "info --backing-chain U/over.qcow2", "check U/disk.qcow2", "map --output=json U/disk.qcow2", "map --output=json U/odd.raw",
			"convert -m 1 -O raw U/disk.raw out.raw", "convert -m 1 -O raw U/odd.raw odd.raw", "convert -m 1 -O raw U/disk.qcow2 q.raw", "convert -m 1 -O raw U/over.qcow2 o.raw",
			"convert -m 1 -O raw U/tiny.raw tiny.raw", "convert -m 1 -O raw U/empty.raw empty.raw", "compare U/disk.raw www/disk.raw", "measure -O qcow2 U/disk.qcow2",
			"dd if=U/disk.raw of=dd.raw bs=64k skip=3 count=2", "snapshot -l U/disk.qcow2", "bench -c 3 U/disk.raw",
			"info U/none.raw", "info U/", "info U", "info U/gone/x", "info U/error/x", "info U/cut/x", "info U/noranges/disk.raw", "convert -m 1 U/noranges/disk.raw no.raw",
			"info U/moved/disk.raw", "convert -m 1 -O raw U/moved/disk.raw moved.raw", "info U/found/disk.raw", "convert -m 1 -O raw U/twice/disk.raw twice.raw", // a redirection to itself ends with other words
			"info U/private/disk.raw", "info U/cookie/disk.raw", "convert -m 1 -O raw U/slow/odd.raw slow.raw",
			"snapshot -c x U/disk.qcow2", "resize U/disk.qcow2 8M", "create -f raw U/new.raw 1M", "create -f qcow2 U/new.qcow2 1M", "convert -O raw www/disk.raw U/new.raw",
			"convert -n -O raw www/disk.raw U/disk.raw", "check -r all U/disk.qcow2", "commit U/over.qcow2", "bench -w -c 1 -f raw U/disk.raw", "amend -o compat=1.1 U/disk.qcow2",
			"create -f qcow2 -b U/disk.raw -F raw new.qcow2", "create -f qcow2 -b U/disk.qcow2 -F qcow2 new2.qcow2", "info --backing-chain new2.qcow2", "convert -m 1 -O raw new2.qcow2 new2.raw",
			"info http://127.0.0.1:1/x", "info http:", "info http://nosuch.invalid/x", "info 'U/di%73k.raw'", "info 'U/disk.raw?x=1#y'",
		} {
			s.Img(replace(line, "U", u))
		}
		s.NoteSums("out.raw", "odd.raw", "q.raw", "o.raw", "tiny.raw", "empty.raw", "dd.raw", "moved.raw", "twice.raw", "slow.raw", "new2.raw")
		httpOptions(s, u, port, sslPort)
		s.Normalise(`Run completed in [0-9.]+ seconds`, "Run completed in N seconds")
		s.Normalise(`CAfile: \S+`, "CAfile: FILE")
		s.Normalise(`after \d+ ms`, "after N ms")
	})
}

// httpOptions tries the runtime options of the drivers http and https.
func httpOptions(s *twin.Side, u, port, sslPort string) {
	private := "--object secret,id=p,data='pass word' --image-opts "
	for _, opts := range []string{
		"--image-opts file.driver=http,file.url=U/disk.raw", "--image-opts driver=http,url=U/disk.raw", "--image-opts driver=http", "--image-opts driver=http,url=", "--image-opts driver=https,url=U/disk.raw",
		"--image-opts driver=http,url=ftp://x/y", "--image-opts driver=http,url=U/disk.raw,readahead=64k", "--image-opts driver=http,url=U/disk.raw,readahead=1000", "--image-opts driver=http,url=U/disk.raw,readahead=x",
		"--image-opts driver=http,url=U/disk.raw,timeout=1", "--image-opts driver=http,url=U/disk.raw,timeout=100000", "--image-opts driver=http,url=U/disk.raw,timeout=x", "--image-opts driver=http,url=U/disk.raw,nosuch=x",
		"--image-opts driver=http,url=U/disk.raw,sslverify=off", "--image-opts driver=http,url=U/cookie/disk.raw,cookie=key=open", "--image-opts driver=http,url=U/cookie/disk.raw,cookie=key=shut",
		"--object secret,id=c,data=key=open --image-opts driver=http,url=U/cookie/disk.raw,cookie-secret=c", "--image-opts driver=http,url=U/cookie/disk.raw,cookie-secret=none",
		"--object secret,id=c,data=key=open --image-opts driver=http,url=U/cookie/disk.raw,cookie-secret=c,cookie=x",
		private + "driver=http,url=U/private/disk.raw,username=me,password-secret=p", private + "driver=http,url=U/private/disk.raw,username=you,password-secret=p",
		private + "driver=http,url=U/private/disk.raw,username=me", private + "driver=http,url=U/private/disk.raw,password-secret=none", "--image-opts driver=http,url=U/private/disk.raw",
		"--image-opts driver=http,url=U/noranges/disk.raw,force-range=on", "--image-opts driver=http,url=U/disk.raw,force-range=on",
		"--image-opts driver=https,url=https://localhost:SSLPORT/disk.raw,sslverify=off", "--image-opts driver=https,url=https://localhost:SSLPORT/disk.raw", "https://127.0.0.1:SSLPORT/disk.raw", "https://127.0.0.1:PORT/disk.raw", "http://127.0.0.1:SSLPORT/disk.raw",
		`'json:{"driver":"https","url":"https://localhost:SSLPORT/disk.raw","sslverify":false}'`,
	} {
		s.Img("info " + replace(replace(replace(opts, "U", u), "SSLPORT", sslPort), "PORT", port))
	}
	s.Img(fmt.Sprintf("convert -m 1 --image-opts -O raw driver=https,url=https://localhost:%s/disk.raw,sslverify=off ssl.raw", sslPort))
	s.Img(fmt.Sprintf("convert -m 1 %sdriver=http,url=%s/private/disk.raw,username=me,password-secret=p -O raw auth.raw", private, u))
	s.NoteSums("ssl.raw", "auth.raw")
}
