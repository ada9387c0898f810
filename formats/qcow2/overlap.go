package qcow2

// noteMeta remembers that clusters hold metadata. mu is held.
func (i *image) noteMeta(off hostOff, n int64, s section) {
	if i.metaClusters == nil || i.opts.overlap>>s&1 == 0 {
		return
	}
	for c := uint64(off) >> i.clusterBits; c <= uint64(int64(off)+n-1)>>i.clusterBits; c++ {
		if _, ok := i.metaClusters[c]; !ok {
			i.metaClusters[c] = s
		}
	}
}

// forgetMeta drops the picture of where metadata lies; the next write makes it anew. For exclusive operations that move
// tables. mu is held.
func (i *image) forgetMeta() { i.metaClusters = nil }

// meta is where metadata lies, as far as overlap checks want to know. mu is held.
func (i *image) meta() map[uint64]section {
	if i.metaClusters != nil {
		return i.metaClusters
	}
	i.metaClusters = map[uint64]section{}
	i.noteMeta(0, i.clusterSize, mainHeader)
	if len(i.l1) > 0 {
		i.noteMeta(hostOff(i.hdr.l1Offset), int64(len(i.l1))*8, activeL1)
	}
	for _, e := range i.l1 {
		if off := e & entryOffset; off != 0 {
			i.noteMeta(hostOff(off), i.clusterSize, activeL2)
		}
	}
	if len(i.refTable) > 0 {
		i.noteMeta(hostOff(i.hdr.refTableOffset), int64(len(i.refTable))*8, refcountTable)
	}
	for _, e := range i.refTable {
		if off := e &^ refReserved; off != 0 {
			i.noteMeta(hostOff(off), i.clusterSize, refcountBlock)
		}
	}
	i.noteSnapshots()
	if b := i.hdr.ext.bitmaps; b.count > 0 && b.directorySize > 0 {
		i.noteMeta(hostOff(b.directoryOffset), int64(b.directorySize), bitmapDirectory)
	}
	return i.metaClusters
}

// checkWrite refuses to write data where metadata lies: the image is damaged then. mu is held.
func (i *image) checkWrite(off hostOff, n int64) error {
	if i.external() || i.opts.overlap == 0 {
		return nil
	}
	meta := i.meta()
	for c := uint64(off) >> i.clusterBits; c <= uint64(int64(off)+n-1)>>i.clusterBits; c++ {
		if s, ok := meta[c]; ok {
			return i.overlap(s)
		}
	}
	return nil
}

// checkFree refuses clusters that the refcounts call free but that hold metadata. mu is held.
func (i *image) checkFree(off hostOff, n int64) error {
	if i.opts.overlap == 0 || !i.writable() {
		return nil
	}
	meta := i.meta()
	for c := uint64(off) >> i.clusterBits; c <= uint64(int64(off)+n-1)>>i.clusterBits; c++ {
		if s, ok := meta[c]; ok && off != 0 {
			return i.overlap(s)
		}
	}
	return nil
}

// checkMeta refuses to change a table in a cluster that holds something else. mu is held.
func (i *image) checkMeta(off hostOff, want section) error {
	if i.opts.overlap == 0 {
		return nil
	}
	if s, ok := i.meta()[uint64(off)>>i.clusterBits]; ok && s != want {
		return i.overlap(s)
	}
	return nil
}

func (i *image) overlap(s section) error {
	return i.signalCorruption(true, "Preventing invalid write on metadata (overlaps with %s)", sectionNames[s])
}
