package qcow2

import (
	"context"

	"platter/formats"
	"platter/formats/crypt/luks1"
	"platter/formats/qobj"
)

// Info gives the sizes that tools ask for.
func (i *image) Info(context.Context) (formats.Info, error) {
	return formats.Info{ClusterSize: i.clusterSize, SubclusterSize: 1 << i.subBits, VMStateOffset: int64(i.vmStateAt),
		Dirty: i.hdr.incompat&incompatDirty != 0, Encrypted: i.Encrypted()}, nil
}

// Specific is QAPI's ImageInfoSpecificQCow2; its members are set in QAPI's order, which decides where hashes collide.
func (i *image) Specific(ctx context.Context) (string, *qobj.Dict, error) {
	h, d := i.hdr, qobj.NewDict()
	bitmaps, err := i.describeBitmaps(ctx)
	if err != nil {
		return "", nil, err
	}
	if h.version < 3 {
		d.Set("compat", "0.10")
		d.Set("refcount-bits", 16)
	} else {
		d.Set("compat", "1.1")
		if h.ext.dataFile != "" {
			d.Set("data-file", h.ext.dataFile)
		}
		if i.external() {
			d.Set("data-file-raw", i.rawExternal())
		}
		d.Set("extended-l2", i.extended())
		d.Set("lazy-refcounts", h.compat&compatLazy != 0)
		d.Set("corrupt", h.incompat&incompatCorrupt != 0 || i.corrupt.Load())
		d.Set("refcount-bits", 1<<i.refOrder)
	}
	if e := i.describeEncryption(); e != nil {
		d.Set("encrypt", e)
	}
	if bitmaps != nil {
		d.Set("bitmaps", bitmaps)
	}
	if h.compression == compressionZstd {
		d.Set("compression-type", "zstd")
	} else {
		d.Set("compression-type", "zlib")
	}
	return "qcow2", d, nil
}

// describeEncryption is QAPI's ImageInfoSpecificQCow2Encryption; nil without encryption.
func (i *image) describeEncryption() *qobj.Dict {
	d := qobj.NewDict()
	switch {
	case i.hdr.cryptMethod == cryptAES:
		d.Set("format", "aes")
	case i.luks != nil:
		d.Set("format", "luks")
		describeLUKS(d, i.luks.Info())
	default:
		return nil
	}
	return d
}

func describeLUKS(d *qobj.Dict, v luks1.Info) {
	d.Set("cipher-alg", string(v.Cipher))
	d.Set("cipher-mode", string(v.Mode))
	d.Set("ivgen-alg", string(v.IVGen))
	if v.IVHash != "" {
		d.Set("ivgen-hash-alg", string(v.IVHash))
	}
	d.Set("hash-alg", string(v.Hash))
	d.Set("detached-header", v.Detached)
	d.Set("payload-offset", v.PayloadOffset)
	d.Set("master-key-iters", v.KeyIterations)
	d.Set("uuid", v.UUID)
	var slots qobj.List
	for _, s := range v.Slots {
		e := qobj.NewDict()
		e.Set("active", s.Active)
		if s.Active {
			e.Set("iters", s.Iterations)
			e.Set("stripes", s.Stripes)
		}
		e.Set("key-offset", s.KeyOffset)
		slots = append(slots, e)
	}
	d.Set("slots", slots)
}
