package file

import (
	"strings"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qobj"
)

var openOpts = option.Schema{
	{Name: "filename", Type: option.String, Help: "File name of the image"},
	{Name: "aio", Type: option.String, Help: "host AIO implementation (threads, native, io_uring)"},
	{Name: "aio-max-batch", Type: option.Number, Help: "AIO max batch size (0 = auto handled by AIO backend, default: 0)"},
	{Name: "locking", Type: option.String, Help: "file locking mode (on/off/auto, default: auto)"},
	{Name: "pr-manager", Type: option.String, Help: "id of persistent reservation manager object (default: none)"},
	{Name: "drop-cache", Type: option.Bool, Help: "invalidate page cache during live migration (default: on)"},
	{Name: "x-check-cache-dropped", Type: option.Bool, Help: "check that page cache was dropped on live migration (default: off)"},
}

// Driver is the protocol for regular files.
func Driver() *formats.Driver {
	return &formats.Driver{
		Name: "file", Kind: formats.Protocol, Schemes: []string{"file"},
		OpenOpts: openOpts, CreateOpts: createOpts, StrongOpts: []string{"filename"},
		ParseName: stripPrefix("file:"), Open: open, Create: create, Delete: remove,
	}
}

// DeviceDriver is the protocol for block devices.
func DeviceDriver() *formats.Driver {
	return &formats.Driver{
		Name: "host_device", Kind: formats.Protocol, Schemes: []string{"host_device"},
		OpenOpts: openOpts, CreateOpts: deviceCreateOpts, StrongOpts: []string{"filename"},
		ParseName: stripPrefix("host_device:"), Open: openDevice,
	}
}

// CDROMDriver is the protocol for CD-ROM drives: of a disc that is in, no more is asked than of another block device.
func CDROMDriver() *formats.Driver {
	return &formats.Driver{
		Name: "host_cdrom", Kind: formats.Protocol, Schemes: []string{"host_cdrom"},
		OpenOpts: openOpts, CreateOpts: deviceCreateOpts, StrongOpts: []string{"filename"},
		ParseName: stripPrefix("host_cdrom:"), Open: openCDROM,
	}
}

func stripPrefix(prefix string) func(string, *qobj.Dict) error {
	return func(name string, into *qobj.Dict) error {
		into.Set("filename", strings.TrimPrefix(name, prefix))
		return nil
	}
}
