package luks2

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"syscall"
	"time"

	"platter/formats/crypt"
	"platter/formats/qerr"
)

const (
	stripes   = 4000 // of new slots
	areaAlign = 4096
	saltLen   = 32

	// cryptsetup makes no slots with less.
	minIterations = 1000
	minPasses     = 4
	minMemory     = 32 // KiB
)

// newSlot is a slot and its key material.
type newSlot struct {
	keyslot
	material []byte
}

// newSlot makes a slot for a passphrase in the manner of the slot like: the same cipher, hash and key derivation, which
// takes about iterTime milliseconds.
func (v *Volume) newSlot(ctx context.Context, like keyslot, password, key []byte, iterTime uint64) (*newSlot, error) {
	n := &newSlot{keyslot: keyslot{Type: "luks2", KeySize: len(key), AF: like.AF, Area: like.Area, KDF: like.KDF}}
	n.AF.Stripes = stripes
	size := (uint64(len(key))*stripes + areaAlign - 1) / areaAlign * areaAlign
	off, err := v.gap(size)
	if err != nil {
		return nil, err
	}
	n.Area.Offset, n.Area.Size = decimal(off), decimal(size)
	n.KDF.Salt = make([]byte, saltLen)
	rand.Read(n.KDF.Salt)
	if err := n.KDF.tune(ctx, n.Area.KeySize, iterTime); err != nil {
		return nil, err
	}
	spec, err := v.checkSlot(&n.keyslot, v.opts)
	if err != nil {
		return nil, err
	}
	slotKey, err := n.KDF.derive(ctx, password, n.Area.KeySize)
	if err != nil {
		return nil, err
	}
	defer clear(slotKey)
	b, err := crypt.New(spec, slotKey)
	if err != nil {
		return nil, err
	}
	n.material = make([]byte, (len(key)*stripes+crypt.SectorSize-1)/crypt.SectorSize*crypt.SectorSize)
	if err := crypt.AFSplit(rand.Reader, n.AF.Hash, key, n.material, stripes); err != nil {
		return nil, err
	}
	return n, b.Encrypt(0, n.material)
}

// gap finds room for key material of so many bytes.
func (v *Volume) gap(size uint64) (uint64, error) {
	type area struct{ start, end uint64 }
	var used []area
	for _, k := range v.meta.Keyslots {
		used = append(used, area{uint64(k.Area.Offset), uint64(k.Area.Offset) + uint64(k.Area.Size)})
	}
	slices.SortFunc(used, func(a, b area) int { return int(min(max(int64(a.start)-int64(b.start), -1), 1)) })
	at := 2 * v.hdr.size
	for _, a := range append(used, area{start: v.keyEnd(), end: v.keyEnd()}) {
		if a.start >= at && a.start-at >= size {
			return at, nil
		}
		at = max(at, (a.end+areaAlign-1)/areaAlign*areaAlign)
	}
	return 0, qerr.New(syscall.ENOSPC, "Can't add a keyslot - no room for %d bytes of key material", size)
}

// tune sets the cost of the derivation of n bytes so that it takes about ms milliseconds here.
func (f *kdf) tune(ctx context.Context, n int, ms uint64) error {
	ms = min(ms, 3600_000)
	if f.Type == "pbkdf2" {
		second, err := crypt.Calibrate(ctx, f.Hash, n, time.Duration(min(ms, 60_000))*time.Millisecond)
		f.Iterations = uint32(min(max(second*ms/1000, minIterations), math.MaxUint32))
		return err
	}
	f.Memory = max(f.Memory, minMemory)
	once := *f
	once.Time = 1
	start := time.Now()
	if _, err := once.derive(ctx, []byte("passphrase"), n); err != nil {
		return err
	}
	pass := max(uint64(time.Since(start)/time.Microsecond), 1)
	// The limits of opening hold for what is made, too.
	f.Time = uint32(min(max(ms*1000/pass, minPasses), uint64(maxWork/f.Memory)))
	return nil
}

// storeSlot writes a slot: the material, then the header that names it. If it replaces one, that one's material is
// destroyed at last.
func (v *Volume) storeSlot(s Store, id string, n *newSlot) error {
	if err := s.Write(int64(n.Area.Offset), n.material); err != nil {
		return err
	}
	if err := s.Flush(); err != nil {
		return err
	}
	old, replaces := v.meta.Keyslots[id]
	err := v.rewrite(s, func(e *edit) error {
		e.digestSlots = slices.DeleteFunc(e.digestSlots, func(x string) bool { return x == id })
		e.digestSlots = append(e.digestSlots, id)
		return e.setSlot(id, &n.keyslot)
	})
	if err != nil || !replaces {
		return err
	}
	return wipe(s, &old)
}

// dropSlots takes slots out of the header, then destroys their material.
func (v *Volume) dropSlots(s Store, ids []string) error {
	var old []keyslot
	for _, id := range ids {
		old = append(old, v.meta.Keyslots[id])
	}
	err := v.rewrite(s, func(e *edit) error {
		for _, id := range ids {
			delete(e.slots, id)
		}
		e.digestSlots = slices.DeleteFunc(e.digestSlots, func(x string) bool { return slices.Contains(ids, x) })
		return e.unassign(ids)
	})
	if err != nil {
		return err
	}
	for _, k := range old {
		if err := wipe(s, &k); err != nil {
			return err
		}
	}
	return nil
}

