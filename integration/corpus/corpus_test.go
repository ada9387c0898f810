package corpus

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"platter/integration/programs"
)

// pending are the formats, and single images, that platter does not read yet. Who lands a driver removes its line.
var pending = map[string]bool{}

func TestCorpus(t *testing.T) {
	dir := folder(t)
	qemuImg := programs.NeedPlatter(t, "qemu-img")
	for _, img := range load(t, dir) {
		t.Run(img.Format+"/"+img.ID, func(t *testing.T) {
			if (pending[img.Format] || pending[img.ID]) && os.Getenv("PLATTER_TEST_PENDING") == "" {
				t.Skipf("pending: platter does not read this %s image yet", img.Format)
			}
			if img.Expect == "beyond" && os.Getenv("PLATTER_TEST_BIN") != "" {
				t.Skip("stock qemu-img does not read this image")
			}
			scratch := t.TempDir()
			if err := place(dir, scratch, img); err != nil {
				t.Fatal(err)
			}
			c := reader{t: t, p: qemuImg, img: img, dir: filepath.Join(scratch, filepath.Dir(img.Image))}
			c.check()
		})
	}
}

// reader runs the command lines of one image.
type reader struct {
	t   *testing.T
	p   programs.Program
	img image
	dir string
}

func (c reader) check() {
	c.t.Helper()
	if len(c.img.Prep) > 0 {
		if out, err := c.run(append(c.img.Prep, filepath.Base(c.img.Image))...); err != nil {
			c.t.Errorf("%s: %v\n%s", strings.Join(c.img.Prep, " "), err, out)
		}
	}
	c.info()
	if c.img.Expect == "info-only" {
		return
	}
	out, err := c.run(append([]string{"convert", "-O", "raw"}, append(c.source(), "out.raw")...)...)
	switch {
	case c.img.Expect == "fail" && err == nil:
		c.t.Error("convert succeeded, must be refused")
	case c.img.Expect == "fail":
		if c.img.QemuMessage != "" && !strings.Contains(out, c.img.QemuMessage+"\n") {
			c.t.Errorf("message:\n%swant:\n%s", out, c.img.QemuMessage)
		}
	case err != nil:
		c.t.Errorf("convert: %v\n%s", err, out)
	default:
		c.content()
	}
}

// content compares what convert wrote with the known sum.
func (c reader) content() {
	sum, size, err := sparseSum(filepath.Join(c.dir, "out.raw"))
	if err != nil {
		c.t.Fatal(err)
	}
	if size != c.img.RawSize {
		c.t.Errorf("the guest disk has %d bytes, want %d", size, c.img.RawSize)
	}
	if c.img.SparseSHA256 == "" {
		c.t.Fatal("the manifest has no sum for this image")
	}
	if sum != c.img.SparseSHA256 {
		c.t.Errorf("sparse sha256 %s, want %s", sum, c.img.SparseSHA256)
	}
}

// info compares the fields that the manifest lists with those of info --output=json.
func (c reader) info() {
	if c.img.Expect == "fail" || len(c.img.Info) == 0 {
		return
	}
	args := []string{"info", "--output=json", filepath.Base(c.img.Image)}
	if c.img.OpenFmt != "" {
		args = append(args, "-f", c.img.OpenFmt)
	}
	out, err := c.run(args...)
	if err != nil {
		c.t.Errorf("info: %v\n%s", err, out)
		return
	}
	var have map[string]any
	if err := json.Unmarshal([]byte(out), &have); err != nil {
		c.t.Errorf("info: %v in\n%s", err, out)
		return
	}
	for key, want := range c.img.Info {
		if !reflect.DeepEqual(have[key], want) {
			c.t.Errorf("info: %s is %v, want %v", key, have[key], want)
		}
	}
}

// source is how convert names the image.
func (c reader) source() []string {
	name := filepath.Base(c.img.Image)
	switch {
	case c.img.Passphrase != "":
		return []string{"--object", "secret,id=key,data=" + c.img.Passphrase, "--image-opts",
			"driver=" + c.img.Format + ",key-secret=key,file.filename=" + name}
	case c.img.OpenFmt != "":
		return []string{"-f", c.img.OpenFmt, name}
	}
	return []string{name}
}

func (c reader) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := c.p.Command(ctx, c.dir, args...).CombinedOutput()
	return string(out), err
}
