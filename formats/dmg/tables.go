package dmg

import (
	"encoding/base64"
	"encoding/binary"
	"strings"

	"platter/formats"
	"platter/formats/qerr"
)

// readTables reads the chunk tables: from the resource fork if there is one, as QEMU does, else from the property list.
func (l *loader) readTables(f formats.File, k koly) error {
	switch {
	case k.forkLen != 0:
		return l.readFork(f, k.forkOffset, k.forkLen)
	case k.plistSize != 0:
		return l.readPlist(f, k.plistOffset, k.plistSize)
	}
	return l.invalid("there is neither a resource fork nor a property list")
}

func (l *loader) read(f formats.File, off, n uint64) ([]byte, error) {
	p := make([]byte, n)
	if err := f.ReadAt(l.ctx, p, int64(off)); err != nil {
		return nil, qerr.Errno(qerr.Of(err), "Could not open '%s'", l.name)
	}
	return p, nil
}

// readFork reads the resources one after the other, each behind its length; the map that says what they are is not
// needed, as a table begins with its magic.
func (l *loader) readFork(f formats.File, off, n uint64) error {
	if n > maxTables || n < 16 {
		return l.invalid("a resource fork of %d bytes", n)
	}
	p, err := l.read(f, off, n)
	if err != nil {
		return err
	}
	be := binary.BigEndian
	start, length := uint64(be.Uint32(p)), uint64(be.Uint32(p[8:]))
	if length == 0 || start > n || length > n-start {
		return l.invalid("resource data at %d+%d in a fork of %d bytes", start, length, n)
	}
	for p = p[start : start+length]; len(p) > 0; {
		if len(p) < 4 {
			return l.invalid("a resource is cut off")
		}
		size := uint64(be.Uint32(p))
		if p = p[4:]; size == 0 || size > uint64(len(p)) {
			return l.invalid("a resource of %d bytes where there are %d", size, len(p))
		}
		if err := l.addTable(p[:size]); err != nil {
			return err
		}
		p = p[size:]
	}
	return nil
}

// readPlist goes through the property list from one tag to the next. Only data elements matter: those that are chunk
// tables begin with their magic.
func (l *loader) readPlist(f formats.File, off, n uint64) error {
	if n > maxTables {
		return l.invalid("a property list of %d bytes", n)
	}
	p, err := l.read(f, off, n)
	if err != nil {
		return err
	}
	for rest := string(p); ; {
		i := strings.IndexByte(rest, '<')
		if i < 0 {
			return nil
		}
		rest = rest[i:]
		if strings.HasPrefix(rest, "<data>") {
			if rest, err = l.dataElement(rest[len("<data>"):]); err != nil {
				return err
			}
			continue
		}
		if rest, err = l.skip(rest); err != nil {
			return err
		}
	}
}

// dataElement decodes what stands before the end tag.
func (l *loader) dataElement(rest string) (string, error) {
	text, rest, ok := strings.Cut(rest, "</data>")
	if !ok {
		return "", l.invalid("the property list ends within a data element")
	}
	table, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return "", l.invalid("a data element of the property list is not base64: %v", err)
	}
	return rest, l.addTable(table)
}

// skip passes over one tag, comment or declaration. Declarations other than the DOCTYPE line that Apple writes could
// define what is to be read, and are refused.
func (l *loader) skip(rest string) (string, error) {
	end := ">"
	switch {
	case strings.HasPrefix(rest, "<!--"):
		end = "-->"
	case strings.HasPrefix(rest, "<!DOCTYPE"):
		line, _, _ := strings.Cut(rest, ">")
		if strings.ContainsRune(line, '[') || strings.Contains(line[1:], "<") {
			return "", l.invalid("the property list has a document type of its own")
		}
	case strings.HasPrefix(rest, "<!"):
		return "", l.invalid("the property list has a declaration")
	}
	_, rest, ok := strings.Cut(rest, end)
	if !ok {
		return "", l.invalid("the property list ends within a tag")
	}
	return rest, nil
}
