// Package object reads --object definitions: secrets, TLS credentials, throttle groups and the other types that
// qemu-img takes, with its checks and messages. Secrets are decoded and decrypted here; the other types are handed on as
// their properties.
package object
