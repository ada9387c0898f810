package luks2

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"platter/formats/crypt"
)

// maxObjects limits key slots, segments and digests each; the specification has 32 key slots.
const maxObjects = 32

// metadata is the JSON area, as far as it is used. Numbers above 2³¹ are strings there.
type metadata struct {
	Keyslots map[string]keyslot `json:"keyslots"`
	Segments map[string]segment `json:"segments"`
	Digests  map[string]digest  `json:"digests"`
	Config   struct {
		JSONSize     decimal `json:"json_size"`
		KeyslotsSize decimal `json:"keyslots_size"`
		Requirements struct {
			Mandatory []string `json:"mandatory"`
		} `json:"requirements"`
	} `json:"config"`
}

type keyslot struct {
	Type     string `json:"type"`
	KeySize  int    `json:"key_size"`
	Priority *int   `json:"priority"`
	AF       struct {
		Type    string     `json:"type"`
		Stripes int        `json:"stripes"`
		Hash    crypt.Hash `json:"hash"`
	} `json:"af"`
	Area struct {
		Type       string  `json:"type"`
		Offset     decimal `json:"offset"`
		Size       decimal `json:"size"`
		Encryption string  `json:"encryption"`
		KeySize    int     `json:"key_size"`
	} `json:"area"`
	KDF kdf `json:"kdf"`
}

type kdf struct {
	Type       string     `json:"type"`
	Salt       binaryText `json:"salt"`
	Hash       crypt.Hash `json:"hash"`
	Iterations uint32     `json:"iterations"`
	Time       uint32     `json:"time"`
	Memory     uint32     `json:"memory"` // KiB
	CPUs       uint32     `json:"cpus"`
}

type segment struct {
	Type       string          `json:"type"`
	Offset     decimal         `json:"offset"`
	Size       string          `json:"size"` // bytes, or "dynamic"
	IVTweak    decimal         `json:"iv_tweak"`
	Encryption string          `json:"encryption"`
	SectorSize int             `json:"sector_size"`
	Integrity  json.RawMessage `json:"integrity"`
}

type digest struct {
	Type       string     `json:"type"`
	Keyslots   []string   `json:"keyslots"`
	Segments   []string   `json:"segments"`
	Hash       crypt.Hash `json:"hash"`
	Iterations uint32     `json:"iterations"`
	Salt       binaryText `json:"salt"`
	Digest     binaryText `json:"digest"`
}

// decimal is an unsigned number in a string.
type decimal uint64

func (d *decimal) UnmarshalText(p []byte) error {
	n, err := strconv.ParseUint(string(p), 10, 63)
	*d = decimal(n)
	return err
}

// binaryText is base64 in a string.
type binaryText []byte

func (b *binaryText) UnmarshalText(p []byte) error {
	out, err := base64.StdEncoding.DecodeString(string(p))
	*b = out
	return err
}

func parse(h *header) (*metadata, error) {
	m := new(metadata)
	if err := json.Unmarshal(h.json, m); err != nil {
		return nil, invalid("LUKS2 metadata is not valid: %s", err.Error())
	}
	if r := m.Config.Requirements.Mandatory; len(r) > 0 {
		return nil, unsupported("LUKS2 requirement '%s' is not supported", strings.Join(r, "', '"))
	}
	if len(m.Keyslots) > maxObjects || len(m.Segments) > maxObjects || len(m.Digests) > maxObjects {
		return nil, invalid("LUKS2 metadata has more than %d key slots, segments or digests", maxObjects)
	}
	if uint64(m.Config.JSONSize) != h.size-binarySize {
		return nil, invalid("LUKS2 metadata has a size of %d in a header with room for %d", m.Config.JSONSize, h.size-binarySize)
	}
	return m, nil
}

// data gives the segment with the data.
func (m *metadata) data(keyEnd uint64, detached bool) (name string, s segment, err error) {
	if len(m.Segments) != 1 {
		return "", s, unsupported("LUKS2 container with %d segments is not supported", len(m.Segments))
	}
	for name, s = range m.Segments {
	}
	switch {
	case s.Type != "crypt":
		return "", s, unsupported("LUKS2 segment of type '%s' is not supported", s.Type)
	case len(s.Integrity) != 0:
		return "", s, unsupported("LUKS2 segment with integrity protection is not supported")
	case s.SectorSize < 512 || s.SectorSize > 4096 || s.SectorSize&(s.SectorSize-1) != 0:
		return "", s, invalid("LUKS2 segment has an invalid sector size of %d", s.SectorSize)
	case uint64(s.Offset)%uint64(s.SectorSize) != 0 || s.length()%int64(s.SectorSize) != 0 && s.length() > 0:
		return "", s, invalid("LUKS2 segment is not aligned to its sectors")
	case s.length() < -1:
		return "", s, invalid("LUKS2 segment has an invalid size '%s'", s.Size)
	case !detached && uint64(s.Offset) < keyEnd:
		return "", s, invalid("LUKS2 segment is overlapping with the header")
	}
	return name, s, nil
}

// length is the segment's size in bytes, -1 for one that reaches to the end of the device, -2 for nonsense.
func (s *segment) length() int64 {
	if s.Size == "dynamic" {
		return -1
	}
	n, err := strconv.ParseInt(s.Size, 10, 64)
	if err != nil || n <= 0 {
		return -2
	}
	return n
}

// digestOf gives the digest that recognises the key of a segment.
func (m *metadata) digestOf(segment string) (name string, d digest, err error) {
	for _, name := range slices.Sorted(maps.Keys(m.Digests)) {
		d := m.Digests[name]
		if !slices.Contains(d.Segments, segment) {
			continue
		}
		switch {
		case d.Type != "pbkdf2":
			return name, d, unsupported("LUKS2 digest of type '%s' is not supported", d.Type)
		case !d.Hash.Known():
			return name, d, unsupported("Hash algorithm '%s' not supported", string(d.Hash))
		case d.Iterations == 0 || len(d.Digest) == 0 || len(d.Digest) > 64:
			return name, d, invalid("LUKS2 digest '%s' is not valid", name)
		}
		return name, d, nil
	}
	return "", digest{}, invalid("LUKS2 segment '%s' has no digest", segment)
}

// candidates gives the names of the slots that may hold a digest's key: preferred ones first, no slot that is only to
// be used when asked for.
func (m *metadata) candidates(d digest) []string {
	var names []string
	for _, want := range []int{2, 1} {
		for _, name := range slices.Sorted(maps.Keys(m.Keyslots)) {
			k := m.Keyslots[name]
			priority := 1
			if k.Priority != nil {
				priority = *k.Priority
			}
			if priority == want && slices.Contains(d.Keyslots, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// parseSpec reads "aes-xts-plain64" or "aes-cbc-essiv:sha256" for a key of keyLen bytes.
func parseSpec(encryption string, keyLen, sectorSize int) (crypt.Spec, error) {
	family, rest, _ := strings.Cut(encryption, "-")
	mode, iv, _ := strings.Cut(rest, "-")
	gen, hash, _ := strings.Cut(iv, ":")
	s := crypt.Spec{Mode: crypt.Mode(mode), IVGen: crypt.IVGen(gen), IVHash: crypt.Hash(hash), SectorSize: sectorSize}
	n := keyLen
	if s.Mode == crypt.XTS {
		n /= 2
	}
	var ok bool
	if s.Cipher, ok = crypt.CipherOf(family, n); !ok || s.KeyLen() != keyLen {
		return s, unsupported("Encryption '%s' with a key of %d bytes is not supported", encryption, keyLen)
	}
	return s, s.Check()
}
