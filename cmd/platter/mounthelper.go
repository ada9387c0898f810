package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"platter/chain"
	"platter/formats/qerr"
	"platter/tools"
)

// helperFlags are what mount(8) asks of a helper by letters that platter's own options do not have.
type helperFlags struct {
	fake    bool   // -f: do all but the mount
	sloppy  bool   // -s: take options that are not known
	inside  string // -N: a file that stands for the mount namespace to be in
	rebuilt []string
}

// asHelper turns the arguments that mount(8) and umount(8) give to /sbin/mount.fuse.platter and
// /sbin/umount.fuse.platter, links to this program, into platter's own.
//
//	mount.fuse.platter SOURCE TARGET [-sfnvrw] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]
//	umount.fuse.platter TARGET [-nlfvr] [-N NAMESPACE] [-t TYPE]
//
// -n (no mtab) and -v ask for nothing that there is. Nor do umount's -f and -r: a daemon that is gone never keeps
// umount from its work, and what is busy cannot be made read-only.
func (e *env) asHelper(argv0 string, args []string) []string {
	name := filepath.Base(argv0)
	if name != "mount.fuse.platter" && name != "umount.fuse.platter" {
		return args
	}
	var own, operands []string
	for i := 0; i < len(args); i++ {
		a := args[i]
		valued := (a == "-o" || a == "-t" || a == "-N") && i+1 < len(args)
		switch {
		case valued && a == "-o":
			own = append(own, "-o", args[i+1])
		case valued && a == "-N":
			e.helper.inside = args[i+1]
			e.helper.rebuilt = slices.Delete(slices.Clone(args), i, i+2)
		case valued:
		case strings.HasPrefix(a, "-") && len(a) > 1 && !strings.HasPrefix(a, "--"):
			own = append(own, e.helperLetters(name, a[1:])...)
		default:
			operands = append(operands, a)
		}
		if valued {
			i++
		}
	}
	verb := "mount"
	if name == "umount.fuse.platter" {
		verb = "unmount"
	}
	return append(append(append([]string{verb}, own...), "--"), operands...)
}

// helperLetters gives platter's own options for letters of mount(8) or umount(8).
func (e *env) helperLetters(name, letters string) []string {
	var own []string
	for _, c := range letters {
		switch {
		case name == "umount.fuse.platter" && c == 'l':
			own = append(own, "--lazy")
		case name == "umount.fuse.platter":
		case c == 'f':
			e.helper.fake = true
		case c == 's':
			e.helper.sloppy = true
		case c == 'r':
			own = append(own, "-o", "ro")
		case c == 'w':
			own = append(own, "-o", "rw")
		}
	}
	return own
}

// enterNamespace starts the program again in the mount namespace that mount(8) was told of, which a process with several
// threads cannot change to.
func (e *env) enterNamespace(argv0 string) error {
	refuse := func(err error) error {
		return qerr.Prepend(err, "Could not enter the mount namespace '%s': ", e.helper.inside)
	}
	ns, err := os.Open(e.helper.inside)
	if err != nil {
		return refuse(err)
	}
	defer ns.Close()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return refuse(err)
	}
	defer self.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err = unix.Unshare(unix.CLONE_FS); err == nil {
		err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS)
	}
	if err != nil {
		return refuse(err)
	}
	unix.FcntlInt(self.Fd(), unix.F_SETFD, 0)
	return refuse(unix.Exec("/proc/self/fd/"+strconv.Itoa(int(self.Fd())), append([]string{argv0}, e.helper.rebuilt...), os.Environ()))
}

// rehearse does what can be done of a mount without mounting: all options are looked at, each image is opened for
// reading, without a lock, since it may be mounted already.
func (e *env) rehearse(ctx context.Context, o *mountOptions, images []string, imageOpts bool) error {
	dry, env := *o, e.tools()
	dry.overlay, dry.config.ReadOnly = false, true
	env.Gate = chain.Gate{Refs: o.refs}
	for _, name := range images {
		if st, err := os.Stat(name); err == nil && st.IsDir() && !imageOpts && env.BundleFile(name) == "" {
			continue
		}
		n, err := openForMount(ctx, env, tools.Source{Filename: name, ImageOpts: imageOpts, Format: o.format, ForceShare: true}, &dry)
		if err != nil {
			return err
		}
		if err := n.Close(); err != nil {
			return err
		}
	}
	st, err := os.Stat(o.config.Mountpoint)
	if err == nil && !st.IsDir() {
		err = syscall.ENOTDIR
	}
	return qerr.Prepend(err, "Could not mount on '%s': ", o.config.Mountpoint)
}

// notifySystemd tells a service manager that started us in the foreground that the tree answers (sd_notify(3)).
func (e *env) notifySystemd() {
	name, ok := e.getenv("NOTIFY_SOCKET")
	if !ok || name == "" {
		return
	}
	c, err := net.Dial("unixgram", name)
	if err != nil {
		return
	}
	defer c.Close()
	c.Write([]byte("READY=1"))
	os.Unsetenv("NOTIFY_SOCKET")
}
