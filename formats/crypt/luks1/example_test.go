package luks1_test

import (
	"context"
	"fmt"

	"platter/formats/crypt"
	"platter/formats/crypt/luks1"
)

// A driver reads the payload's sectors from its child and has them decrypted in place.
func ExampleOpen() {
	ctx := context.Background()
	file := make([]byte, 4<<20)
	read := func(off int64, p []byte) error { copy(p, file[off:]); return nil }
	write := func(off int64, p []byte) error { copy(file[off:], p); return nil }
	password := crypt.Fixed([]byte("a passphrase"))
	short := uint64(1)

	made, err := luks1.Create(ctx, func(int64) error { return nil }, write, luks1.CreateOptions{Passphrase: password, IterTime: &short})
	if err != nil {
		fmt.Println(err)
		return
	}
	sector := file[made.PayloadOffset()+512:][:512]
	copy(sector, "the second sector")
	made.Block().Encrypt(512, sector)

	v, err := luks1.Open(ctx, read, luks1.OpenOptions{Passphrase: password})
	if err != nil {
		fmt.Println(err)
		return
	}
	v.Block().Decrypt(512, sector)
	fmt.Printf("%s, %s\n", v.Info().Cipher, sector[:17])
	// Output: aes-256, the second sector
}
