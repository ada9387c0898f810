package crypt

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"platter/integration/programs"
)

// Stock writes the first cluster of a qcow2 image with its old encryption; it lies at the end of the file.
func TestStockQCow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.qcow2")
	const secret = "secret,id=s,data=sixteen letters and more"
	for _, args := range [][]string{
		{"qemu-img", "create", "-q", "--object", secret, "-f", "qcow2", "-o", "encrypt.format=aes,encrypt.key-secret=s", file, "1M"},
		{"qemu-io", "--object", secret, "--image-opts", "encrypt.key-secret=s,file.filename=" + file, "-c", "write -P 0xa5 128k 64k"},
	} {
		if out, err := exec.Command(programs.StockPath(t, args[0]), args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cluster := p[len(p)-64<<10:]
	b, err := NewQCow([]byte("sixteen letters and more"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Decrypt(128<<10, cluster); err != nil || !bytes.Equal(cluster, bytes.Repeat([]byte{0xa5}, 64<<10)) {
		t.Errorf("something else is read (%v): % x", err, cluster[:32])
	}
}
