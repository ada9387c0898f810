package mount

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The tests of this package once more, as a user without rights. Those that need root, or loop devices, skip themselves.
func TestAsAUserWithoutRights(t *testing.T) {
	if os.Getenv(binaryVariable) != "" {
		t.Skip("this is that user")
	}
	as := nobody(t)
	qemu := stock(t, "qemu-img")
	dir, err := os.MkdirTemp("/tmp", "u") // short, since sockets lie below it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	os.Chown(dir, 65534, 65534)
	self := filepath.Join(filepath.Dir(platter), "mount.test")
	run(t, "cp", os.Args[0], self)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, need := range []string{self, platter, qemu, here} {
		if _, _, code := try(t, as[0], append(append([]string(nil), as[1:]...), "test", "-x", need)...); code != 0 {
			t.Skipf("%s is out of reach for others", need)
		}
	}
	args := append(as, self, "-test.v", "-test.timeout=10m")
	if os.Getenv("PLATTER_LONG") == "" {
		args = append(args, "-test.short", "-test.run=Batch|Rebase|Control|Bad|Descr|Attr|Locks|Acknowledged|Figures|EndsUnder|Fallocate|Posix|Several|Directory|"+
			"Idle|Overlay|References|Names|Snapshot|Incremental|Refusals|Stale|GenericOptions|WaysToEnd|Parallel|Truncate|Holes|ReadOnlyMount|KillDuring")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), binaryVariable+"="+platter, "TMPDIR="+dir, "HOME="+dir, "PLATTER_ORACLE="+filepath.Dir(filepath.Dir(qemu)))
	out, err := cmd.CombinedOutput()
	passed, skipped := strings.Count(string(out), "\n--- PASS"), strings.Count(string(out), "\n--- SKIP")
	t.Logf("%d tests passed, %d were skipped", passed, skipped)
	if err != nil || passed < 20 {
		t.Errorf("%v\n%s", err, out)
	}
}
