package qobj

import (
	"strconv"
	"strings"
	"syscall"

	"platter/formats/qerr"
)

// Flatten replaces nested dictionaries and lists by dotted keys: {"a": {"b": 1}, "c": [2]} becomes
// {"a.b": 1, "c.0": 2}. Empty dictionaries and lists have nothing to flatten and stay as values. A flattened key
// replaces an equal one that is there.
func (d *Dict) Flatten() {
	for k, v := range d.All() {
		if nested(v) {
			d.Delete(k)
			flattenInto(d, k, v)
		}
	}
}

// nested says whether v has values within.
func nested(v any) bool {
	switch v := v.(type) {
	case *Dict:
		return v.Len() > 0
	case List:
		return len(v) > 0
	}
	return false
}

func flattenInto(target *Dict, prefix string, v any) {
	if !nested(v) {
		target.Set(prefix, v)
		return
	}
	switch v := v.(type) {
	case *Dict:
		for k, inner := range v.All() {
			flattenInto(target, prefix+"."+k, inner)
		}
	case List:
		for i, inner := range v {
			flattenInto(target, prefix+"."+strconv.Itoa(i), inner)
		}
	}
}

// Extract removes the entries whose keys begin with prefix (given with its dot, "file.") and returns them under the
// rest of their keys. The result is empty, not nil, when there are none.
func (d *Dict) Extract(prefix string) *Dict {
	out := NewDict()
	for k, v := range d.All() {
		if rest, ok := strings.CutPrefix(k, prefix); ok {
			out.Set(rest, v)
			d.Delete(k)
		}
	}
	return out
}

// Crumple is the reverse of Flatten: dotted keys become nested dictionaries, and a level whose keys are all numbers
// becomes a list. A dot within a name is written "..". The result is a *Dict or a List; d is left alone.
func Crumple(d *Dict) (any, error) {
	two, err := splitLevel(d)
	if err != nil {
		return nil, err
	}
	for k, v := range two.All() {
		if child, ok := v.(*Dict); ok && nested(v) {
			c, err := Crumple(child)
			if err != nil {
				return nil, err
			}
			two.Set(k, c)
		}
	}
	return listIfNumbered(two)
}

// Unflatten is Crumple under the name that mirrors Flatten.
func Unflatten(d *Dict) (any, error) { return Crumple(d) }

// splitLevel makes one level of nesting out of the first parts of d's keys.
func splitLevel(d *Dict) (*Dict, error) {
	two := NewDict()
	for k, v := range d.All() {
		if nested(v) {
			return nil, qerr.New(syscall.EINVAL, "Value %s is not flat", k)
		}
		first, rest, split := cutKey(k)
		old, had := two.Get(first)
		child, isDict := old.(*Dict)
		switch {
		case had && !(isDict && split):
			return nil, qerr.New(syscall.EINVAL, "Cannot mix scalar and non-scalar keys")
		case !split:
			two.Set(first, cloneValue(v))
		case !had:
			child = NewDict()
			two.Set(first, child)
			fallthrough
		default:
			child.Set(rest, v)
		}
	}
	return two, nil
}

// cutKey splits a dotted key at its first dot that is not doubled, and undoubles the dots of the first part.
func cutKey(key string) (first, rest string, split bool) {
	for i := 0; i < len(key); i++ {
		if key[i] != '.' {
			continue
		}
		if i+1 < len(key) && key[i+1] == '.' {
			i++
			continue
		}
		return strings.ReplaceAll(key[:i], "..", "."), key[i+1:], true
	}
	return strings.ReplaceAll(key, "..", "."), "", false
}

// listIfNumbered turns a dictionary whose keys are 0, 1, 2 … into a list, and leaves one without numbers as it is.
func listIfNumbered(d *Dict) (any, error) {
	numbers, highest := 0, int64(-1)
	for i, k := range d.Keys() {
		n, err := strconv.ParseInt(k, 10, 64)
		if err == nil {
			numbers++
			highest = max(highest, n)
		}
		if numbers != 0 && numbers != i+1 {
			return nil, qerr.New(syscall.EINVAL, "Cannot mix list and non-list keys")
		}
	}
	if int64(numbers) != highest+1 {
		return nil, qerr.New(syscall.EINVAL,
			"List indices are not contiguous, saw %d elements but %d largest index", numbers, highest)
	}
	if numbers == 0 {
		return d, nil
	}
	list := make(List, numbers)
	for i := range list {
		v, ok := d.Get(strconv.Itoa(i))
		if !ok {
			return nil, qerr.New(syscall.EINVAL, "Missing list index %d", i)
		}
		list[i] = v
	}
	return list, nil
}
