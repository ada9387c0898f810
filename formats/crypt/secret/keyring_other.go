//go:build !linux

package secret

import (
	"syscall"

	"platter/formats/qerr"
	"platter/formats/qobj"
)

// keyring is a facility of Linux.
func keyring(*qobj.Dict) ([]byte, error) {
	return nil, qerr.New(syscall.ENOTSUP, "Kernel keyrings are not supported on this system")
}
