package qcow2_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"platter/formats"
)

// imageOpts are the --image-opts that open the image in a directory; names of the store mean nothing to stock.
func (w *world) imageOpts(dir string) string {
	o := "driver=qcow2,file.filename=" + filepath.Join(dir, "disk")
	if w.has("data_file") {
		o += ",data-file.driver=file,data-file.filename=" + filepath.Join(dir, "data")
	}
	if w.has("backing_file") {
		o += ",backing.driver=raw,backing.file.filename=" + filepath.Join(dir, "base")
	}
	for k, v := range keyOptions(w.opts) {
		o += "," + k + "=" + v
	}
	return o
}

// verifyWithStock has stock check the image, compare the disk and a snapshot, and copy the bitmaps.
func (w *world) verifyWithStock() {
	t := w.t
	t.Helper()
	dir := fastDir(t)
	for _, name := range append(w.store.Names(), "model") {
		data := w.disk
		if name != "model" {
			data = w.store.Bytes(name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	defer os.RemoveAll(dir)
	opts, model := w.imageOpts(dir), filepath.Join(dir, "model")
	key := []string{"--object", "secret,id=s,data=secret"}
	run := func(verb string, args ...string) {
		t.Helper()
		args = append(append([]string{verb}, key...), args...)
		if out, err := tryStock(t, "qemu-img", args...); err != nil {
			t.Fatalf("after %s: stock %s: %v\n%s", w.what, strings.Join(args, " "), err, out)
		}
	}
	run("check", "--image-opts", opts)
	run("compare", "-q", "--image-opts", opts, "driver=raw,file.filename="+model)
	for k, name := range w.names {
		if k > 0 && os.Getenv("PLATTER_LONG") == "" {
			break
		}
		out := filepath.Join(dir, "snapshot")
		run("convert", "-O", "raw", "-l", "snapshot.name="+name, "--image-opts", opts, out)
		got, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		// Stock copies as much as the disk is large. Past the end of the snapshot that is whatever the tables hold there.
		if len(got) != len(w.disk) {
			t.Fatalf("snapshot %s as stock reads it: %d bytes", name, len(got))
		}
		n := min(len(got), len(w.snaps[name]))
		same(t, "snapshot "+name+" as stock reads it", got[:n], w.snaps[name][:n])
	}
	if len(w.maps) > 0 {
		out := filepath.Join(dir, "copy")
		run("convert", "--bitmaps", "-O", "qcow2", "--image-opts", opts, out)
		n := openFile(t, out, formats.OpenFlags(0))
		defer n.Close()
		w.compareBitmaps(context.Background(), n)
		same(t, "what stock has copied", content(t, n), w.disk)
	}
}
