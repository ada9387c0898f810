package parentpath

import (
	"path/filepath"
	"strings"
	"syscall"

	"platter/formats/qerr"
)

// Local turns a Windows path into one of this system; a drive letter is cut off.
func Local(s string) string {
	s = strings.ReplaceAll(s, `\`, "/")
	if len(s) > 1 && s[1] == ':' {
		s = s[2:]
	}
	return s
}

// Windows gives the paths under which a new image names its parent: relative to the image's directory, and absolute, ""
// where the parent has none. image and parent are file names as the user sees them; they must be in places of one kind.
func Windows(image, parent string) (relative, absolute string, err error) {
	from, image := split(image)
	to, parent := split(parent)
	if from != to {
		return "", "", qerr.New(syscall.ENOTSUP, "'%s%s' is not a file beside the new image, which can name it by a path only", to, parent)
	}
	if strings.Contains(parent, `\`) {
		return "", "", qerr.New(syscall.EINVAL, "The backing file name '%s' contains a backslash, which separates folders in this format", parent)
	}
	if to == "" {
		if image, err = filepath.Abs(image); err == nil {
			parent, err = filepath.Abs(parent)
		}
		if err != nil {
			return "", "", err
		}
		absolute = strings.ReplaceAll(parent, "/", `\`)
	}
	rel, err := filepath.Rel(filepath.Dir(image), parent)
	if err != nil {
		return "", "", err
	}
	if strings.Contains(rel, `\`) { // a folder on the way
		return "", "", qerr.New(syscall.EINVAL, "The path '%s' contains a backslash, which separates folders in this format", rel)
	}
	if rel = strings.ReplaceAll(rel, "/", `\`); !strings.HasPrefix(rel, `..\`) {
		rel = `.\` + rel
	}
	return rel, absolute, nil
}

// split cuts off a "protocol:" prefix; a plain file's is none.
func split(name string) (prefix, path string) {
	if i := strings.IndexAny(name, ":/"); i >= 0 && name[i] == ':' {
		prefix, path = name[:i+1], name[i+1:]
	} else {
		return "", name
	}
	if prefix == "file:" {
		prefix = ""
	}
	return prefix, path
}
