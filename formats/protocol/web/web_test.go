package web_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"platter/chain"
	"platter/formats"
	"platter/formats/protocol/web"
	"platter/formats/raw"
)

func open(name string, flags formats.OpenFlags) (*chain.Node, error) {
	env := &chain.Env{Registry: formats.NewRegistry(append(web.Drivers(), raw.Driver())...), Env: &formats.Env{
		Secret: func(string) ([]byte, error) { return []byte("word"), nil },
		Object: func(string) (any, bool) { return nil, false },
		Warn:   func(string, ...any) {}, Report: func(string, ...any) {},
	}}
	return chain.Open(context.Background(), env, chain.Request{Filename: name, Flags: flags})
}

func content(n int) []byte {
	p, rng := make([]byte, n), rand.New(rand.NewPCG(9, 9))
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// server serves body with ranges; spoil may change a reply before it is sent.
func server(t *testing.T, body []byte, spoil http.HandlerFunc) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if spoil != nil && r.Method == http.MethodGet {
			spoil(w, r)
			return
		}
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}))
	t.Cleanup(s.Close)
	return s.URL + "/disk.raw"
}

func TestReadsRanges(t *testing.T) {
	body := content(1_000_448)
	n, err := open(server(t, body, nil), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if n.Size() != int64(len(body)) {
		t.Errorf("size %d", n.Size())
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		k := 1 + rng.IntN(400_000)
		off := rng.IntN(len(body) - k)
		p := make([]byte, k)
		if err := n.ReadAt(context.Background(), p, int64(off)); err != nil || !bytes.Equal(p, body[off:off+k]) {
			t.Fatalf("read of %d at %d differs (%v)", k, off, err)
		}
	}
}

func TestCredentialsAreSent(t *testing.T) {
	body := content(4096)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, word, _ := r.BasicAuth()
		if user != "me" || word != "word" || r.Header.Get("Cookie") != "a=b; c=d" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}))
	defer s.Close()
	n, err := open(`json:{"driver":"raw","file":{"driver":"http","url":"`+s.URL+`/x","username":"me","password-secret":"s","cookie":"a=b; c=d"}}`, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if name := n.Filename(); !strings.HasPrefix(name, "json:") || strings.Contains(name, `"word"`) {
		t.Errorf("name %s: the options are needed to open it again, the secret itself must not be shown", name)
	}
	if _, err := open(s.URL+"/x", 0); err == nil || err.Error() != "CURL: Error opening file: The requested URL returned error: 403" {
		t.Errorf("without credentials: %v", err)
	}
}

func TestSpoiledRepliesGiveErrorsNotData(t *testing.T) {
	body := content(600_064)
	partial := func(w http.ResponseWriter, r *http.Request, tag string, cut int) {
		w.Header().Set("ETag", tag)
		rec := httptest.NewRecorder()
		http.ServeContent(rec, r, "", time.Time{}, bytes.NewReader(body))
		for k, v := range rec.Header() {
			if k != "Etag" {
				w.Header()[k] = v
			}
		}
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes()[:max(rec.Body.Len()-cut, 0)])
	}
	for name, c := range map[string]struct {
		spoil http.HandlerFunc
		want  string
	}{
		"ignores ranges": {func(w http.ResponseWriter, r *http.Request) { w.Write(body) }, "status 200"},
		"other version":  {func(w http.ResponseWriter, r *http.Request) { partial(w, r, `"two"`, 0) }, "has changed"},
		"cut line":       {func(w http.ResponseWriter, r *http.Request) { partial(w, r, `"one"`, 1000) }, "ended after"},
		"gone":           {func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, "status 404"},
		"other range": {func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=512-1023")
			partial(w, r, `"one"`, 0)
		}, "sent the range"},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := open(`json:{"driver":"raw","file.driver":"http","file.url":"`+server(t, body, c.spoil)+`"}`, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			err = n.ReadAt(context.Background(), make([]byte, 4096), 0)
			if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("read: %v, want EIO and %q", err, c.want)
			}
		})
	}
}

func TestABrokenLineIsTriedOnceMore(t *testing.T) {
	body := content(100_352)
	var calls atomic.Int32
	url := server(t, body, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
			return
		}
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	})
	n, err := open(`json:{"driver":"raw","file.driver":"http","file.url":"`+url+`"}`, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	got := make([]byte, len(body))
	if err := n.ReadAt(context.Background(), got, 0); err != nil || !bytes.Equal(got, body) {
		t.Errorf("after a broken line: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hi")) }))
	defer plain.Close()
	u := plain.URL + "/x"
	for name, want := range map[string]string{
		u:                        "CURL: Error opening file: Server does not support 'range' (byte ranges).",
		"http://127.0.0.1:1/x":   "CURL: Error opening file: Failed to connect to 127.0.0.1 port 1 after 0 ms: Couldn't connect to server",
		"http:foo":               "http curl driver cannot handle the URL 'http:foo' (does not start with 'http://')",
		`json:{"driver":"http"}`: "curl block driver requires an 'url' option",
		`json:{"driver":"https","url":"` + u + `"}`:                 "https curl driver cannot handle the URL '" + u + "' (does not start with 'https://')",
		`json:{"driver":"http","url":"` + u + `","readahead":1000}`: "HTTP_READAHEAD_SIZE 1000 is not a multiple of 512",
	} {
		if n, err := open(name, 0); err == nil {
			n.Close()
			t.Errorf("%s: opened", name)
		} else if err.Error() != want {
			t.Errorf("%s: %q, want %q", name, err, want)
		}
	}
	if _, err := open(u, formats.ReadWrite); err == nil || err.Error() != "curl driver does not support writes" {
		t.Errorf("for writing: %v", err)
	}
}
