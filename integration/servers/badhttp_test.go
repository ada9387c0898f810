package servers

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"platter/integration/programs"
)

// Web servers that do wrong things. Stock puts together an image from what it gets of some of them, so here only ours
// runs: it must end with an error that says what is wrong, within the time, or with the right data.
func TestBadHTTP(t *testing.T) {
	body := noise(2 << 20)
	changed := bytes.Clone(body)
	changed[1<<20] ^= 1
	var requests atomic.Int32
	plain := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}
	second := func() bool { return requests.Add(1) > 2 }
	for name, c := range map[string]struct {
		get  http.HandlerFunc // what answers GET; HEAD is answered well
		want string           // part of the message, "" if the data must arrive
	}{
		"good":           {plain, ""},
		"ignores ranges": {func(w http.ResponseWriter, r *http.Request) { w.Write(body) }, "status 200"},
		"ignores some ranges": {func(w http.ResponseWriter, r *http.Request) {
			if second() {
				w.Write(body)
				return
			}
			plain(w, r)
		}, "status 200"},
		"changes its tag": {func(w http.ResponseWriter, r *http.Request) {
			if second() {
				w.Header().Set("ETag", `"two"`)
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(changed))
				return
			}
			plain(w, r)
		}, "changed on the server"},
		"changes its length": {func(w http.ResponseWriter, r *http.Request) {
			if second() {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(append(changed, 1)))
				return
			}
			plain(w, r)
		}, "changed on the server"},
		"wrong Content-Range": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 5-%d/%d", len(body)-1, len(body)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(body[5:])
		}, "the server sent the range"},
		"no Content-Range": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusPartialContent); w.Write(body) }, "the server sent the range"},
		"cuts the line": {func(w http.ResponseWriter, r *http.Request) {
			if !second() {
				plain(w, r)
				return
			}
			conn, buf, _ := w.(http.Hijacker).Hijack()
			buf.WriteString("HTTP/1.1 206 Partial Content\r\nContent-Length: 100000\r\n\r\n1234")
			buf.Flush()
			conn.Close()
		}, "curl: "},
		"refuses later":  {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) }, "status 403"},
		"stalls at once": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "curl: "},
		"redirects to file": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, "curl: "},
	} {
		t.Run(name, func(t *testing.T) {
			requests.Store(0)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"one"`)
				if r.Method == http.MethodHead {
					plain(w, r)
					return
				}
				c.get(w, r)
			}))
			defer server.Close()
			dir := t.TempDir()
			// A format is named: probing reads as well, and would fail first.
			cmd := programs.NeedPlatter(t, "qemu-img").Command(t.Context(), dir, "convert", "-O", "raw", "--image-opts",
				"driver=raw,file.driver=http,file.timeout=2,file.url="+server.URL+"/disk.raw", "out.raw")
			began := time.Now()
			out, err := cmd.CombinedOutput()
			if time.Since(began) > 30*time.Second {
				t.Errorf("it took %v", time.Since(began))
			}
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%v: %s", err, out)
			case c.want != "" && (cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), c.want)):
				t.Errorf("exit %d: %s\nwant 1 and %q", cmd.ProcessState.ExitCode(), out, c.want)
			}
			t.Logf("%s", out)
		})
	}
}
