package mount

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file that is there already takes the writes only if it is an overlay on the image, whatever the two are called.
func TestOverlayFileMustBelongToTheImage(t *testing.T) {
	dir := t.TempDir()
	qemu := stock(t, "qemu-img")
	sh(t, `cd "$D"; "$Q" create -q -f qcow2 base 4M; "$Q" create -q -f qcow2 -b base -F qcow2 image; "$Q" create -q -f qcow2 other 4M
		ln -s image link; ln image hard; truncate -s 1M junk; truncate -s 4M plain; mkdir m
		"$Q" create -q -f qcow2 -o data_file="$D/image" -b image -F qcow2 data; "$Q" create -q -f qcow2 image 4M -b base -F qcow2`, "D="+dir, "Q="+qemu)
	at := func(name string) string { return filepath.Join(dir, name) }
	before := sh(t, `cd "$D"; sha256sum image base other junk plain`, "D="+dir)
	refused := func(options, image, why string) {
		t.Helper()
		_, stderr, code := try(t, platter, "mount", "-o", options, at(image), at("m"))
		if code != 1 || !strings.Contains(stderr, at(image)) || !strings.Contains(stderr, why) {
			t.Errorf("%s on %s: exit status %d, %q", options, image, code, stderr)
			give(at("m"))
		}
	}
	for name, why := range map[string]string{
		"image": "it is that image, or a part of it", "link": "it is that image", "hard": "it is that image", "base": "a part of it",
		"other": "it has no backing file", "junk": "Image is not in qcow2 format", "data": "data file is a part of that image",
	} {
		refused("overlay="+at(name), "image", why)
	}
	refused("format=raw,overlay="+at("plain"), "plain", "it is that image")
	for _, image := range []string{"image", "link", "m/../hard"} {
		mnt := mountAt(t, "-o", "overlay="+at("kept"), at(image))
		unmount(t, mnt)
	}
	refused("overlay="+at("kept"), "other", "it is based on '"+at("image")+"'")
	refused("format=raw,overlay="+at("kept"), "image", "as format qcow2, not raw")
	for _, o := range []string{"overlay", "overlay=" + at("new")} {
		refused(o+",snapshot=s", "image", "-o overlay and -o snapshot=s exclude each other")
	}
	if _, err := os.Stat(at("new")); err == nil {
		t.Error("a refused overlay was made")
	}
	if after := sh(t, `cd "$D"; sha256sum image base other junk plain`, "D="+dir); after != before {
		t.Errorf("images changed:\n%s%s", before, after)
	}
}

// What is written to an overlay stays out of the image until "commit" says that it is to be kept; the overlay goes on.
func TestCommitOfAnOverlayKeepsWhatWasTried(t *testing.T) {
	image := qcow2Image(t, "4M")
	mnt := mountAt(t, "-o", "overlay", image)
	put := func(text string) {
		sh(t, `printf %s "$T" | dd of="$M/disk.raw" bs=64k seek=3 conv=notrunc,fsync status=none`, "T="+text, "M="+mnt)
	}
	raw := filepath.Join(t.TempDir(), "raw")
	kept := func() string {
		return sh(t, `"$Q" convert -U -O raw "$I" "$R"; dd if="$R" bs=64k skip=3 count=1 status=none | head -c5 | tr '\0' .`,
			"Q="+stock(t, "qemu-img"), "I="+image, "R="+raw)
	}
	put("tried")
	if got := kept(); got != "....." {
		t.Errorf("the image has %q before the commit", got)
	}
	if err := tell(mnt, "commit"); err != nil {
		t.Fatal(err, errorLog(t, mnt))
	}
	put("again")
	if got := kept(); got != "tried" {
		t.Errorf("the image has %q after the commit", got)
	}
	unmount(t, mnt)
	if got := kept(); got != "tried" {
		t.Errorf("the image has %q after the mount", got)
	}
	run(t, stock(t, "qemu-img"), "check", image)
}
