package blkdebug

import (
	"strings"
	"syscall"
	"testing"

	"platter/formats"
	"platter/formats/option"
	"platter/formats/qobj"
)

// fromFile makes an image without a child, whose rules are written as in a configuration file.
func fromFile(t *testing.T, text string) *image {
	t.Helper()
	s := sections{}
	if err := s.readFile(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	rules, err := newRuleSet(s)
	if err != nil {
		t.Fatal(err)
	}
	return &image{rules: rules, state: 1}
}

func TestAnErrorIsInForceFromItsEventOn(t *testing.T) {
	d := fromFile(t, "[inject-error]\nevent = \"l2_load\"\nerrno = \"28\"\n")
	if err := d.check(reading, 0, 512); err != nil {
		t.Errorf("before the event: %v", err)
	}
	d.Event(formats.EventL2Load)
	for range 2 {
		if err := d.check(writing, 4096, 512); err != syscall.ENOSPC {
			t.Errorf("after the event: %v", err)
		}
	}
	d.Event(formats.EventRead)
	if err := d.check(reading, 0, 512); err != syscall.ENOSPC {
		t.Errorf("after an event without rules: %v", err)
	}
}

func TestOnceIsOneRequestForGood(t *testing.T) {
	d := fromFile(t, "[inject-error]\nevent = \"read_aio\"\nonce = \"on\"\n")
	for round, want := range []error{syscall.EIO, nil} {
		d.Event(formats.EventRead)
		if err := d.check(reading, 0, 512); err != want {
			t.Errorf("round %d: %v, want %v", round, err, want)
		}
		if err := d.check(reading, 0, 512); err != nil {
			t.Errorf("round %d, second request: %v", round, err)
		}
	}
}

func TestStatesChooseRules(t *testing.T) {
	d := fromFile(t, `# the second write fails
[set-state]
event = "write_aio"
state = "1"
new_state = "2"
[inject-error]
event = "write_aio"
state = "2"
`)
	d.Event(formats.EventWrite)
	if err := d.check(writing, 0, 512); err != nil {
		t.Errorf("in state 1: %v", err)
	}
	d.Event(formats.EventWrite)
	if err := d.check(writing, 0, 512); err != syscall.EIO {
		t.Errorf("in state 2: %v", err)
	}
}

func TestKindAndSectorChooseRequests(t *testing.T) {
	d := fromFile(t, "[inject-error]\nevent = \"none\"\niotype = \"write\"\nsector = \"8\"\n")
	d.Event(formats.EventNone)
	for _, c := range []struct {
		k      kind
		off, n int64
		fails  bool
	}{{writing, 4096, 512, true}, {writing, 0, 8192, true}, {writing, 0, 4096, false}, {writing, 4608, 512, false},
		{reading, 4096, 512, false}, {flushing, 0, 0, false}} {
		if err := d.check(c.k, c.off, c.n); (err != nil) != c.fails {
			t.Errorf("%s of %d at %d: %v", kindNames[c.k], c.n, c.off, err)
		}
	}
	d = fromFile(t, "[inject-error]\nevent = \"none\"\n")
	d.Event(formats.EventNone)
	if d.check(flushing, 0, 0) == nil || d.check(asking, 0, 512) != nil {
		t.Error("without iotype flushes fail, and questions for the status do not")
	}
}

func TestConfigurationFilesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"[nosuch]\n":                                "There is no option group 'nosuch'",
		"event = \"none\"\n":                        "no group defined",
		"[inject-error]\nnosuch = \"1\"\n":          "Invalid parameter 'nosuch'",
		"[inject-error]\nerrno = \"x\"\n":           "Parameter 'errno' expects a number",
		"[inject-error]\nevent\n":                   "invalid parameter value: ",
		"[set-state]\nstate = \"1\"\n":              "Missing event name for rule",
		"[inject-error]\nevent = \"none\"\n   \t\n": "parse error",
	} {
		s := sections{}
		err := s.readFile(strings.NewReader(text))
		if err == nil {
			_, err = newRuleSet(s)
		}
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestLongZeroesAreSplit(t *testing.T) {
	var got []int64
	if err := split(0, 10000, 4096, func(_, n int64) error { got = append(got, n); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[2] != 10000-8192 {
		t.Errorf("pieces %v", got)
	}
}

// FuzzRules: what a user writes makes rules or an error.
func FuzzRules(f *testing.F) {
	f.Add("[inject-error]\nevent = \"none\"\n", "inject-error.0.event=none")
	f.Fuzz(func(t *testing.T, text, opts string) {
		s := sections{}
		if s.readFile(strings.NewReader(text)) == nil {
			_, _ = newRuleSet(s)
		}
		d, err := qobj.ParseKeyval(opts, "")
		if err != nil {
			return
		}
		d.Flatten()
		if v, err := option.FromDict(openOpts, d); err == nil && v.String("config", "") == "" {
			_, _ = readRules(v)
		}
	})
}
