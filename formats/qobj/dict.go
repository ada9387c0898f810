package qobj

import (
	"cmp"
	"iter"
	"math"
	"slices"
)

// List is a JSON array.
type List []any

// Dict is a JSON object in QEMU's order (see the package comment). The zero value is an empty dictionary ready for
// use; a Dict is not safe for concurrent change.
type Dict struct {
	items  map[string]*item
	serial uint64
}

type item struct {
	value  any
	serial uint64
}

// buckets is the size of QEMU's hash table; the order of keys depends on it.
const buckets = 512

// bucketOf is the TDB hash of key (seeded with the length, bytes added at shifts of 0, 5, 10 … modulo 24, one
// multiplicative step at the end) modulo the table's size. Arithmetic is modulo 2^32.
func bucketOf(key string) uint32 {
	h := uint32(0x238F13AF) * uint32(len(key))
	for i := range len(key) {
		h += uint32(key[i]) << (uint(i) * 5 % 24)
	}
	return (h*1103515243 + 12345) % buckets
}

// NewDict returns an empty dictionary.
func NewDict() *Dict { return &Dict{} }

// Set puts v under key. A new key goes to the head of its bucket, a replaced value keeps its place.
func (d *Dict) Set(key string, v any) {
	v = normal(v)
	if it, ok := d.items[key]; ok {
		it.value = v
		return
	}
	if d.items == nil {
		d.items = map[string]*item{}
	}
	d.serial++
	d.items[key] = &item{v, d.serial}
}

// normal maps every integer kind to int64 or, where it does not fit, uint64.
func normal(v any) any {
	switch n := v.(type) {
	case int:
		return int64(n)
	case int8:
		return int64(n)
	case int16:
		return int64(n)
	case int32:
		return int64(n)
	case uint8:
		return int64(n)
	case uint16:
		return int64(n)
	case uint32:
		return int64(n)
	case uint:
		return normal(uint64(n))
	case uint64:
		if n <= math.MaxInt64 {
			return int64(n)
		}
	case float32:
		return float64(n)
	case []any:
		return List(n)
	}
	return v
}

// Get returns the value under key and whether there is one.
func (d *Dict) Get(key string) (any, bool) {
	if d == nil {
		return nil, false
	}
	it, ok := d.items[key]
	if !ok {
		return nil, false
	}
	return it.value, true
}

// Has says whether key is present, with whatever value.
func (d *Dict) Has(key string) bool {
	_, ok := d.Get(key)
	return ok
}

// Delete removes key if it is there.
func (d *Dict) Delete(key string) { delete(d.items, key) }

// Len is the number of keys.
func (d *Dict) Len() int {
	if d == nil {
		return 0
	}
	return len(d.items)
}

// String returns the value under key if it is a string.
func (d *Dict) String(key string) (string, bool) {
	v, _ := d.Get(key)
	s, ok := v.(string)
	return s, ok
}

// Dict returns the value under key if it is a dictionary.
func (d *Dict) Dict(key string) (*Dict, bool) {
	v, _ := d.Get(key)
	s, ok := v.(*Dict)
	return s, ok
}

// List returns the value under key if it is a list.
func (d *Dict) List(key string) (List, bool) {
	v, _ := d.Get(key)
	s, ok := v.(List)
	return s, ok
}

// Keys returns the keys in QEMU's order.
func (d *Dict) Keys() []string {
	if d.Len() == 0 {
		return nil
	}
	type place struct {
		bucket uint32
		serial uint64
		key    string
	}
	all := make([]place, 0, len(d.items))
	for k, it := range d.items {
		all = append(all, place{bucketOf(k), it.serial, k})
	}
	slices.SortFunc(all, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.bucket, b.bucket), cmp.Compare(b.serial, a.serial))
	})
	keys := make([]string, len(all))
	for i, p := range all {
		keys[i] = p.key
	}
	return keys
}

// All iterates over a snapshot of the keys in QEMU's order; keys deleted meanwhile are passed over, so the loop may
// change the dictionary.
func (d *Dict) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for _, k := range d.Keys() {
			v, ok := d.Get(k)
			if ok && !yield(k, v) {
				return
			}
		}
	}
}

// Clone returns a deep copy with the same order.
func (d *Dict) Clone() *Dict {
	c := &Dict{}
	if d == nil {
		return c
	}
	c.serial = d.serial
	c.items = make(map[string]*item, len(d.items))
	for k, it := range d.items {
		c.items[k] = &item{cloneValue(it.value), it.serial}
	}
	return c
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case *Dict:
		return v.Clone()
	case List:
		c := make(List, len(v))
		for i := range v {
			c[i] = cloneValue(v[i])
		}
		return c
	}
	return v
}

// Equal says whether both hold the same keys with equal values; order does not count. Numbers are compared by value,
// integers never equal floats.
func (d *Dict) Equal(o *Dict) bool {
	if d.Len() != o.Len() {
		return false
	}
	for k, v := range d.All() {
		w, ok := o.Get(k)
		if !ok || !Equal(v, w) {
			return false
		}
	}
	return true
}

// Equal compares two values deeply, as Dict.Equal does.
func Equal(a, b any) bool {
	a, b = normal(a), normal(b)
	switch a := a.(type) {
	case *Dict:
		b, ok := b.(*Dict)
		return ok && a.Equal(b)
	case List:
		b, ok := b.(List)
		return ok && slices.EqualFunc(a, b, Equal)
	}
	switch b.(type) {
	case *Dict, List:
		return false
	}
	return a == b
}
