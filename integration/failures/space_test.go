package failures

import (
	"os"
	"syscall"
	"testing"

	"platter/integration/twin"
)

// small mounts a file system of so many bytes on the folder "small" of a side.
func small(s *twin.Side, size string) {
	s.Helper()
	dir := s.Path("small")
	if err := os.Mkdir(dir, 0o755); err != nil {
		s.Fatal(err)
	}
	if os.Geteuid() != 0 {
		s.Skip("mounting a small file system needs root")
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		s.Skip(err)
	}
	s.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			s.Errorf("unmount: %v", err)
		}
	})
}

// The disk fills up: stock's words, exit 1, and what was read is what it was.
func TestNoSpace(t *testing.T) {
	for _, line := range []string{
		"convert -O raw noise.raw small/out.raw", "convert -O qcow2 noise.raw small/out.qcow2", "convert -p -O raw noise.raw small/out.raw",
		"convert -m 1 -W -O qcow2 noise.raw small/out.qcow2", "convert -O vmdk noise.raw small/out.vmdk", "convert -c -O qcow2 noise.raw small/out.qcow2",
		"convert -n -O qcow2 noise.raw small/target.qcow2", "convert -o preallocation=falloc -O raw noise.raw small/out.raw",
		"convert -o preallocation=full -O qcow2 noise.raw small/out.qcow2", "dd if=noise.raw of=small/out.raw", "dd -O qcow2 if=noise.raw of=small/out.qcow2 bs=64k",
		"create -f raw -o preallocation=falloc small/new.raw 8M", "create -f raw -o preallocation=full small/new.raw 8M", "create -f qcow2 -o preallocation=falloc small/new.qcow2 8M",
		"create -f qcow2 -o preallocation=full small/new.qcow2 8M", "create -f vdi -o preallocation=full small/new.vdi 8M",
		"resize -f raw --preallocation=falloc small/base.raw 8M", "resize -f raw --preallocation=full small/base.raw 8M", "resize --preallocation=falloc small/target.qcow2 16M",
		"resize --preallocation=full small/target.qcow2 16M", "commit over.qcow2", "commit -p over.qcow2", "commit overraw.qcow2",
		"rebase -b '' small/thin.qcow2", "rebase -b plain.raw -F raw small/thin.qcow2", "bench -w -c 64 -s 64k -S 64k -d 1 small/target.qcow2",
	} {
		t.Run(line, func(t *testing.T) {
			twin.Compare(t, func(s *twin.Side) {
				small(s, "1M")
				s.Stock("qemu-img create -q -f raw noise.raw 4M")
				s.Stock("qemu-io -f raw -c 'write -P 7 0 4M' noise.raw")
				s.Stock("qemu-img create -q -f raw plain.raw 4M")
				s.Stock("qemu-img create -q -f qcow2 small/target.qcow2 8M")
				s.Stock("qemu-img create -q -f raw small/base.raw 4M")
				s.Stock("qemu-img create -q -f qcow2 -b small/target.qcow2 -F qcow2 over.qcow2")
				s.Stock("qemu-io -f qcow2 -c 'write -P 5 0 4M' over.qcow2")
				s.Stock("qemu-img create -q -f qcow2 -b small/base.raw -F raw overraw.qcow2")
				s.Stock("qemu-io -f qcow2 -c 'write -P 5 0 4M' overraw.qcow2")
				s.Stock("qemu-img create -q -f qcow2 -b " + s.Path("noise.raw") + " -F raw small/thin.qcow2")
				s.Img(line)
				// What is left must be sound, and the chains must read as before.
				s.NoteSums("noise.raw", "plain.raw")
				for _, image := range []string{"small/target.qcow2", "small/thin.qcow2", "over.qcow2", "overraw.qcow2"} {
					out, _, code := s.Try("qemu-img check " + image)
					if code != 0 && code != 3 {
						s.Errorf("check %s: %s", image, out)
					}
				}
				for _, image := range []string{"over.qcow2", "overraw.qcow2", "small/thin.qcow2"} {
					s.Stock("qemu-img convert -O raw " + image + " content.raw")
					s.NoteSums("content.raw")
				}
				// Stock writes an L2 table when it allocates it; ours comes later, finds the disk full, and says so.
				s.Normalise(`(?m)^qemu-img: Failed to flush the (L2 table|refcount block) cache: No space left on device\n`, "")
				s.Normalise(`byte \d+`, "byte N")
				s.Normalise(`Run completed in [0-9.]+ seconds`, "Run completed in N seconds")
				s.Normalise(`(?m)^ *\(\d.*%\)\r *`, "PROGRESS")
			})
		})
	}
}
