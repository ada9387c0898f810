package qcow2

import (
	"context"
	"math"
	"syscall"

	"platter/formats"
	"platter/formats/crypt"
	"platter/formats/crypt/luks1"
	"platter/formats/option"
	"platter/formats/qerr"
)

func createSchema() option.Schema {
	return option.Schema{
		{Name: "encryption", Type: option.Bool,
			Help: "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)"},
		{Name: "encrypt.format", Help: "Encrypt the image, format choices: 'aes', 'luks'"},
		{Name: "encrypt.key-secret", Help: "ID of secret providing qcow AES key or LUKS passphrase"},
		{Name: "encrypt.cipher-alg", Help: "Name of encryption cipher algorithm"},
		{Name: "encrypt.cipher-mode", Help: "Name of encryption cipher mode"},
		{Name: "encrypt.ivgen-alg", Help: "Name of IV generator algorithm"},
		{Name: "encrypt.ivgen-hash-alg", Help: "Name of IV generator hash algorithm"},
		{Name: "encrypt.hash-alg", Help: "Name of encryption hash algorithm"},
		{Name: "encrypt.iter-time", Type: option.Number, Help: "Time to spend in PBKDF in milliseconds"},
		{Name: "cluster_size", Type: option.Size, Help: "qcow2 cluster size", Default: "65536"},
		{Name: "extended_l2", Type: option.Bool, Help: "Extended L2 tables", Default: "off"},
		{Name: "preallocation", Help: "Preallocation mode (allowed values: off, metadata, falloc, full)"},
		{Name: "compression_type", Help: "Compression method used for image cluster compression", Default: "zlib"},
		{Name: "size", Type: option.Size, Help: "Virtual disk size"},
		{Name: "compat", Help: "Compatibility level (v2 [0.10] or v3 [1.1])"},
		{Name: "backing_file", Help: "File name of a base image"},
		{Name: "backing_fmt", Help: "Image format of the base image"},
		{Name: "data_file", Help: "File name of an external data file"},
		{Name: "data_file_raw", Type: option.Bool, Help: "The external data file must stay valid as a raw image"},
		{Name: "lazy_refcounts", Type: option.Bool, Help: "Postpone refcount updates", Default: "off"},
		{Name: "refcount_bits", Type: option.Number, Help: "Width of a reference count entry in bits", Default: "16"},
	}
}

// creation is what the options of create say.
type creation struct {
	size        int64
	version     uint32
	clusterSize int64
	refOrder    uint32
	extended    bool
	lazy        bool
	compression uint8
	pre         formats.Prealloc
	backing     string
	backingFmt  string
	dataFile    string
	raw         bool
	crypt       uint32
}

func badValue(name, value string) error {
	return qerr.New(syscall.EINVAL, "Parameter '%s' does not accept value '%s'", name, value)
}

// parseCreation reads the options; values first, then what does not go together, in QEMU's order.
func parseCreation(v *option.Values, size int64) (*creation, error) {
	c := &creation{size: size, version: 3, extended: v.Bool("extended_l2", false), lazy: v.Bool("lazy_refcounts", false),
		backing: v.String("backing_file", ""), backingFmt: v.String("backing_fmt", ""), dataFile: v.String("data_file", ""),
		raw: v.Bool("data_file_raw", false), clusterSize: int64(min(v.Uint("cluster_size", 65536), 1<<40))}
	if err := c.parseWords(v); err != nil {
		return nil, err
	}
	if err := c.parseCrypt(v); err != nil {
		return nil, err
	}
	return c, c.validate(v)
}

func (c *creation) parseWords(v *option.Values) error {
	switch compat := v.String("compat", "1.1"); compat {
	case "0.10", "v2":
		c.version = 2
	case "1.1", "v3":
	default:
		return badValue("version", compat)
	}
	switch name := v.String("compression_type", "zlib"); name {
	case "zlib":
	case "zstd":
		c.compression = compressionZstd
	default:
		return badValue("compression-type", name)
	}
	pre := v.String("preallocation", "off")
	var ok bool
	if c.pre, ok = formats.ParsePrealloc(pre); !ok {
		return badValue("preallocation", pre)
	}
	return nil
}

func (c *creation) parseCrypt(v *option.Values) error {
	format, given := v.Raw("encrypt.format")
	if v.Bool("encryption", false) {
		if given {
			return qerr.New(syscall.EINVAL, "'encrypt.format' and its alias 'encryption' can't be used at the same time")
		}
		format, given = "aes", true
	}
	others := []string{"key-secret", "cipher-alg", "cipher-mode", "ivgen-alg", "ivgen-hash-alg", "hash-alg", "iter-time"}
	for k, name := range others {
		switch name = "encrypt." + name; {
		case v.Has(name) && !given:
			return qerr.New(syscall.EINVAL, "Parameter 'encrypt.format' is missing")
		case v.Has(name) && k > 0 && (format == "aes" || format == "qcow"):
			return qerr.New(syscall.EINVAL, "Parameter '%s' is unexpected", name)
		}
	}
	switch {
	case !given:
	case format == "aes" || format == "qcow":
		c.crypt = cryptAES
	case format == "luks":
		c.crypt = cryptLUKS
	default:
		return badValue("format", format)
	}
	return nil
}

