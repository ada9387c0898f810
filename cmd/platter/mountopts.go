package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"platter/chain"
	"platter/formats/qerr"
	"platter/fusefs"
)

// mountOptions is what -o of mount says.
type mountOptions struct {
	config   fusefs.Config
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
	return m
}

// parse reads a list of options. A comma in a value is doubled, as in all of platter's lists.
func (m *mountOptions) parse(list string) error {
	for _, o := range splitList(list) {
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

// ignored are the options that mount(8) and fstab(5) hand to every helper, and that mean nothing here or are always on.
var ignored = " rw defaults nosuid nodev noexec exec auto noauto user users owner group nouser nofail _netdev async relatime " +
	"atime noatime nodiratime diratime strictatime norelatime loud silent lazytime nolazytime default_permissions "

func (m *mountOptions) set(o string) error {
	name, value, given := strings.Cut(o, "=")
	switch name {
	case "":
	case "ro":
		m.config.ReadOnly = true
	case "allow_other":
		m.config.AllowOther = true
	case "nonempty":
		m.config.NonEmpty = true
	case "shrink":
		m.config.Shrink = true
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
		m.config.ReadOnly = true
	case "refs":
		return m.setRefs(value)
	case "overlay":
		m.overlay, m.scratch = true, value
	default:
		if strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-") || strings.HasPrefix(name, "comment") ||
			!given && strings.Contains(ignored, " "+name+" ") {
			return nil
		}
		return qerr.New(syscall.EINVAL, "Unknown mount option '%s'", o)
	}
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
