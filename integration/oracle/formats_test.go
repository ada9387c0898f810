package oracle

import (
	"bytes"
	"encoding/binary"
	"os"
	"regexp"
	"strings"
)

// format is a row of the matrix: what the generic tables need to know of a format.
type format struct {
	name string
	// options are the keys of create -o with values to try, good and bad; the first value is good and not the default.
	options []createOption
	// fixture has the create options of the images in fixtures, without -o.
	fixture string
	// secret is the --object that opening needs, "" if none.
	secret string
	// backing, snapshots, bitmaps, compress, check and amend say which generic cases make sense. The rest of the verbs'
	// cases is run for all formats: that a format refuses is a result, too.
	backing, snapshots, bitmaps, compress, check bool
	amend                                        []string // -o values for amend
	// base is the format of backing files, "" for raw.
	base string
	// mask blanks what is random in the format's files, in the block p that was read at off.
	mask func(f *os.File, p []byte, off int64)
	// canon does the same where lengths change, with the first 128 KiB of a file.
	canon func(head []byte) []byte
	// opaque: everything is random, only the size of a file is compared.
	opaque bool
}

// createOption is a key of create -o.
type createOption struct {
	key    string
	values string // separated by blanks
}

var formats = []format{
	{name: "raw", options: []createOption{
		{"size", "1M 0 1000 1G x"},
		{"preallocation", "falloc off full metadata bad"},
		{"extent_size_hint", "1M 0 64k 1 x"},
		{"nocow", "on off maybe"},
	}},
	{name: "qcow2", backing: true, snapshots: true, bitmaps: true, compress: true, check: true, options: []createOption{
		{"size", "1M 0 1000 1G x"},
		{"cluster_size", "4k 512 1k 32k 64k 2M 256 4M 3000 0 x"},
		{"compat", "0.10 1.1 v2 v3 2 v4"},
		{"compression_type", "zstd zlib gzip"},
		{"data_file", "data.raw"},
		{"data_file_raw", "on off maybe"},
		{"encrypt.format", "luks aes none"},
		{"encrypt.key-secret", "sec0 nosuch"},
		{"encrypt.cipher-alg", "aes-128 rot13"},
		{"encrypt.iter-time", "10 0 x"},
		{"encryption", "off on maybe"},
		{"extended_l2", "on off 1"},
		{"lazy_refcounts", "on off maybe"},
		{"preallocation", "metadata off falloc full bad"},
		{"refcount_bits", "1 2 4 8 16 32 64 3 128 0 x"},
		{"backing_file", "missing.raw"},
		{"backing_fmt", "raw nosuch"},
		{"nocow", "on off maybe"},
		{"extent_size_hint", "1M 1 x"},
	}, amend: []string{"compat=0.10", "compat=v3", "compat=v9", "lazy_refcounts=on", "lazy_refcounts=off", "size=8M",
		"size=1M", "refcount_bits=64", "refcount_bits=1", "refcount_bits=3", "cluster_size=4k", "preallocation=full",
		"backing_file=plain.raw", "backing_file=plain.raw,backing_fmt=raw", "data_file=x.raw", "data_file_raw=on",
		"encrypt.format=luks", "extended_l2=on", "compression_type=zstd", "compat=0.10,refcount_bits=16"}},
	{name: "vmdk", backing: true, base: "vmdk", compress: true, check: true, canon: canonVMDK, options: []createOption{
		{"size", "1M 0 1000 1G x"},
		{"adapter_type", "lsilogic ide buslogic legacyESX scsi"},
		{"backing_file", "missing.vmdk"},
		{"backing_fmt", "vmdk raw"},
		{"compat6", "on off maybe"},
		{"hwversion", "7 4 x"},
		{"subformat", "streamOptimized monolithicSparse monolithicFlat twoGbMaxExtentSparse twoGbMaxExtentFlat vmfs"},
		{"toolsversion", "10 x"},
		{"zeroed_grain", "on off maybe"},
	}},
	{name: "vdi", check: true, mask: maskVDI, options: []createOption{
		{"size", "1M 0 1000 1G x"},
		{"static", "on off maybe"},
		{"preallocation", "metadata off full bad"},
		{"block_size", "1M"},
	}},
	{name: "vpc", mask: maskVPC, options: []createOption{
		{"size", "1M 0 1000 1G x"},
		{"force_size", "on off maybe"},
		{"subformat", "fixed dynamic differencing"},
	}},
	{name: "vhdx", check: true, mask: maskVHDX, options: []createOption{
		{"size", "1M 0 1000 1G x"},
		{"block_size", "2M 1M 32M 256M 512M 3M 0 x"},
		{"block_state_zero", "off on maybe"},
		{"log_size", "2M 1M 3M 1 x"},
		{"subformat", "fixed dynamic differencing"},
	}},
	{name: "parallels", check: true, options: []createOption{
		{"size", "1M 0 1000 1G x"},
		{"cluster_size", "64k 1M 512 1000 0 x"},
	}},
	{name: "qed", backing: true, check: true, options: []createOption{
		{"size", "1M 0 1000 1G x"},
		{"cluster_size", "4k 64k 1M 128M 512 x"},
		{"table_size", "1 2 4 16 32 3 x"},
		{"backing_file", "missing.raw"},
		{"backing_fmt", "raw nosuch"},
	}},
	{name: "qcow", backing: true, compress: true, options: []createOption{
		{"size", "1M 0 1000 1G x"},
		{"encryption", "off on maybe"},
		{"encrypt.format", "aes luks"},
		{"encrypt.key-secret", "sec0"},
		{"backing_file", "missing.raw"},
		{"backing_fmt", "raw nosuch"},
	}},
	{name: "luks", opaque: true, secret: secret, fixture: "key-secret=sec0,iter-time=10", options: []createOption{
		{"size", "1M 0 1000 1G x"},
		{"key-secret", "sec0 nosuch"},
		{"cipher-alg", "aes-128 aes-256 twofish-256 rot13"},
		{"cipher-mode", "cbc xts ecb bad"},
		{"ivgen-alg", "plain plain64 essiv bad"},
		{"ivgen-hash-alg", "sha256 bad"},
		{"hash-alg", "sha512 sha1 md5 bad"},
		{"iter-time", "10 0 x"},
		{"detached-header", "on off maybe"},
	}, amend: []string{"state=bad", "new-secret=new", "state=active", "state=active,new-secret=new,iter-time=10",
		"state=active,new-secret=new,keyslot=0,iter-time=10", "state=active,new-secret=new,keyslot=8",
		"state=active,new-secret=new,keyslot=-1", "state=active,new-secret=nosuch", "state=active,new-secret=new,old-secret=sec0",
		"state=active,new-secret=new,iter-time=x", "state=inactive", "state=inactive,keyslot=0", "state=inactive,keyslot=1",
		"state=inactive,keyslot=9", "state=inactive,old-secret=sec0", "state=inactive,old-secret=new",
		"state=inactive,keyslot=0,old-secret=new", "state=inactive,keyslot=0,iter-time=10", "state=inactive,keyslot=0,new-secret=new"}},
}

