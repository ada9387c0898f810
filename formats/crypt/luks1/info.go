package luks1

import "platter/formats/crypt"

// Info is what can be told about a header without its key.
type Info struct {
	UUID          string
	Cipher        crypt.Cipher
	Mode          crypt.Mode
	IVGen         crypt.IVGen
	IVHash        crypt.Hash // "" unless IVGen is ESSIV
	Hash          crypt.Hash
	PayloadOffset int64 // bytes
	KeyIterations uint32
	Detached      bool // the payload is in another file
	Slots         [Slots]SlotInfo
}

// SlotInfo tells about one key slot; Iterations and Stripes have a meaning in an active one only.
type SlotInfo struct {
	Active     bool
	Iterations uint32
	Stripes    uint32
	KeyOffset  int64 // bytes
}

// Info describes the header.
func (v *Volume) Info() Info {
	i := Info{
		UUID:          text(v.hdr.UUID[:]),
		Cipher:        v.spec.Cipher,
		Mode:          v.spec.Mode,
		IVGen:         v.spec.IVGen,
		Hash:          v.hash,
		PayloadOffset: v.PayloadOffset(),
		KeyIterations: v.hdr.DigestRounds,
		Detached:      v.hdr.Payload == 0,
	}
	if v.spec.IVGen == crypt.ESSIV {
		i.IVHash = v.spec.IVHash
	}
	for k := range v.hdr.Slots {
		s := &v.hdr.Slots[k]
		i.Slots[k] = SlotInfo{Active: s.State == slotEnabled, KeyOffset: s.offset()}
		if s.State == slotEnabled {
			i.Slots[k].Iterations, i.Slots[k].Stripes = s.Rounds, s.Stripes
		}
	}
	return i
}
