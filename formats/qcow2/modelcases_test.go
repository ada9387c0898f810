package qcow2_test

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// factors are what the model test combines: the fields of an -o list, "" where an option stays at its default.
var factors = [][]string{
	{"cluster_size=512", "cluster_size=16k", "", "cluster_size=2M"},
	{"refcount_bits=1", "refcount_bits=2", "refcount_bits=4", "refcount_bits=8", "", "refcount_bits=32", "refcount_bits=64"},
	{"", "extended_l2=on"},
	{"", "data_file=store:data", "data_file=store:data,data_file_raw=on"},
	{"", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1", "encrypt.format=aes,encrypt.key-secret=s"},
	{"", "lazy_refcounts=on", "compression_type=zstd", "compat=0.10"},
	{"", "backing_file=store:base,backing_fmt=raw"},
}

// combination is a choice from each factor.
type combination []int

// options joins the choices to an -o list.
func (c combination) options() string {
	var list []string
	for k, v := range c {
		if o := factors[k][v]; o != "" {
			list = append(list, o)
		}
	}
	return strings.Join(list, ",")
}

// possible says whether stock makes such an image, too.
func (c combination) possible() bool {
	o := c.options()
	has := func(s string) bool { return strings.Contains(o, s) }
	switch {
	case has("extended_l2") && has("cluster_size=512"):
	case has("compat=0.10") && (has("refcount_bits") || has("extended_l2") || has("data_file")):
	case has("data_file_raw") && (has("backing_file") || has("encrypt")):
	case has("data_file") && has("zstd"): // nothing is compressed there
	default:
		return true
	}
	return false
}

type pair struct{ f, v, g, w int }

// pairs are the pairs of choices in a combination.
func (c combination) pairs() []pair {
	var list []pair
	for f := range c {
		for g := f + 1; g < len(c); g++ {
			list = append(list, pair{f, c[f], g, c[g]})
		}
	}
	return list
}

// allCombinations lists all that are possible.
func allCombinations() []combination {
	list := []combination{nil}
	for _, f := range factors {
		var longer []combination
		for _, c := range list {
			for v := range f {
				longer = append(longer, append(slices.Clone(c), v))
			}
		}
		list = longer
	}
	return slices.DeleteFunc(list, func(c combination) bool { return !c.possible() })
}

// pairwise chooses combinations so that every possible pair of choices is in one of them.
func pairwise() []combination {
	all := allCombinations()
	rng := rand.New(rand.NewPCG(1, 1))
	rng.Shuffle(len(all), func(a, b int) { all[a], all[b] = all[b], all[a] })
	open := map[pair]bool{}
	for _, c := range all {
		for _, p := range c.pairs() {
			open[p] = true
		}
	}
	var chosen []combination
	for len(open) > 0 {
		best, most := combination(nil), 0
		for _, c := range all {
			n := 0
			for _, p := range c.pairs() {
				if open[p] {
					n++
				}
			}
			if n > most {
				best, most = c, n
			}
		}
		for _, p := range best.pairs() {
			delete(open, p)
		}
		chosen = append(chosen, best)
	}
	return chosen
}
