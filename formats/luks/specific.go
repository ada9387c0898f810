package luks

import (
	"context"

	"platter/formats"
	"platter/formats/qobj"
)

// Encrypted is always so.
func (d *image) Encrypted() bool { return true }

// Info is what QEMU tells: that there are no clusters.
func (d *image) Info(context.Context) (formats.Info, error) {
	return formats.Info{Encrypted: true}, nil
}

// Specific describes the header; no key is needed for it.
func (d *image) Specific(context.Context) (string, *qobj.Dict, error) {
	if d.v2 != nil {
		return "luks", d.specific2(), nil
	}
	return "luks", d.specific1(), nil
}

// specific1 is QAPI's QCryptoBlockInfoLUKS, in the order of its members.
func (d *image) specific1() *qobj.Dict {
	i, s := d.v1.Info(), qobj.NewDict()
	s.Set("cipher-alg", string(i.Cipher))
	s.Set("cipher-mode", string(i.Mode))
	s.Set("ivgen-alg", string(i.IVGen))
	if i.IVHash != "" {
		s.Set("ivgen-hash-alg", string(i.IVHash))
	}
	s.Set("hash-alg", string(i.Hash))
	s.Set("detached-header", i.Detached)
	s.Set("payload-offset", i.PayloadOffset)
	s.Set("master-key-iters", int64(i.KeyIterations))
	s.Set("uuid", i.UUID)
	var slots qobj.List
	for _, k := range i.Slots {
		slot := qobj.NewDict()
		slot.Set("active", k.Active)
		if k.Active {
			slot.Set("iters", int64(k.Iterations))
			slot.Set("stripes", int64(k.Stripes))
		}
		slot.Set("key-offset", k.KeyOffset)
		slots = append(slots, slot)
	}
	s.Set("slots", slots)
	return s
}

// specific2 names what version 2 has in the words of version 1 where there are such.
func (d *image) specific2() *qobj.Dict {
	i, s := d.v2.Info(), qobj.NewDict()
	s.Set("version", int64(2))
	s.Set("encryption", i.Encryption)
	s.Set("sector-size", int64(i.SectorSize))
	s.Set("detached-header", d.detached())
	s.Set("payload-offset", i.PayloadOffset)
	s.Set("uuid", i.UUID)
	if i.Label != "" {
		s.Set("label", i.Label)
	}
	var slots qobj.List
	for _, k := range i.Slots {
		slot := qobj.NewDict()
		slot.Set("id", k.ID)
		slot.Set("kdf", k.KDF)
		if k.KDF == "pbkdf2" {
			slot.Set("hash", string(k.Hash))
			slot.Set("iters", int64(k.Iterations))
		} else {
			slot.Set("time", int64(k.Time))
			slot.Set("memory", int64(k.Memory))
			slot.Set("cpus", int64(k.CPUs))
		}
		slot.Set("key-offset", k.KeyOffset)
		slots = append(slots, slot)
	}
	s.Set("slots", slots)
	return s
}
