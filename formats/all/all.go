package all

import (
	"platter/formats"
	"platter/formats/bochs"
	"platter/formats/cloop"
	"platter/formats/dmg"
	"platter/formats/filter/blkdebug"
	"platter/formats/filter/copyonread"
	"platter/formats/filter/throttle"
	"platter/formats/luks"
	"platter/formats/parallels"
	"platter/formats/protocol/file"
	"platter/formats/protocol/nbd"
	"platter/formats/protocol/null"
	"platter/formats/protocol/vvfat"
	"platter/formats/protocol/web"
	"platter/formats/qcow"
	"platter/formats/qcow2"
	"platter/formats/qed"
	"platter/formats/raw"
	"platter/formats/vdi"
	"platter/formats/vhdx"
	"platter/formats/vmdk"
	"platter/formats/vpc"
)

// Registry is a registry of every driver, in the order in which probing asks them.
func Registry() *formats.Registry {
	drivers := []*formats.Driver{
		raw.Driver(),
		vdi.Driver(),
		vmdk.Driver(),
		vpc.Driver(),
		vhdx.Driver(),
		bochs.Driver(),
		cloop.Driver(),
		dmg.Driver(),
		luks.Driver(),
		parallels.Driver(),
		qcow.Driver(),
		qcow2.Driver(),
		qed.Driver(),
		file.Driver(),
		file.DeviceDriver(), file.CDROMDriver(),
		nbd.Driver(),
		blkdebug.Driver(),
		throttle.Driver(),
		copyonread.Driver(),
		vvfat.Driver(),
	}
	return formats.NewRegistry(append(append(drivers, null.Drivers()...), web.Drivers()...)...)
}
