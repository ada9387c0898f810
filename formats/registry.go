package formats

import (
	"fmt"
	"slices"
	"strings"

	"platter/formats/option"
)

// Registry is the list of drivers that a program has.
type Registry struct {
	drivers []*Driver
	byName  map[string]*Driver
	scheme  map[string]*Driver
}

// NewRegistry makes a registry; the order decides which driver wins when two score the same in probing. Two drivers of
// one name or scheme are a mistake in the program, and panic.
func NewRegistry(drivers ...*Driver) *Registry {
	r := &Registry{drivers: drivers, byName: map[string]*Driver{}, scheme: map[string]*Driver{}}
	for _, d := range drivers {
		if r.byName[d.Name] != nil {
			panic(fmt.Sprintf("formats: driver %q twice", d.Name))
		}
		r.byName[d.Name] = d
		for _, s := range d.Schemes {
			if r.scheme[s] != nil {
				panic(fmt.Sprintf("formats: scheme %q twice", s))
			}
			r.scheme[s] = d
		}
	}
	return r
}

// Beyond is the registry with the options of create that QEMU does not have (Driver.BeyondOpts).
func (r *Registry) Beyond() *Registry {
	drivers := slices.Clone(r.drivers)
	for i, d := range drivers {
		if len(d.BeyondOpts) == 0 {
			continue
		}
		more := *d
		more.CreateOpts = option.Merge(d.CreateOpts, d.BeyondOpts)
		drivers[i] = &more
	}
	return NewRegistry(drivers...)
}

// Find gives the driver of that name, nil if there is none.
func (r *Registry) Find(name string) *Driver { return r.byName[name] }

// Scheme gives the protocol for a file name prefix (without the colon), nil if there is none.
func (r *Registry) Scheme(prefix string) *Driver { return r.scheme[prefix] }

// All gives the drivers in the order of registration.
func (r *Registry) All() []*Driver { return r.drivers }

// Names gives the sorted names of the drivers that are not hidden, as "Supported formats" lists them.
func (r *Registry) Names() []string {
	var names []string
	for _, d := range r.drivers {
		if !d.Hidden {
			names = append(names, d.Name)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

// Probe finds the format whose Probe scores highest for the first bytes of a file; nil if no driver claims it.
func (r *Registry) Probe(head []byte, name string) *Driver {
	best, score := (*Driver)(nil), 0
	for _, d := range r.drivers {
		if d.Probe == nil {
			continue
		}
		if s := d.Probe(head, name); s > score {
			best, score = d, s
		}
	}
	return best
}
