package secret

import (
	"fmt"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"platter/formats/qerr"
	"platter/formats/qobj"
)

// keyring reads the payload of a key of the kernel's keyring.
func keyring(d *qobj.Dict) ([]byte, error) {
	serial, err := serial(d)
	if err != nil {
		return nil, err
	}
	n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, int(serial), nil, 0)
	if err == nil && n > MaxSize {
		err = syscall.EFBIG
	}
	var p []byte
	if err == nil {
		p = make([]byte, n)
		n, err = unix.KeyctlBuffer(unix.KEYCTL_READ, int(serial), p, 0)
	}
	if err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Unable to read serial key %08x", uint32(serial))
	}
	return p[:min(n, len(p))], nil
}

// serial is a number in JSON and text in a list.
func serial(d *qobj.Dict) (int32, error) {
	v, _ := d.Get("serial")
	n, err := strconv.ParseInt(fmt.Sprint(v), 0, 32)
	if err != nil {
		return 0, invalid("Parameter 'serial' expects int32_t")
	}
	if n == 0 {
		return 0, invalid("'serial' should not be equal to 0")
	}
	return int32(n), nil
}
