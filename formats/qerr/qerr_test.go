package qerr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestNew(t *testing.T) {
	err := New(syscall.ENOSPC, "No room in '%s'", "x")
	if err.Error() != "No room in 'x'" || !errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO) || Of(err) != syscall.ENOSPC {
		t.Errorf("%v, %v", err, Of(err))
	}
	cause := errors.New("deep")
	if err := New(0, "outer: %v", cause); !errors.Is(err, cause) || Of(err) != syscall.EIO {
		t.Errorf("an error among the arguments is the cause: %v %v", err, Of(err))
	}
}

func TestErrno(t *testing.T) {
	if got := Errno(syscall.ENOENT, "Could not open '%s'", "a").Error(); got != "Could not open 'a': No such file or directory" {
		t.Errorf("got %s", got)
	}
	if got := Errno(0, "plain").Error(); got != "plain" {
		t.Errorf("got %s", got)
	}
	if err := Errno(syscall.EIO, "%v", syscall.EINVAL); errors.Is(err, syscall.EINVAL) {
		t.Error("an errno among the arguments is text, not the cause")
	}
}

func TestPrepend(t *testing.T) {
	inner := WithHint(Errno(syscall.EACCES, "Could not open"), "Try root\n")
	err := Prepend(inner, "file %d: ", 1)
	if err.Error() != "file 1: Could not open: Permission denied" || Of(err) != syscall.EACCES || Hint(err) != "Try root\n" {
		t.Errorf("%v, %v, %q", err, Of(err), Hint(err))
	}
	if !errors.Is(err, inner) || !errors.Is(err, fs.ErrPermission) {
		t.Error("the cause is lost")
	}
	if Prepend(nil, "x") != nil || WithHint(nil, "x") != nil {
		t.Error("nil stays nil")
	}
	_, open := os.Open(t.TempDir() + "/none")
	if got := Prepend(open, "a: ").Error(); got != "a: No such file or directory" {
		t.Errorf("an error of the system comes in glibc's words: %s", got)
	}
}

func TestHint(t *testing.T) {
	err := WithHint(WithHint(New(0, "m"), "one\n"), "two\n")
	if err.Error() != "m" || Hint(err) != "one\ntwo\n" || Hint(fmt.Errorf("w: %w", err)) != "one\ntwo\n" {
		t.Errorf("%v %q", err, Hint(err))
	}
	if Hint(nil) != "" || Hint(io.EOF) != "" {
		t.Error("no hint is empty")
	}
}

func TestIsFollowsErrnoGroups(t *testing.T) {
	for _, c := range []struct {
		errno  syscall.Errno
		target error
	}{
		{syscall.ENOENT, fs.ErrNotExist}, {syscall.EEXIST, fs.ErrExist}, {syscall.ENOTEMPTY, fs.ErrExist},
		{syscall.EPERM, fs.ErrPermission}, {syscall.EACCES, fs.ErrPermission}, {syscall.ENOTSUP, errors.ErrUnsupported},
	} {
		if err := New(c.errno, "x"); !errors.Is(err, c.target) || errors.Is(err, io.EOF) {
			t.Errorf("%v is not %v", c.errno, c.target)
		}
	}
	if errors.Is(New(0, "x"), syscall.Errno(0)) {
		t.Error("an error without errno matches errno 0")
	}
}

func TestOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{nil, 0}, {syscall.ENOSPC, syscall.ENOSPC}, {&fs.PathError{Op: "open", Path: "x", Err: syscall.EMFILE}, syscall.EMFILE},
		{context.Canceled, syscall.EINTR}, {context.DeadlineExceeded, syscall.ETIMEDOUT}, {io.ErrUnexpectedEOF, syscall.EIO},
		{fs.ErrNotExist, syscall.ENOENT}, {fs.ErrClosed, syscall.EBADF}, {errors.ErrUnsupported, syscall.ENOTSUP},
		{errors.New("any"), syscall.EIO}, {fmt.Errorf("w: %w", New(syscall.EROFS, "x")), syscall.EROFS},
		{errors.Join(errors.New("a"), New(syscall.EBUSY, "b")), syscall.EBUSY}, {New(0, "x: %v", syscall.EINVAL), syscall.EIO},
		{New(0, "x: %v", New(syscall.ESTALE, "y")), syscall.ESTALE}, {New(syscall.EIO, "x: %v", fs.ErrNotExist), syscall.EIO},
		{os.NewSyscallError("ioctl", syscall.ENOTTY), syscall.ENOTTY},
	} {
		if got := Of(c.err); got != c.want {
			t.Errorf("Of(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}

func TestText(t *testing.T) {
	for want, err := range map[string]error{
		"": nil, "No space left on device": syscall.ENOSPC, "Is a directory": &fs.PathError{Op: "read", Path: "x", Err: syscall.EISDIR},
		"m": New(syscall.EIO, "m"), "w: m": fmt.Errorf("w: %w", New(syscall.EIO, "m")),
		"Bad file descriptor":    &fs.PathError{Op: "read", Path: "x", Err: fs.ErrClosed},
		"No such device\nm":      errors.Join(syscall.ENODEV, nil, New(syscall.EIO, "m"), syscall.ENODEV),
		"w: bad file descriptor": fmt.Errorf("%w: %w", errors.New("w"), syscall.EBADF),
		"read x: odd":            &fs.PathError{Op: "read", Path: "x", Err: errors.New("odd")},
	} {
		if got := Text(err); got != want {
			t.Errorf("Text(%v) = %q, want %q", err, got, want)
		}
	}
}

// TestStrerror checks against glibc's words and against Go's own table, which is glibc's with another first letter and ends
// before the last.
func TestStrerror(t *testing.T) {
	for e, want := range map[syscall.Errno]string{
		0: "Success", syscall.EPERM: "Operation not permitted", syscall.ENOENT: "No such file or directory", syscall.EIO: "Input/output error",
		syscall.EINVAL: "Invalid argument", syscall.ENOTSUP: "Operation not supported", 133: "Memory page has hardware error",
		41: "Unknown error 41", 58: "Unknown error 58", 134: "Unknown error 134", 100000: "Unknown error 100000",
	} {
		if got := Strerror(e); got != want {
			t.Errorf("%d: %q, want %q", e, got, want)
		}
	}
	for e := syscall.Errno(1); e < 133; e++ {
		if e == 41 || e == 58 {
			continue
		}
		if got := Strerror(e); !strings.EqualFold(got, e.Error()) {
			t.Errorf("%d: %q, Go says %q", e, got, e.Error())
		}
	}
}
