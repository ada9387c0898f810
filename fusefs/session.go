package fusefs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"platter/formats/qerr"
	"platter/formats/qobj"
)

// session is the daemon's side of a socket, in the abstract namespace and named after the mount's device number, over
// which unmount learns whether the last flush succeeded and list asks for figures. A request is a line:
//
//	status   answered with one JSON object a line for each image
//	wait     answered with "waiting" at once, and when the images are closed with "ok" or the words of an error
//
// Only the user who mounted, and root, get an answer.
type session struct {
	mount    *Mount
	listener net.Listener
	mu       sync.Mutex
	waiting  []net.Conn
	ended    bool
}

// patience is how long a daemon may take to tell its figures, for which it waits for nothing.
const patience = 2 * time.Second

func socketName(device string) string { return "@platter/" + device }

// listenPatience is how long the name may still be that of a mount that ended, whose number the kernel gave to this one.
const listenPatience = 10 * time.Second

func listen(device string, m *Mount) (*session, error) {
	l, err := net.Listen("unix", socketName(device))
	for begun := time.Now(); errors.Is(err, syscall.EADDRINUSE) && time.Since(begun) < listenPatience; {
		time.Sleep(5 * time.Millisecond)
		l, err = net.Listen("unix", socketName(device))
	}
	if err != nil {
		return nil, err
	}
	s := &session{mount: m, listener: l}
	go s.serve()
	return s, nil
}

func (s *session) serve() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		go s.talk(c)
	}
}

func (s *session) talk(c net.Conn) {
	by, err := peer(c)
	if s.mount.isOver() || err != nil || by.Uid != 0 && int(by.Uid) != os.Geteuid() {
		c.Close()
		return
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		c.Close()
		return
	}
	switch strings.TrimSpace(line) {
	case "status":
		for _, img := range s.mount.images() {
			c.Write(append(qobj.AppendJSON(nil, img.dict(), false), '\n'))
		}
		c.Close()
	case "wait":
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ended {
			c.Close()
			return
		}
		io.WriteString(c, "waiting\n")
		s.waiting = append(s.waiting, c)
	default:
		c.Close()
	}
}

// end tells all who wait how it went.
func (s *session) end(err error) {
	s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	answer := "ok\n"
	if err != nil {
		answer = clean(qerr.Text(err)) + "\n"
	}
	for _, c := range s.waiting {
		io.WriteString(c, answer)
		c.Close()
	}
}

// peer is the process at the other end, and its user.
func peer(c net.Conn) (*unix.Ucred, error) {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var err2 error
	err = raw.Control(func(fd uintptr) { cred, err2 = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, err2); err != nil {
		return nil, err
	}
	return cred, nil
}

// dial connects to the daemon of a mount. It answers only if the one who listens is the one who mounted.
func (m Mounted) dial(request string) (net.Conn, *bufio.Reader, error) {
	c, err := net.Dial("unix", socketName(m.device))
	if err != nil {
		return nil, nil, err
	}
	if by, err := peer(c); err != nil || by.Uid != 0 && by.Uid != m.user {
		c.Close()
		return nil, nil, syscall.EPERM
	}
	if _, err := io.WriteString(c, request+"\n"); err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, bufio.NewReader(c), nil
}

// Status asks the daemon about its images: the content of stats.json of each. An error means that the daemon is gone,
// or belongs to somebody else.
func (m Mounted) Status() ([]*qobj.Dict, error) {
	c, r, err := m.dial("status")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	var list []*qobj.Dict
	for {
		line, err := r.ReadString('\n')
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		if err != nil {
			return list, nil
		}
		if v, err := qobj.ParseJSON(line); err == nil {
			if d, ok := v.(*qobj.Dict); ok {
				list = append(list, d)
			}
		}
	}
}

// wait asks the daemon to tell of its end. One that closes the connection at once is that of a former mount with the
// same number, which is about to go.
func (m Mounted) wait() (net.Conn, *bufio.Reader, error) {
	for try := 0; ; try++ {
		c, r, err := m.dial("wait")
		if err != nil {
			return nil, nil, err
		}
		if _, err = line(c, r); err == nil {
			return c, r, nil
		}
		c.Close()
		if try == 20 || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// line reads a line of the daemon's, however long that takes; os.ErrDeadlineExceeded if it was killed. The kernel may
// then still hold one of its threads, and with it the socket, while it waits for an answer that nobody will give.
func line(c net.Conn, r *bufio.Reader) (string, error) {
	for got := ""; ; {
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		part, err := r.ReadString('\n')
		if got += part; !errors.Is(err, os.ErrDeadlineExceeded) {
			return got, err
		}
		if by, e := peer(c); e != nil || killed(by.Pid) {
			return got, err
		}
	}
}

// abort ends a mount whose daemon was killed, and all calls that wait for it; detaching alone would leave these for ever.
func (m Mounted) abort() error {
	_, minor, _ := strings.Cut(m.device, ":")
	_ = os.WriteFile("/sys/fs/fuse/connections/"+minor+"/abort", []byte("1"), 0) // its owner may, where that is mounted
	return unix.Unmount(m.Mountpoint, unix.MNT_FORCE|unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
}

// killed reports whether a process has ended and was not waited for, as seen from the first of its threads.
func killed(pid int32) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	at := bytes.LastIndexByte(b, ')') // behind the name, which may have blanks
	return err == nil && at >= 0 && bytes.HasPrefix(b[at:], []byte(") Z"))
}

// Unmount unmounts and returns when the images are final on disk; the error may be that of their last flush. What is
// mounted on the directory must be this program's.
func Unmount(mountpoint string, lazily bool) error {
	m, ok := find(mountpoint)
	if !ok {
		return qerr.New(syscall.EINVAL, "'%s' is not a mount of platter", mountpoint)
	}
	c, r, err := m.wait()
	if err == nil {
		defer c.Close()
	}
	gone := err != nil
	if errors.Is(err, os.ErrDeadlineExceeded) && m.abort() == nil {
		return nil
	}
	if e := detach(m.Mountpoint, lazily || gone); e != nil {
		return withUsers(e, m.Mountpoint)
	}
	if gone || lazily {
		return nil
	}
	answer, err := line(c, r)
	if err != nil {
		return qerr.New(syscall.EIO, "The process that served '%s' ended without saying that the image is complete", mountpoint)
	}
	if answer = strings.TrimSpace(answer); answer != "ok" {
		return qerr.New(syscall.EIO, "%s", answer)
	}
	return nil
}
