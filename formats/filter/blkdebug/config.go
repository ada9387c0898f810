package blkdebug

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

const (
	injectGroup   = "inject-error"
	setStateGroup = "set-state"
)

var groups = map[string]option.Schema{
	injectGroup: {
		{Name: "event", Type: option.String}, {Name: "state", Type: option.Number}, {Name: "iotype", Type: option.String},
		{Name: "errno", Type: option.Number}, {Name: "sector", Type: option.Number}, {Name: "once", Type: option.Bool},
		{Name: "immediately", Type: option.Bool},
	},
	setStateGroup: {
		{Name: "event", Type: option.String}, {Name: "state", Type: option.Number}, {Name: "new_state", Type: option.Number},
	},
}

// sections are the rules as they are written, by group.
type sections map[string][]*option.Values

// readRules reads the configuration file, then the runtime options.
func readRules(v *option.Values) (*ruleSet, error) {
	s := sections{}
	if name := v.String("config", ""); name != "" {
		f, err := os.Open(name)
		if err != nil {
			return nil, qerr.Errno(qerr.Of(err), "Could not read blkdebug config file")
		}
		defer f.Close()
		if err := s.readFile(f); err != nil {
			return nil, err
		}
	}
	for _, group := range []string{injectGroup, setStateGroup} {
		opts := v.Dict()
		if err := s.readOptions(group, opts.Extract(group+".")); err != nil {
			return nil, err
		}
	}
	return newRuleSet(s)
}

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 1 << 20

// readFile reads the form of QEMU's configuration files: [group] or [group "id"], then lines KEY = "VALUE".
func (s sections) readFile(r io.Reader) error {
	group, cur := "", (*option.Values)(nil)
	lines := bufio.NewScanner(io.LimitReader(r, maxConfig))
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		if head, ok := strings.CutPrefix(line, "["); ok {
			group, _, _ = strings.Cut(head, "]")
			group, _, _ = strings.Cut(group, " ")
			if groups[group] == nil {
				return qerr.New(syscall.EINVAL, "There is no option group '%s'", group)
			}
			cur = &option.Values{}
			s[group] = append(s[group], cur)
			continue
		}
		key, value := configLine(line)
		switch {
		case key == "":
			return qerr.New(syscall.EINVAL, "parse error")
		case cur == nil:
			return qerr.New(syscall.EINVAL, "no group defined")
		}
		if err := cur.Set(groups[group], key, value); err != nil {
			return err
		}
	}
	return lines.Err()
}

// configLine takes KEY = "VALUE" apart. What is not of that form is a key with an empty value.
func configLine(line string) (key, value string) {
	line = strings.TrimLeft(line, " \t")
	end := strings.IndexAny(line, " \t")
	if end < 0 {
		return line, ""
	}
	key, line = line[:end], strings.TrimLeft(line[end:], " \t")
	line, ok := strings.CutPrefix(line, "=")
	if !ok {
		return key, ""
	}
	line, ok = strings.CutPrefix(strings.TrimLeft(line, " \t"), `"`)
	if !ok {
		return key, ""
	}
	value, _, _ = strings.Cut(line, `"`)
	return key, value
}

// readOptions reads one rule, GROUP.KEY, or a list of them, GROUP.N.KEY with N from 0 on.
func (s sections) readOptions(group string, d *qobj.Dict) error {
	if d.Len() == 0 {
		return nil
	}
	size := d.Len()
	one, err := option.FromDict(groups[group], d)
	if err != nil {
		return err
	}
	if d.Len() < size {
		s[group] = append(s[group], one)
		return nil
	}
	for n := 0; ; n++ {
		if d.Has(strconv.Itoa(n)) {
			return qerr.New(syscall.EINVAL, "[%s] section (index %d) does not consist of keys", group, n)
		}
		section := d.Extract(strconv.Itoa(n) + ".")
		if section.Len() == 0 {
			break
		}
		v, err := option.FromDict(groups[group], section)
		if err != nil {
			return err
		}
		if section.Len() > 0 {
			return qerr.New(syscall.EINVAL, "[%s] section doesn't support the option '%s'", group, section.Keys()[0])
		}
		s[group] = append(s[group], v)
	}
	if d.Len() > 0 {
		return qerr.New(syscall.EINVAL, "Unused option '%s' for [%s]", d.Keys()[0], group)
	}
	return nil
}

// newRuleSet checks the rules and files them under their events.
func newRuleSet(s sections) (*ruleSet, error) {
	set := &ruleSet{}
	for _, group := range []string{injectGroup, setStateGroup} {
		for _, v := range s[group] {
			name, ok := v.Raw("event")
			if !ok {
				return nil, qerr.New(syscall.EINVAL, "Missing event name for rule")
			}
			event, ok := formats.ParseEvent(name)
			if !ok {
				return nil, qerr.New(syscall.EINVAL, "invalid parameter value: %s", name)
			}
			r, err := newRule(group, v)
			if err != nil {
				return nil, err
			}
			set.byEvent[event] = append([]*rule{r}, set.byEvent[event]...)
		}
	}
	return set, nil
}

func newRule(group string, v *option.Values) (*rule, error) {
	r := &rule{state: int(v.Uint("state", 0))}
	if group == setStateGroup {
		r.setsState, r.newState = true, int(v.Uint("new_state", 0))
		return r, nil
	}
	r.errno = syscall.Errno(uint32(v.Uint("errno", uint64(syscall.EIO))))
	r.once = v.Bool("once", false)
	r.off = -1
	if v.Has("sector") {
		r.off = int64(v.Uint("sector", 0)) * sectorSize
	}
	r.kinds = allKinds
	if name, ok := v.Raw("iotype"); ok {
		k, ok := parseKind(name)
		if !ok {
			return nil, qerr.New(syscall.EINVAL, "invalid parameter value: %s", name)
		}
		r.kinds = 1 << k
	}
	return r, nil
}