func needsV3(what string) error {
	return qerr.New(syscall.EINVAL, "%s only supported with compatibility level 1.1 and above (use version=v3 or greater)", what)
}

func (c *creation) validate(v *option.Values) error {
	if c.extended && c.version < 3 {
		return needsV3("Extended L2 entries are")
	}
	if err := checkClusterSize(c.clusterSize, c.extended); err != nil {
		return err
	}
	if c.backing != "" && c.pre != formats.PreallocOff && !c.extended {
		return qerr.New(syscall.EINVAL, "Backing file and preallocation can only be used at the same time if extended_l2 is on")
	}
	if c.backingFmt != "" && c.backing == "" {
		return qerr.New(syscall.EINVAL, "Backing format cannot be used without backing file")
	}
	if c.lazy && c.version < 3 {
		return needsV3("Lazy refcounts")
	}
	var err error
	if c.refOrder, err = refcountOrder(v.Uint("refcount_bits", 16), c.version); err != nil {
		return err
	}
	switch {
	case c.raw && c.dataFile == "":
		return qerr.New(syscall.EINVAL, "data-file-raw requires data-file")
	case c.raw && c.backing != "":
		return qerr.New(syscall.EINVAL, "Backing file and data-file-raw cannot be used at the same time")
	case c.dataFile != "" && c.version < 3:
		return needsV3("External data files are")
	case c.compression != compressionZlib && c.version < 3:
		return needsV3("Non-zlib compression type is")
	}
	if c.raw && c.pre == formats.PreallocOff {
		c.pre = formats.PreallocMetadata // the tables must map the data file one to one
	}
	return nil
}

func checkClusterSize(size int64, extended bool) error {
	if size < 1<<minClusterBits || size > 1<<maxClusterBits || size&(size-1) != 0 {
		return qerr.New(syscall.EINVAL, "Cluster size must be a power of two between %d and %dk", 1<<minClusterBits,
			1<<(maxClusterBits-10))
	}
	if least := int64(subclusters) << minClusterBits; extended && size < least {
		return qerr.New(syscall.EINVAL, "Extended L2 entries are only supported with cluster sizes of at least %d bytes", least)
	}
	return nil
}

func refcountOrder(width uint64, version uint32) (uint32, error) {
	if width == 0 || width > 64 || width&(width-1) != 0 {
		return 0, qerr.New(syscall.EINVAL, "Refcount width must be a power of two and may not exceed 64 bits")
	}
	if version < 3 && width != 16 {
		return 0, qerr.New(syscall.EINVAL, "Different refcount widths than 16 bits require compatibility level 1.1 or above "+
			"(use version=v3 or greater)")
	}
	return uint32(log2(int(width))), nil
}

// createNeeds asks for the external data file.
func createNeeds(a formats.CreateArgs) ([]formats.Need, error) {
	name, ok := a.Options.Raw("data_file")
	if !ok {
		return nil, nil
	}
	return []formats.Need{{Role: "data-file", Name: name, Literal: true}}, nil
}

// create lays out a new image: header, refcount table, refcount block, L1 table, and what is preallocated.
// checkRequestSize refuses sizes that no request could address, as stock's request path does.
func checkRequestSize(size int64) error {
	const most = math.MaxInt64 &^ (1<<30 - 1)
	switch {
	case size < 0:
		return qerr.New(syscall.EINVAL, "Image size cannot be negative")
	case size > most:
		return qerr.New(syscall.EIO, "offset(%d) exceeds maximum(%d)", size, int64(most))
	}
	return nil
}

func create(ctx context.Context, a formats.CreateArgs) error {
	if f, given := a.Options.Raw("backing_fmt"); given && a.HasDriver != nil && !a.HasDriver(f) {
		return badValue("backing-fmt", f)
	}
	c, err := parseCreation(a.Options, a.Size)
	if err != nil {
		return err
	}
	i, err := c.emptyImage(ctx, a)
	if err != nil {
		return err
	}
	if err := checkRequestSize(c.size); err != nil {
		return qerr.Prepend(err, "Could not resize image: ")
	}
	if err := i.grow(ctx, c.size, c.pre); err != nil {
		return qerr.Prepend(err, "Could not resize image: ")
	}
	if len(c.backing) > maxBackingName {
		return qerr.Errno(syscall.EINVAL, "Could not assign backing file '%s' with format '%s'", c.backing, c.backingFmt)
	}
	i.hdr.backingName, i.hdr.ext.backingFormat = c.backing, c.backingFmt
	if err := i.setUpEncryption(ctx, c.crypt, a); err != nil {
		return err
	}
	i.headerDirty = true
	if err := i.commit(ctx); err != nil {
		if c.backing != "" {
			return qerr.Errno(qerr.Of(err), "Could not assign backing file '%s' with format '%s'", c.backing, c.backingFmt)
		}
		return qerr.Errno(qerr.Of(err), "Could not update qcow2 header")
	}
	return nil
}

