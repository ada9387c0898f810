// Package secret loads the secrets that `--object secret,…` and `--object secret_keyring,…` define: from the command
// line, a file or the kernel's keyring, plain or in base64, and encrypted with another secret or not. Results and
// messages are QEMU's; the command line has checked the names and types of the properties.
package secret
