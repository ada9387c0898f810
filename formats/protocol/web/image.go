package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"platter/formats"
	"platter/formats/internal/chunkcache"
	"platter/formats/qerr"
)

// cacheBytes bounds the pieces that are kept.
const cacheBytes = 16 << 20

// maxTold bounds the errors that are reported, as QEMU does: the rest is likely the same.
const maxTold = 100

// stall is how long a body may make no progress.
const stall = 30 * time.Second

// image is a file on a web server.
type image struct {
	driver, url    string
	client         *http.Client
	cookie         string
	user, password string
	verify         bool // the server's certificate
	proxied        bool // with a name or a password for the proxy
	size           int64
	version        string // entity tag or time of change, "" if the server gives none
	piece          int64
	cache          *chunkcache.Cache
	report         func(format string, a ...any)
	told           atomic.Int32 // errors reported
}

func (d *image) request(ctx context.Context, method string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, d.url, nil)
	if err != nil {
		return nil, err
	}
	if d.cookie != "" {
		r.Header.Set("Cookie", d.cookie)
	}
	if d.user != "" {
		r.SetBasicAuth(d.user, d.password)
	}
	return r, nil
}

// inspect asks for length and version, and whether ranges can be had.
func (d *image) inspect(ctx context.Context) error {
	r, err := d.request(ctx, http.MethodHead)
	if err != nil {
		return openError("%s", err)
	}
	resp, err := d.client.Do(r)
	if err != nil {
		return openError("%s", dialText(err, r.URL))
	}
	resp.Body.Close()
	if resp.StatusCode >= 400 {
		return openError("The requested URL returned error: %d", resp.StatusCode)
	}
	if !strings.Contains(strings.ToLower(resp.Header.Get("Accept-Ranges")), "bytes") {
		return openError("Server does not support 'range' (byte ranges).")
	}
	if resp.ContentLength < 0 {
		return openError("Server didn't report file size.")
	}
	d.size, d.version = resp.ContentLength, versionOf(resp)
	d.cache = chunkcache.New(max(cacheBytes, 4*d.piece))
	return nil
}

func versionOf(r *http.Response) string {
	if tag := r.Header.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return r.Header.Get("Last-Modified")
}

// Size is rounded up to sectors: without block status there is no telling where in the last one the file ends.
func (d *image) Size() int64 { return (d.size + 511) &^ 511 }

// Limits: anything can be read.
func (d *image) Limits() formats.Limits { return formats.Limits{} }

func (d *image) ReadAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		if off >= d.size {
			clear(p)
			return nil
		}
		k := off / d.piece
		data, err := d.cache.Get(k, func() ([]byte, error) { return d.fetchTwice(ctx, k) })
		if err != nil {
			return err
		}
		n := copy(p, data[off-k*d.piece:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// fetchTwice tries a piece once more if the line broke.
func (d *image) fetchTwice(ctx context.Context, k int64) ([]byte, error) {
	data, err := d.fetch(ctx, k*d.piece, min(d.piece, d.size-k*d.piece))
	if err != nil && ctx.Err() == nil && qerr.Of(err) == syscall.ECONNRESET {
		data, err = d.fetch(ctx, k*d.piece, min(d.piece, d.size-k*d.piece))
	}
	if err != nil {
		// Whoever reads shows no more than EIO.
		if ctx.Err() == nil && d.told.Add(1) <= maxTold {
			d.report("curl: %s", err)
		}
		return nil, qerr.New(syscall.EIO, "%s: %s", d.url, err)
	}
	return data, nil
}

// fetch reads [off, off+n) and believes the server only if it says that it sends exactly that, of the same file.
func (d *image) fetch(ctx context.Context, off, n int64) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := time.AfterFunc(stall, cancel)
	defer watch.Stop()
	r, err := d.request(ctx, http.MethodGet)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	resp, err := d.client.Do(r)
	if err != nil {
		return nil, qerr.New(syscall.ECONNRESET, "%s", err)
	}
	defer resp.Body.Close()
	if err := d.believe(resp, off, n); err != nil {
		return nil, err
	}
	data := make([]byte, n)
	for done := int64(0); done < n; {
		k, err := resp.Body.Read(data[done:])
		done += int64(k)
		watch.Reset(stall)
		if err != nil && done < n {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, qerr.New(syscall.ECONNRESET, "the reply ended after %d of %d bytes: %s", done, n, err)
		}
	}
	return data, nil
}

func (d *image) believe(resp *http.Response, off, n int64) error {
	if resp.StatusCode != http.StatusPartialContent {
		return qerr.New(syscall.EIO, "the server answered a request for a range with status %d", resp.StatusCode)
	}
	want := fmt.Sprintf("bytes %d-%d/", off, off+n-1)
	got := resp.Header.Get("Content-Range")
	if !strings.HasPrefix(got, want) {
		return qerr.New(syscall.EIO, "the server sent the range '%s', asked for was '%s'", got, want)
	}
	if total := strings.TrimPrefix(got, want); total != "*" && total != strconv.FormatInt(d.size, 10) {
		return qerr.New(syscall.EIO, "the file has changed on the server: it has %s bytes, had %d", total, d.size)
	}
	if v := versionOf(resp); v != d.version {
		return qerr.New(syscall.EIO, "the file has changed on the server")
	}
	return nil
}

// Status calls everything data: HTTP knows no holes.
func (d *image) Status(_ context.Context, off, n int64) (formats.Extent, error) {
	return formats.Extent{Len: n, State: formats.Data, Offset: off}, nil
}

func (d *image) Flush(context.Context) error { return nil }

func (d *image) Close() error {
	d.client.CloseIdleConnections()
	return nil
}

// FileName is the URL, unless other options are needed to open it again; then the graph makes a name of them.
func (d *image) FileName() string {
	if !d.verify || d.cookie != "" || d.user != "" || d.password != "" || d.proxied {
		return ""
	}
	return d.url
}