const secret = "secret,id=sec0,data=hunter2"

func formatNamed(name string) format {
	for _, f := range formats {
		if f.name == name {
			return f
		}
	}
	return format{}
}

// expand fills a template: $F the format, $O create options (with the secret), $I and $D how a tool opens disk.$F.
func (f format) expand(line string) string {
	create, how, disk := "", "-f "+f.name, "disk."+f.name
	if f.fixture != "" {
		create = "-o " + f.fixture
	}
	if f.secret != "" {
		create = "--object " + f.secret + " " + create
		how = "--object " + f.secret + " --image-opts"
		disk = "driver=" + f.name + ",key-secret=sec0,file.filename=" + disk
	}
	base := f.base
	if base == "" {
		base = "raw"
	}
	return strings.Join(strings.Fields(strings.NewReplacer("$F", f.name, "$B", base, "$O", create, "$I", how, "$D", disk).Replace(line)), " ")
}

// lines fills every line of a table, one case a line.
func (f format) lines(table string) []string {
	var out []string
	for _, l := range strings.Split(table, "\n") {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, f.expand(l))
		}
	}
	return out
}

// blank overwrites what of [from, to) lies in the block p that begins at off.
func blank(p []byte, off, from, to int64) {
	for i := max(from, off); i < min(to, off+int64(len(p))); i++ {
		p[i-off] = 0
	}
}

var vmdkCID = regexp.MustCompile(`\bCID=[0-9a-f]{1,8}\n`)

// The content ID is drawn anew for each image and written without leading zeroes, so that what follows in the
// descriptor moves.
func canonVMDK(head []byte) []byte {
	end := bytes.LastIndex(head, []byte("\nddb."))
	if end < 0 {
		return head
	}
	if n := bytes.IndexByte(head[end:], 0); n >= 0 {
		end += n
	} else {
		end = len(head)
	}
	text := vmdkCID.ReplaceAll(head[:end], []byte("CID=\n"))
	if end < len(head) {
		text = append(text, make([]byte, end-len(text))...)
	}
	return append(text, head[end:]...)
}

// The image's and the last snapshot's UUID.
func maskVDI(_ *os.File, p []byte, off int64) { blank(p, off, 0x188, 0x1a8) }

// Time stamp, checksum and UUID of the footer, which dynamic disks have in front as well.
func maskVPC(f *os.File, p []byte, off int64) {
	fi, err := f.Stat()
	if err != nil {
		return
	}
	for _, at := range []int64{0, fi.Size() - 512} {
		magic := make([]byte, 8)
		if _, err := f.ReadAt(magic, at); err == nil && string(magic) == "conectix" {
			blank(p, off, at+0x18, at+0x1c)
			blank(p, off, at+0x40, at+0x54)
		}
	}
}

// Checksum, sequence number and GUIDs of both headers, and the disk's identifier ("page 83 data") in the metadata.
func maskVHDX(f *os.File, p []byte, off int64) {
	for _, at := range []int64{64 << 10, 128 << 10} {
		blank(p, off, at+4, at+48)
	}
	table := make([]byte, 64<<10)
	if _, err := f.ReadAt(table, 192<<10); err != nil {
		return
	}
	if at := bytes.Index(table, vhdxMetadata); at >= 0 {
		item := int64(binary.LittleEndian.Uint64(table[at+16:])) + 64<<10 + 16
		blank(p, off, item, item+16)
	}
}

// The GUID of the metadata region in the region table, and its offset behind it.
var vhdxMetadata = []byte("\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e")
