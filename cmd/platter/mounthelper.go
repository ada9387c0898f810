package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
)

// asHelper turns the arguments that mount(8) and umount(8) give to /sbin/mount.fuse.platter and
// /sbin/umount.fuse.platter, links to this program, into platter's own.
//
//	mount.fuse.platter SOURCE TARGET [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]
//	umount.fuse.platter TARGET [-nlfvr] [-N NAMESPACE] [-t TYPE]
func asHelper(argv0 string, args []string) []string {
	base := filepath.Base(argv0)
	if base != "mount.fuse.platter" && base != "umount.fuse.platter" {
		return args
	}
	var own, operands []string
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-o" && i+1 < len(args):
			i++
			own = append(own, "-o", args[i])
		case (a == "-t" || a == "-N") && i+1 < len(args):
			i++
		case strings.HasPrefix(a, "-") && len(a) > 1 && !strings.HasPrefix(a, "--"):
			if base == "umount.fuse.platter" && strings.Contains(a, "l") {
				own = append(own, "--lazy")
			}
		default:
			operands = append(operands, a)
		}
	}
	verb := "mount"
	if base == "umount.fuse.platter" {
		verb = "unmount"
	}
	return append(append(append([]string{verb}, own...), "--"), operands...)
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
