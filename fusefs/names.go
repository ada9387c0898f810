package fusefs

import (
	"fmt"
	"strings"
	"syscall"

	"platter/formats/qerr"
)

// maxName is the longest file name, in bytes.
const maxName = 255

// escape makes a file name of any text: what cannot be part of one, or would upset a terminal, and the backslash,
// becomes \xNN as udev writes it. "" means that there is no such file name: the text is empty or too long.
func escape(s string) string {
	if s == "." || s == ".." {
		return strings.Repeat(`\x2e`, len(s))
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == 0x7f || c == '/' || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	if b.Len() > maxName {
		return ""
	}
	return b.String()
}

// given is the text that a user means by the file name of something new. EINVAL if escape would write the text in
// another way: the kernel would then know it under a name that no listing has.
func given(name string) (string, error) {
	text, err := plain(name)
	if err != nil || escape(text) != name {
		return "", qerr.New(syscall.EINVAL, "control characters, '/' and '\\' are written as \\xNN in names, nothing else is")
	}
	return text, nil
}

// plain undoes escape; EINVAL if a backslash begins nothing that escape writes.
func plain(name string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] != '\\' {
			b.WriteByte(name[i])
			continue
		}
		var c byte
		if n, err := fmt.Sscanf(name[i:min(i+4, len(name))], `\x%02x`, &c); n != 1 || err != nil || i+4 > len(name) {
			return "", syscall.EINVAL
		}
		b.WriteByte(c)
		i += 3
	}
	return b.String(), nil
}
