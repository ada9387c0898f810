package parallels_test

import (
	"encoding/binary"
	"testing"

	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/parallels"
	"platter/formats/raw"
)

// FuzzOpen damages the header and the table.
func FuzzOpen(f *testing.F) {
	formatstest.Damage(f, formatstest.Subject{
		Drivers: []*formats.Driver{raw.Driver(), parallels.Driver()}, Format: "parallels", Options: "cluster_size=4096"},
		func(b []byte) bool {
			tracks, start := binary.LittleEndian.Uint32(b[28:]), binary.LittleEndian.Uint32(b[48:])
			return tracks < 1<<12 && start < 1<<16
		}, 0, 16, 28, 32, 36, 44, 48, 56, 64, 68, 1088)
}

// FuzzDescriptor reads descriptors of bundles.
func FuzzDescriptor(f *testing.F) {
	f.Add(bundleXML(2048, storageXML(0, 2048, topID, "Compressed", "d.hds"), shots(topID, noneID)))
	f.Add(bundleXML(4096, storageXML(2048, 4096, rootID, "Plain", "1")+storageXML(0, 2048, topID, "Plain", "2"), shots(topID, midID, midID, topID)))
	f.Fuzz(func(t *testing.T, text string) {
		store := formatstest.NewStore()
		store.Put("DiskDescriptor.xml", []byte(text))
		n, err := openIn(store, "DiskDescriptor.xml", formats.NoIO)
		if err != nil {
			return
		}
		defer n.Close()
		if n.Size() <= 0 {
			t.Errorf("a disk of %d bytes", n.Size())
		}
	})
}
