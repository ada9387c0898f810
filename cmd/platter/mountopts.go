package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"platter/chain"
	"platter/formats/qerr"
	"platter/fusefs"
)

// mountOptions is what -o of mount says.
type mountOptions struct {
	config   fusefs.Config
	readOnly bool // the last of ro and rw
	sloppy   bool // unknown options are no error
	format   string
	snapshot string
	refs     chain.Refs
	overlay  bool
	scratch  string // file of the overlay; "" makes a temporary one
}

func newMountOptions() *mountOptions {
	m := &mountOptions{refs: chain.RefsFile}
	m.config.UID, m.config.GID = uint32(os.Getuid()), uint32(os.Getgid())
	m.config.Umask, m.config.Idle = 0o077, 30*time.Second
	m.config.Flags = unix.MS_NOSUID | unix.MS_NODEV
	return m
}

// parse reads a list of options. A comma in a value is doubled, as in all of platter's lists.
func (m *mountOptions) parse(list string) error {
	all := splitList(list)
	// mount(8) hands over all that /proc/self/mountinfo says of the mount as well, before or behind it.
	if slices.Contains(all, "remount") {
		return qerr.New(syscall.EINVAL, "The options of a mount cannot be changed: unmount it ('platter unmount'), and mount it again with those wanted")
	}
	for _, o := range all {
		if err := m.set(o); err != nil {
			return err
		}
	}
	return nil
}

// splitList cuts at single commas and turns double ones into one.
func splitList(s string) []string {
	var all []string
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != ',':
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == ',':
			b.WriteByte(',')
			i++
		default:
			all = append(all, b.String())
			b.Reset()
		}
	}
	return append(all, b.String())
}

// ignored are the options that mount(8) and fstab(5) hand to every helper, and that mean nothing to a mount.
const ignored = " defaults auto noauto user users owner group nouser nofail _netdev loud silent lazytime nolazytime default_permissions "

// generic are the options that mount(2) knows for every file system: what they set, and what they take back.
var generic = map[string]struct{ set, clear uintptr }{
	"sync": {set: unix.MS_SYNCHRONOUS}, "async": {clear: unix.MS_SYNCHRONOUS}, "dirsync": {set: unix.MS_DIRSYNC},
	"noexec": {set: unix.MS_NOEXEC}, "exec": {clear: unix.MS_NOEXEC},
	"nosuid": {set: unix.MS_NOSUID}, "suid": {clear: unix.MS_NOSUID}, "nodev": {set: unix.MS_NODEV}, "dev": {clear: unix.MS_NODEV},
	"noatime": {unix.MS_NOATIME, unix.MS_RELATIME | unix.MS_STRICTATIME}, "atime": {clear: unix.MS_NOATIME},
	"relatime": {unix.MS_RELATIME, unix.MS_NOATIME | unix.MS_STRICTATIME}, "norelatime": {clear: unix.MS_RELATIME},
	"strictatime": {unix.MS_STRICTATIME, unix.MS_NOATIME | unix.MS_RELATIME}, "nostrictatime": {clear: unix.MS_STRICTATIME},
	"nodiratime": {set: unix.MS_NODIRATIME}, "diratime": {clear: unix.MS_NODIRATIME},
}

// set understands one option.
func (m *mountOptions) set(o string) error {
	name, value, given := strings.Cut(o, "=")
	if strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-") || strings.HasPrefix(name, "comment") {
		return nil
	}
	switch name {
	case "overlay":
		if given && value == "" {
			return qerr.New(syscall.EINVAL, "Mount option 'overlay=' expects the name of a file; without '=' the overlay is temporary")
		}
		m.overlay, m.scratch = true, value
		return nil
	case "uid", "gid", "umask", "idle", "format", "snapshot", "refs":
		if value == "" {
			return qerr.New(syscall.EINVAL, "Mount option '%s' expects a value: %s=VALUE", name, name)
		}
		return m.setValue(name, value)
	}
	return m.setFlag(name, o, given)
}

// setValue understands an option that has a value.
func (m *mountOptions) setValue(name, value string) error {
	switch name {
	case "uid":
		return number(name, value, 10, &m.config.UID)
	case "gid":
		return number(name, value, 10, &m.config.GID)
	case "umask":
		return number(name, value, 8, &m.config.Umask)
	case "idle":
		var n uint32
		err := number(name, value, 10, &n)
		m.config.Idle = time.Duration(n) * time.Second
		return err
	case "format":
		m.format = value
	case "snapshot":
		m.snapshot = value
	case "refs":
		return m.setRefs(value)
	}
	return nil
}

// setFlag understands an option without a value; o is the whole of what was given.
func (m *mountOptions) setFlag(name, o string, given bool) error {
	var flag *bool
	switch name {
	case "ro", "rw":
		flag = &m.readOnly
	case "allow_other":
		flag = &m.config.AllowOther
	case "nonempty":
		flag = &m.config.NonEmpty
	case "shrink":
		flag = &m.config.Shrink
	}
	g, known := generic[name]
	switch {
	case !known && flag == nil && name != "" && !strings.Contains(ignored, " "+name+" "):
		if m.sloppy {
			return nil
		}
		return qerr.New(syscall.EINVAL, "Unknown mount option '%s'", o)
	case given:
		return qerr.New(syscall.EINVAL, "Mount option '%s' takes no value, and got '%s'", name, o)
	case flag != nil:
		*flag = name != "rw"
	case (name == "suid" || name == "dev") && os.Geteuid() != 0:
		return qerr.New(syscall.EPERM, "Mount option '%s' is for root only", name)
	}
	m.config.Flags = m.config.Flags&^g.clear | g.set
	return nil
}

func number(name, value string, base int, to *uint32) error {
	n, err := strconv.ParseUint(value, base, 32)
	if err != nil {
		return qerr.New(syscall.EINVAL, "Mount option '%s' expects a number, not '%s'", name, value)
	}
	*to = uint32(n)
	return nil
}

func (m *mountOptions) setRefs(value string) error {
	modes := map[string]chain.Refs{"any": chain.RefsAny, "file": chain.RefsFile, "samedir": chain.RefsSameDir, "none": chain.RefsNone}
	r, ok := modes[value]
	if !ok {
		return qerr.New(syscall.EINVAL, "Mount option 'refs' expects any, file, samedir or none, not '%s'", value)
	}
	m.refs = r
	return nil
}
