package crypt

// NewQCow is the encryption of qcow and of qcow2's `encrypt.format=aes`: AES-128-CBC with the sector's 64-bit number
// as the IV and the password, cut or padded with zeros to 16 bytes, as the key. It protects little and is there so
// that such images can be read and written. The offset of Encrypt and Decrypt is the guest's.
func NewQCow(password []byte) (*Block, error) {
	var key [16]byte
	copy(key[:], password)
	defer clear(key[:])
	return New(Spec{Cipher: AES128, Mode: CBC, IVGen: Plain64}, key[:])
}
