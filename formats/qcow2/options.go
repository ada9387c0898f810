package qcow2

import (
	"math/bits"
	"syscall"
	"time"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
)

// section is a kind of metadata, and a bit of overlap checks.
type section uint8

const (
	mainHeader section = iota
	activeL1
	activeL2
	refcountTable
	refcountBlock
	snapshotTab
	inactiveL1
	inactiveL2
	bitmapDirectory
)

var sectionNames = [...]string{"qcow2_header", "active L1 table", "active L2 table", "refcount table",
	"refcount block", "snapshot table", "inactive L1 table", "inactive L2 table", "bitmap directory"}

var sectionOptions = [...]string{"main-header", "active-l1", "active-l2", "refcount-table", "refcount-block",
	"snapshot-table", "inactive-l1", "inactive-l2", "bitmap-directory"}

const (
	checkConstant = 1<<mainHeader | 1<<activeL1 | 1<<refcountTable | 1<<snapshotTab | 1<<bitmapDirectory
	checkCached   = checkConstant | 1<<activeL2 | 1<<refcountBlock | 1<<inactiveL1
	checkAll      = checkCached | 1<<inactiveL2
)

// cause says why a cluster is given up; it decides whether its place in the file is discarded, too.
type cause uint8

const (
	causeNever cause = iota
	causeAlways
	causeRequest
	causeSnapshot
	causeOther
	causes
)

// options are the runtime options.
type options struct {
	lazy     bool
	overlap  uint16 // sections that are checked
	discard  [causes]bool
	keepRefs bool // discard-no-unref
	// cleanInterval is how long a table stays in a cache without being used; 0: as long as there is room.
	cleanInterval time.Duration
	l2Slices      int
	sliceSize     int
	refTables     int
	encOptions    *option.Values
}

// Cache sizes in bytes, QEMU's defaults where they matter to the user.
const (
	defaultL2Cache   = 32 << 20
	defaultSliceSize = 64 << 10
	minL2Slices      = 2
	minRefTables     = 4

	defaultCleanInterval = 600 // seconds
)

func openSchema() option.Schema {
	s := option.Schema{
		{Name: "lazy-refcounts", Type: option.Bool, Help: "Postpone refcount updates"},
		{Name: "pass-discard-request", Type: option.Bool, Help: "Pass guest discard requests to the layer below"},
		{Name: "pass-discard-snapshot", Type: option.Bool, Help: "Generate discard requests when snapshot related space is freed"},
		{Name: "pass-discard-other", Type: option.Bool, Help: "Generate discard requests when other clusters are freed"},
		{Name: "discard-no-unref", Type: option.Bool, Help: "Do not unreference discarded clusters"},
		{Name: "overlap-check", Type: option.String, Help: "Selects which overlap checks to perform from a range of " +
			"templates (none, constant, cached, all)"},
		{Name: "overlap-check.template", Type: option.String},
	}
	for _, name := range sectionOptions {
		s = append(s, option.Opt{Name: "overlap-check." + name, Type: option.Bool})
	}
	return append(s, option.Schema{
		{Name: "cache-size", Type: option.Size, Help: "Maximum combined metadata (L2 tables and refcount blocks) cache size"},
		{Name: "l2-cache-size", Type: option.Size, Help: "Maximum L2 table cache size"},
		{Name: "l2-cache-entry-size", Type: option.Size, Help: "Size of each entry in the L2 cache"},
		{Name: "refcount-cache-size", Type: option.Size, Help: "Maximum refcount block cache size"},
		{Name: "cache-clean-interval", Type: option.Number, Help: "Clean unused cache entries after this time (in seconds)"},
		{Name: "encrypt.format", Type: option.String, Help: "Encrypt the image, format choices: 'aes', 'luks'"},
		{Name: "encrypt.key-secret", Type: option.String, Help: "ID of secret providing qcow2 AES key or LUKS passphrase"},
	}...)
}

// parseOptions reads the runtime options; checks and messages in QEMU's order.
func (i *image) parseOptions(v *option.Values) error {
	if err := i.cacheSizes(v); err != nil {
		return err
	}
	interval := v.Uint("cache-clean-interval", defaultCleanInterval)
	if interval > 1<<32-1 {
		return qerr.New(syscall.EINVAL, "Cache clean interval too big")
	}
	i.opts.cleanInterval = time.Duration(interval) * time.Second
	i.opts.lazy = v.Bool("lazy-refcounts", i.hdr.compat&compatLazy != 0)
	if i.opts.lazy && i.hdr.version < 3 {
		return qerr.New(syscall.EINVAL, "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level")
	}
	if err := i.overlapOptions(v); err != nil {
		return err
	}
	i.opts.discard = [causes]bool{causeAlways: true,
		causeRequest:  v.Bool("pass-discard-request", i.flags.Has(formats.Unmap)),
		causeSnapshot: v.Bool("pass-discard-snapshot", true),
		causeOther:    v.Bool("pass-discard-other", false)}
	i.opts.keepRefs = v.Bool("discard-no-unref", false)
	if i.opts.keepRefs && i.hdr.version < 3 {
		return qerr.New(syscall.EINVAL, "discard-no-unref is only supported since qcow2 version 3")
	}
	return i.cryptOptions(v)
}

