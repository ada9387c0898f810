package codec_test

import (
	"bytes"
	"fmt"

	"platter/formats/codec"
)

// A qcow2 cluster is stored compressed if that makes it at least a byte smaller; otherwise as it is.
func ExampleDeflater_Raw() {
	cluster := bytes.Repeat([]byte("guest data "), 65536/11+1)[:65536]
	packer := codec.NewDeflater(codec.Window4K)
	buf := make([]byte, len(cluster)-1)
	n, ok := packer.Raw(buf, cluster)
	fmt.Println(ok, n < 500)

	var unpacker codec.Inflater
	back := make([]byte, len(cluster))
	sectors := make([]byte, (n+511)&^511) // what is read of a stream reaches to the end of its last sector
	copy(sectors, buf[:n])
	err := unpacker.Fill(back, sectors)
	fmt.Println(err, bytes.Equal(back, cluster))
	// Output:
	// true true
	// <nil> true
}