// wipe overwrites a slot's material. Once is enough for what a file system or an SSD lets one overwrite at all.
func wipe(s Store, k *keyslot) error {
	n := min(uint64(k.Area.Size), uint64(k.KeySize)*uint64(k.AF.Stripes))
	p := make([]byte, n)
	rand.Read(p)
	if err := s.Write(int64(k.Area.Offset), p); err != nil {
		return err
	}
	return s.Flush()
}

// edit is the metadata while it is changed. What is not known here stays as it is.
type edit struct {
	top, slots  map[string]json.RawMessage
	digests     map[string]map[string]json.RawMessage
	tokens      map[string]map[string]json.RawMessage
	digestSlots []string // of the data's digest
}

func (e *edit) setSlot(id string, k *keyslot) error {
	p, err := json.Marshal(k.object())
	e.slots[id] = p
	return err
}

// unassign takes slots out of the tokens, which are how other programs find passphrases.
func (e *edit) unassign(ids []string) error {
	for _, t := range e.tokens {
		var list []string
		if raw, ok := t["keyslots"]; !ok || json.Unmarshal(raw, &list) != nil {
			continue
		}
		list = slices.DeleteFunc(list, func(x string) bool { return slices.Contains(ids, x) })
		p, err := json.Marshal(append([]string{}, list...))
		if err != nil {
			return err
		}
		t["keyslots"] = p
	}
	return nil
}

// object is a slot as the specification writes it.
func (k *keyslot) object() map[string]any {
	f := map[string]any{"type": k.KDF.Type, "salt": []byte(k.KDF.Salt)}
	if k.KDF.Type == "pbkdf2" {
		f["hash"], f["iterations"] = k.KDF.Hash, k.KDF.Iterations
	} else {
		f["time"], f["memory"], f["cpus"] = k.KDF.Time, k.KDF.Memory, k.KDF.CPUs
	}
	return map[string]any{
		"type": k.Type, "key_size": k.KeySize, "kdf": f,
		"af": map[string]any{"type": k.AF.Type, "stripes": k.AF.Stripes, "hash": k.AF.Hash},
		"area": map[string]any{"type": k.Area.Type, "offset": k.Area.Offset.text(), "size": k.Area.Size.text(),
			"encryption": k.Area.Encryption, "key_size": k.Area.KeySize},
	}
}

func (d decimal) text() string { return strconv.FormatUint(uint64(d), 10) }

// rewrite changes the metadata in memory and then in both headers. The copy that was not read goes first: until it is
// whole, the other one counts.
func (v *Volume) rewrite(s Store, change func(e *edit) error) error {
	text, err := v.changed(change)
	if err != nil {
		return err
	}
	next := *v.hdr
	next.json, next.seq = text, v.hdr.seq+1
	meta, err := parse(&next)
	if err != nil {
		return err
	}
	_, digest, err := meta.digestOf(v.dataName)
	if err != nil {
		return err
	}
	places := []uint64{v.hdr.size, 0}
	if v.hdr.second {
		places = []uint64{0, v.hdr.size}
	}
	for _, at := range places {
		p := next.encode(at)
		if err := s.Write(int64(at), p); err != nil {
			return err
		}
		if err := s.Flush(); err != nil {
			return err
		}
	}
	v.hdr, v.meta, v.digest = &next, meta, digest
	return nil
}

// changed gives the new JSON text.
func (v *Volume) changed(change func(e *edit) error) ([]byte, error) {
	e := edit{}
	broken := func(err error) error { return invalid("LUKS2 metadata is not valid: %s", err.Error()) }
	if err := json.Unmarshal(v.hdr.json, &e.top); err != nil {
		return nil, broken(err)
	}
	for name, to := range map[string]any{"keyslots": &e.slots, "digests": &e.digests, "tokens": &e.tokens} {
		if raw, ok := e.top[name]; ok {
			if err := json.Unmarshal(raw, to); err != nil {
				return nil, broken(err)
			}
		}
	}
	e.digestSlots = slices.Clone(v.digest.Keyslots)
	if err := change(&e); err != nil {
		return nil, err
	}
	slices.Sort(e.digestSlots)
	list, err := json.Marshal(append([]string{}, e.digestSlots...))
	if err != nil {
		return nil, err
	}
	e.digests[v.digestName]["keyslots"] = list
	parts := map[string]any{"keyslots": e.slots, "digests": e.digests}
	if e.tokens != nil {
		parts["tokens"] = e.tokens
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if e.top[name], err = json.Marshal(parts[name]); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(e.top)
	if err == nil && uint64(len(text)) >= v.hdr.size-binarySize {
		err = qerr.New(syscall.ENOSPC, "LUKS2 metadata of %d bytes does not fit the header", len(text))
	}
	return text, err
}

// encode makes the copy of the header that lies at offset at.
func (h *header) encode(at uint64) []byte {
	p := make([]byte, h.size)
	copy(p, h.binary[:])
	copy(p, firstMagic)
	if at != 0 {
		copy(p, secondMagic)
	}
	be := binary.BigEndian
	be.PutUint64(p[16:], h.seq)
	rand.Read(p[saltOffset : saltOffset+sumLen])
	be.PutUint64(p[256:], at)
	copy(p[binarySize:], h.json)
	clear(p[sumOffset : sumOffset+sumLen])
	sum := newSum(p)
	sum.Write(p)
	copy(p[sumOffset:], sum.Sum(nil))
	return p
}