// emptyImage makes an image of size 0 in memory, with the refcounts of its header, refcount table and refcount block.
func (c *creation) emptyImage(ctx context.Context, a formats.CreateArgs) (*image, error) {
	h := &header{version: c.version, clusterBits: uint32(log2(int(c.clusterSize))), refOrder: c.refOrder, length: headerLen,
		compression: c.compression, refTableOffset: uint64(c.clusterSize), refTableCluster: 1}
	if c.lazy {
		h.compat |= compatLazy
	}
	if c.dataFile != "" {
		h.incompat |= incompatDataFile
		h.ext.dataFile = c.dataFile
	}
	if c.raw {
		h.autoclear |= autoclearRaw
	}
	if c.compression != compressionZlib {
		h.incompat |= incompatCompression
	}
	if c.extended {
		h.incompat |= incompatExtL2
	}
	open := formats.OpenArgs{Name: a.Name, File: a.File, Env: a.Env, Flags: formats.ReadWrite, Options: &option.Values{}}
	i := newImage(open, h)
	i.creating = true
	if err := i.parseOptions(open.Options); err != nil {
		return nil, err
	}
	i.opts.lazy = false // all refcounts are written before the image is complete
	i.setCaches()
	if c.dataFile != "" {
		i.data = a.Children["data-file"]
	}
	i.refTable = make([]uint64, c.clusterSize/8)
	i.refTable[0] = uint64(2 * c.clusterSize)
	block := i.refBlocks.Insert(2*c.clusterSize, nil)
	i.refBlocks.MarkDirty(block, 0, block.Len())
	if err := i.file.WriteAt(ctx, encodeWords(i.refTable), c.clusterSize, 0); err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Could not write refcount table")
	}
	i.headerDirty = true
	if _, err := i.allocClusters(ctx, 3*c.clusterSize); err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Could not allocate clusters for qcow2 header and refcount table")
	}
	return i, nil
}

// setUpEncryption writes the encryption header of a new image.
func (i *image) setUpEncryption(ctx context.Context, method uint32, a formats.CreateArgs) error {
	pass := passphrase(a.Env, a.Options, "encrypt.key-secret")
	i.hdr.cryptMethod = method
	switch method {
	case cryptAES:
		if pass == nil {
			return crypt.KeyRequired("encrypt.")
		}
		_, err := pass()
		return err
	case cryptLUKS:
		o, err := luksOptions(a.Options, pass)
		if err != nil {
			return err
		}
		_, err = luks1.Create(ctx, func(n int64) error { return i.makeRoom(ctx, n) }, i.cryptWrite(ctx, 0), o)
		return err
	}
	return nil
}

// makeRoom takes clusters for a LUKS header and fills them with zeroes.
func (i *image) makeRoom(ctx context.Context, n int64) error {
	i.mu.Lock()
	off, err := i.allocClusters(ctx, n)
	i.mu.Unlock()
	if err != nil {
		return qerr.Errno(qerr.Of(err), "Cannot allocate cluster for LUKS header size %d", n)
	}
	e := &i.hdr.ext
	e.hasCrypto, e.cryptoOffset, e.cryptoLength = true, uint64(off), uint64(n)
	if err := i.file.WriteZeroes(ctx, int64(off), i.roundUp(n), 0); err != nil {
		return qerr.Errno(qerr.Of(err), "Could not zero fill encryption header")
	}
	return nil
}

func luksOptions(v *option.Values, pass crypt.Passphrase) (luks1.CreateOptions, error) {
	o := luks1.CreateOptions{Passphrase: pass, Prefix: "encrypt.",
		Cipher: crypt.Cipher(v.String("encrypt.cipher-alg", "")), Mode: crypt.Mode(v.String("encrypt.cipher-mode", "")),
		IVGen:  crypt.IVGen(v.String("encrypt.ivgen-alg", "")),
		IVHash: crypt.Hash(v.String("encrypt.ivgen-hash-alg", "")), Hash: crypt.Hash(v.String("encrypt.hash-alg", ""))}
	if v.Has("encrypt.iter-time") {
		t := v.Uint("encrypt.iter-time", 0)
		o.IterTime = &t
	}
	for _, c := range []struct {
		name  string
		given string
		ok    bool
	}{
		{"cipher-alg", string(o.Cipher), o.Cipher.Known()}, {"cipher-mode", string(o.Mode), o.Mode.Known()},
		{"ivgen-alg", string(o.IVGen), o.IVGen.Known()}, {"ivgen-hash-alg", string(o.IVHash), o.IVHash.Known()},
		{"hash-alg", string(o.Hash), o.Hash.Known()},
	} {
		if c.given != "" && !c.ok {
			return o, badValue(c.name, c.given)
		}
	}
	return o, nil
}
