package luks2

import (
	"maps"
	"slices"

	"platter/formats/crypt"
)

// Info is what can be told about a container without its key.
type Info struct {
	UUID          string
	Label         string
	Sequence      uint64
	Encryption    string // as in the metadata, "aes-xts-plain64"
	SectorSize    int    // bytes
	PayloadOffset int64  // bytes
	PayloadLen    int64  // bytes, -1 for all of the rest
	Slots         []SlotInfo
}

// SlotInfo tells about one key slot. Of the costs, those of its key derivation are set.
type SlotInfo struct {
	ID         string
	KDF        string // "pbkdf2", "argon2i", "argon2id"
	Hash       crypt.Hash
	Iterations uint32
	Time       uint32
	Memory     uint32 // KiB
	CPUs       uint32
	KeyOffset  int64 // bytes
}

// Info describes the container.
func (v *Volume) Info() Info {
	i := Info{
		UUID:          v.hdr.uuid,
		Label:         v.hdr.label,
		Sequence:      v.hdr.seq,
		Encryption:    v.segment.Encryption,
		SectorSize:    v.segment.SectorSize,
		PayloadOffset: v.PayloadOffset(),
		PayloadLen:    v.PayloadLen(),
	}
	for _, id := range slices.Sorted(maps.Keys(v.meta.Keyslots)) {
		k := v.meta.Keyslots[id]
		i.Slots = append(i.Slots, SlotInfo{
			ID: id, KDF: k.KDF.Type, Hash: k.KDF.Hash, Iterations: k.KDF.Iterations,
			Time: k.KDF.Time, Memory: k.KDF.Memory, CPUs: k.KDF.CPUs, KeyOffset: int64(k.Area.Offset),
		})
	}
	return i
}