func (i *image) overlapOptions(v *option.Values) error {
	template, given := v.Raw("overlap-check")
	if t, ok := v.Raw("overlap-check.template"); ok {
		if given && t != template {
			return qerr.New(syscall.EINVAL, "Conflicting values for qcow2 options 'overlap-check' ('%s') and "+
				"'overlap-check.template' ('%s')", template, t)
		}
		template, given = t, true
	}
	if !given {
		template = "cached"
	}
	masks := map[string]uint16{"none": 0, "constant": checkConstant, "cached": checkCached, "all": checkAll}
	mask, ok := masks[template]
	if !ok {
		return qerr.New(syscall.EINVAL, "Unsupported value '%s' for qcow2 option 'overlap-check'. Allowed are any of the "+
			"following: none, constant, cached, all", template)
	}
	for bit, name := range sectionOptions {
		if v.Bool("overlap-check."+name, mask>>bit&1 != 0) {
			i.opts.overlap |= 1 << bit
		}
	}
	return nil
}

// cacheSizes works out how many tables the caches keep.
func (i *image) cacheSizes(v *option.Values) error {
	needed := max((i.Size()+i.clusterSize-1)>>i.clusterBits*int64(8*i.entryWords), 0)
	slice := int64(min(defaultSliceSize, i.clusterSize))
	if v.Has("l2-cache-entry-size") {
		slice = int64(min(v.Uint("l2-cache-entry-size", 0), 1<<40))
	}
	l2, refs := uint64(min(defaultL2Cache, i.roundUp(needed))), uint64(minRefTables*i.clusterSize)
	total, hasTotal := v.Uint("cache-size", 0), v.Has("cache-size")
	hasL2, hasRef := v.Has("l2-cache-size"), v.Has("refcount-cache-size")
	if hasL2 {
		l2 = v.Uint("l2-cache-size", 0)
	}
	if hasRef {
		refs = v.Uint("refcount-cache-size", 0)
	}
	if hasTotal {
		switch {
		case hasL2 && hasRef:
			return qerr.New(syscall.EINVAL, "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time")
		case hasL2 && l2 > total:
			return qerr.New(syscall.EINVAL, "l2-cache-size may not exceed cache-size")
		case hasRef && refs > total:
			return qerr.New(syscall.EINVAL, "refcount-cache-size may not exceed cache-size")
		case hasL2:
			refs = total - min(l2, uint64(i.roundUp(needed)))
		case hasRef:
			l2 = total - refs
		default:
			l2, refs = splitCache(total, uint64(needed), refs)
		}
	}
	l2 = min(l2, uint64(i.roundUp(needed))) // more than all tables is of no use
	if slice < 1<<minClusterBits || slice > i.clusterSize || bits.OnesCount64(uint64(slice)) != 1 {
		return qerr.New(syscall.EINVAL, "L2 cache entry size must be a power of two between %d and the cluster size (%d)",
			1<<minClusterBits, i.clusterSize)
	}
	if l2/uint64(slice) > 1<<31-1 {
		return qerr.New(syscall.EINVAL, "L2 cache size too big")
	}
	if refs/uint64(i.clusterSize) > 1<<31-1 {
		return qerr.New(syscall.EINVAL, "Refcount cache size too big")
	}
	i.opts.sliceSize = int(slice)
	// What the file can hold bounds what is worth a hash table, whatever the user asks for.
	refs = min(refs, 1<<33)
	i.opts.l2Slices = max(int(l2/uint64(slice)), minL2Slices)
	i.opts.refTables = max(int(refs/uint64(i.clusterSize)), minRefTables)
	return nil
}

// splitCache divides a total: the L2 tables come first, the refcount blocks get the rest.
func splitCache(total, needed, minRefs uint64) (l2, refs uint64) {
	if total >= needed+minRefs {
		return needed, total - needed
	}
	refs = min(total, minRefs)
	return total - refs, refs
}

// cryptOptions checks encrypt.* against the header.
func (i *image) cryptOptions(v *option.Values) error {
	format, given := v.Raw("encrypt.format")
	names := map[uint32]string{cryptAES: "aes", cryptLUKS: "luks"}
	switch name, known := names[i.hdr.cryptMethod]; {
	case i.hdr.cryptMethod == cryptNone && given:
		return qerr.New(syscall.EINVAL, "No encryption in image header, but options specified format '%s'", format)
	case i.hdr.cryptMethod == cryptNone:
		return nil
	case !known:
		return qerr.New(syscall.EINVAL, "Unsupported encryption method %d", i.hdr.cryptMethod)
	case given && format != name:
		return qerr.New(syscall.EINVAL, "Header reported '%s' encryption format but options specify '%s'", name, format)
	}
	i.opts.encOptions = v
	return nil
}
