package qerr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
)

// Error is a message for the user together with the errno that code and the kernel see.
type Error struct {
	// Msg is the complete message, without program name and without a final newline.
	Msg string
	// Errno is the kind; 0 when the maker of the error knew none (Of then asks Cause, and falls back to EIO).
	Errno syscall.Errno
	// HintText is printed after the message as it is; it carries its own newlines.
	HintText string
	// Cause is the error that this one was made from, or nil.
	Cause error
}

// Error returns the message alone; the hint is had through Hint.
func (e *Error) Error() string { return e.Msg }

// Unwrap returns the cause, so that errors.Is and errors.As see through a prepended text.
func (e *Error) Unwrap() error { return e.Cause }

// Is matches the carried errno: against another errno, and against fs.ErrNotExist, fs.ErrExist, fs.ErrPermission and
// errors.ErrUnsupported as syscall.Errno itself does.
func (e *Error) Is(target error) bool {
	if e.Errno == 0 {
		return false
	}
	if t, ok := target.(syscall.Errno); ok {
		return t == e.Errno
	}
	return e.Errno.Is(target)
}

// New makes an error whose message is the formatted text alone; errno is carried and not printed.
// An error among the arguments becomes the cause.
func New(errno syscall.Errno, format string, a ...any) error {
	return &Error{Msg: fmt.Sprintf(format, a...), Errno: errno, Cause: causeIn(a)}
}

// Errno makes an error whose message is the formatted text, a colon, a space, and the errno's text. With errno 0 the
// text stands alone.
func Errno(errno syscall.Errno, format string, a ...any) error {
	e := &Error{Msg: fmt.Sprintf(format, a...), Errno: errno, Cause: causeIn(a)}
	if errno != 0 {
		e.Msg += ": " + Strerror(errno)
	}
	return e
}

func causeIn(a []any) error {
	for _, v := range a {
		if err, ok := v.(error); ok {
			if _, isErrno := err.(syscall.Errno); !isErrno {
				return err
			}
		}
	}
	return nil
}

// Prepend puts the formatted text, unchanged, before err's message ("file: " carries its own colon and space), and
// keeps its errno and hint. A nil err stays nil.
func Prepend(err error, format string, a ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Msg: fmt.Sprintf(format, a...) + Text(err), Errno: Of(err), HintText: Hint(err), Cause: err}
}

// WithHint adds hint to err's hint. The hint is printed as it is, so it ends in a newline. A nil err stays nil.
func WithHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &Error{Msg: Text(err), Errno: Of(err), HintText: Hint(err) + hint, Cause: err}
}

// Hint returns the hint of err, or "".
func Hint(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.HintText
	}
	return ""
}

// Text returns the words for err: its message, except that what comes from the operating system (a bare errno, or an
// errno with Go's operation and path around it) gives glibc's text alone.
func Text(err error) string {
	switch e := err.(type) {
	case nil:
		return ""
	case syscall.Errno:
		return Strerror(e)
	case *fs.PathError, *os.LinkError, *os.SyscallError:
		if n := known(err); n != 0 {
			return Strerror(n)
		}
	case interface{ Unwrap() []error }:
		return joined(err, e.Unwrap())
	}
	return err.Error()
}

// joined is the text of what errors.Join made of parts, each on a line of its own; what two of them say is said once.
func joined(err error, parts []error) string {
	var plain, words []string
	for _, part := range parts {
		plain = append(plain, part.Error())
		if s := Text(part); !slices.Contains(words, s) {
			words = append(words, s)
		}
	}
	if err.Error() != strings.Join(plain, "\n") { // fmt.Errorf made it, which has words of its own
		return err.Error()
	}
	return strings.Join(words, "\n")
}

// sentinels gives an errno to the errors of the standard library that carry none; the first match counts.
var sentinels = []struct {
	err   error
	errno syscall.Errno
}{
	{context.Canceled, syscall.EINTR},
	{context.DeadlineExceeded, syscall.ETIMEDOUT},
	{os.ErrDeadlineExceeded, syscall.ETIMEDOUT},
	{io.ErrUnexpectedEOF, syscall.EIO},
	{io.ErrShortWrite, syscall.EIO},
	{io.EOF, syscall.EIO},
	{fs.ErrNotExist, syscall.ENOENT},
	{fs.ErrExist, syscall.EEXIST},
	{fs.ErrPermission, syscall.EACCES},
	{fs.ErrClosed, syscall.EBADF},
	{fs.ErrInvalid, syscall.EINVAL},
	{errors.ErrUnsupported, syscall.ENOTSUP},
}

// Of returns the errno that stands for err: 0 for nil, the outermost carried errno, that of a known error of the
// standard library, and otherwise EIO.
func Of(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if n := known(err); n != 0 {
		return n
	}
	return syscall.EIO
}

// known is Of without its last resort.
func known(err error) syscall.Errno {
	if n := carried(err); n != 0 {
		return n
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return s.errno
		}
	}
	return 0
}

// carried finds the outermost errno in err's tree, depth first as errors.As goes, passing over Errors that carry none.
func carried(err error) syscall.Errno {
	switch e := err.(type) {
	case *Error:
		if e.Errno != 0 {
			return e.Errno
		}
	case syscall.Errno:
		return e
	}
	switch u := err.(type) {
	case interface{ Unwrap() error }:
		if inner := u.Unwrap(); inner != nil {
			return carried(inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range u.Unwrap() {
			if n := carried(inner); n != 0 {
				return n
			}
		}
	}
	return 0
}
