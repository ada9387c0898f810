package option

import (
	"errors"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"

	"platter/formats/qerr"
	"platter/formats/qobj"
)

var schema = Schema{
	{Name: "text", Type: String, Help: "Any text"},
	{Name: "flag", Type: Bool, Default: "on"},
	{Name: "count", Type: Number, Help: "A count", Default: "0x10"},
	{Name: "bytes", Type: Size, Help: "A size", Default: "64k"},
}

func TestParse(t *testing.T) {
	v, err := schema.Parse("count=3,text=a,,b=c,noflag,id=x,count=0x20")
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Names(); !slices.Equal(got, []string{"count", "text", "flag"}) {
		t.Errorf("names in the order set: %q", got)
	}
	if v.Uint("count", 0) != 32 || v.String("text", "") != "a,b=c" || v.Bool("flag", true) {
		t.Errorf("got %v", v.given)
	}
	if raw, ok := v.Raw("count"); !ok || raw != "0x20" {
		t.Errorf("Raw: %q %v", raw, ok)
	}
	if _, ok := v.Raw("bytes"); ok || v.Has("bytes") {
		t.Error("a default counts as given")
	}
	if got := v.Dict(); got.Len() != 3 {
		t.Errorf("Dict: %q", got.Keys())
	}
	c := v.Clone()
	v.Delete("count")
	v.Delete("nothing")
	if v.Has("count") || v.Uint("count", 0) != 16 || c.Uint("count", 0) != 32 {
		t.Error("Delete must uncover the default and leave the clone alone")
	}
}

func TestDefaults(t *testing.T) {
	v, err := schema.Parse("")
	if err != nil {
		t.Fatal(err)
	}
	if v.Uint("bytes", 1) != 65536 || v.Uint("count", 1) != 16 || !v.Bool("flag", false) || v.String("bytes", "") != "64k" {
		t.Error("the schema's default goes before the caller's")
	}
	if v.String("text", "def") != "def" || v.Uint("other", 7) != 7 {
		t.Error("without a default in the schema the caller's counts")
	}
	var zero Values
	var none *Values
	if !zero.Bool("flag", true) || zero.Has("flag") || none.Has("flag") || none.Uint("count", 5) != 5 || none.Names() != nil {
		t.Error("zero and nil values are empty")
	}
	if v.Uint("flag", 3) != 3 || v.Bool("count", true) != true {
		t.Error("a getter of another type gives the caller's default")
	}
	if err := zero.Set(schema, "bytes", "1k"); err != nil || zero.Uint("bytes", 0) != 1024 || none.Clone() == nil {
		t.Errorf("Set on the zero value: %v", err)
	}
}

func TestSetKeepsOldOnError(t *testing.T) {
	v, _ := schema.Parse("bytes=1k")
	for name, value := range map[string]string{"bytes": "x", "flag": "2", "count": "", "other": "1"} {
		if err := v.Set(schema, name, value); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
	if v.Uint("bytes", 0) != 1024 || len(v.Names()) != 1 {
		t.Errorf("a refused value left its mark: %v", v.given)
	}
	err := v.Set(schema, "bytes", "x")
	if !strings.HasPrefix(qerr.Hint(err), "Optional suffix k, M, G, T, P or E means") {
		t.Errorf("hint: %q", qerr.Hint(err))
	}
}

func TestFromDict(t *testing.T) {
	d := qobj.NewDict()
	for k, val := range map[string]any{"text": "on", "flag": false, "count": 7, "bytes": uint64(math.MaxUint64), "rest": "x"} {
		d.Set(k, val)
	}
	v, err := FromDict(schema, d)
	if err != nil || v.Bool("flag", true) || v.Uint("count", 0) != 7 || v.Uint("bytes", 0) != math.MaxUint64 {
		t.Fatalf("got %v, %v", v, err)
	}
	if !slices.Equal(d.Keys(), []string{"rest"}) {
		t.Errorf("left %q", d.Keys())
	}
	for _, val := range []any{nil, qobj.NewDict(), qobj.List{}} {
		d.Set("count", val)
		if v, err := FromDict(schema, d); err != nil || v.Has("count") || d.Has("count") {
			t.Errorf("%v: %v, %v", val, v, err)
		}
	}
	d.Set("bytes", -5)
	if _, err := FromDict(schema, d); err == nil || err.Error() != "Value '-5' is out of range for parameter 'bytes'" {
		t.Errorf("got %v", err)
	}
}

func TestFormatLine(t *testing.T) {
	v, err := schema.Parse("bytes=1k,text=a,,b,count=0x2")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := FormatLine(schema, v), "text=a,,b flag=on count=2 bytes=1024"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := FormatLine(schema, nil), "flag=on count=0x10 bytes=64k"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestHelpText(t *testing.T) {
	s := Schema{{Name: "b.c", Help: "x"}, {Name: "b", Type: Bool}, {Name: "a_name_that_is_long", Type: Number, Help: "y"}}
	want := "Title:\n  a_name_that_is_long=<num> - y\n  b.c=<str>              - x\n  b=<bool (on/off)>\n"
	if got := s.HelpText("Title"); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := s.HelpText(""); got != strings.TrimPrefix(want, "Title:\n") {
		t.Errorf("got\n%s", got)
	}
	if got := (Schema{}).HelpText("Title"); got != "" {
		t.Errorf("an empty schema gives %q", got)
	}
}

func TestMerge(t *testing.T) {
	a := Schema{{Name: "x", Help: "first"}, {Name: "y"}}
	m := Merge(a, Schema{{Name: "x", Help: "second"}, {Name: "z"}, {Name: "z", Help: "again"}})
	if o, _ := m.Find("x"); len(m) != 3 || o.Help != "first" || m[2].Name != "z" || m[2].Help != "" {
		t.Errorf("got %v", m)
	}
	if len(a) != 2 || len(Merge(nil, nil)) != 0 {
		t.Error("Merge changed its argument")
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "1": 1, "1b": 1, "1k": 1 << 10, "2M": 2 << 20, "1g": 1 << 30, "1T": 1 << 40, "1P": 1 << 50, "15E": 15 << 60, "1.5G": 3 << 29,
		"0.7k": 717, " 1": 1, "+1": 1, "0x1f": 31, "18446744073709551615": math.MaxUint64, "010": 10, ".5k": 512, "1.": 1,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]error{
		"": syscall.EINVAL, "x": syscall.EINVAL, "1.5": syscall.EINVAL, "0x1k": syscall.EINVAL, "1 ": syscall.EINVAL, "-1k": syscall.EINVAL,
		"-1": syscall.ERANGE, "16E": syscall.ERANGE, "18446744073709551616": syscall.ERANGE, "0x10000000000000000": syscall.ERANGE,
	} {
		if _, err := ParseSize(text); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", text, err, want)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"1.5G", "0x1f", "-0", "+.5k", "99999999999999999999k", " 1", "1.99999999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err != nil && (n != 0 || !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ERANGE)) {
			t.Fatalf("%q: %d, %v", s, n, err)
		}
		if m, err2 := ParseSize(" " + s); m != n || err2 != err {
			t.Fatalf("a leading space changes %q from %d, %v to %d, %v", s, n, err, m, err2)
		}
	})
}

// FuzzParse checks that what was read prints as a list that reads the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"bytes=1.5k,text=a,,b,noflag", "count=-1", "id=x,flag", ",", "text=,flag=y", "help,?"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, _ = HasHelp(s), IsValidList(s)
		v, err := schema.Parse(s)
		if err != nil {
			if !errors.Is(err, syscall.EINVAL) {
				t.Fatalf("no kind: %v", err)
			}
			return
		}
		var list []string
		for _, name := range v.Names() {
			raw, _ := v.Raw(name)
			list = append(list, name+"="+strings.ReplaceAll(raw, ",", ",,"))
		}
		again, err := schema.Parse(strings.Join(list, ","))
		if err != nil || !slices.Equal(again.given, v.given) {
			t.Fatalf("%q: %v and then %v, %v", s, v.given, again, err)
		}
		from, err := FromDict(schema, v.Dict())
		if err != nil || FormatLine(schema, from) != FormatLine(schema, v) {
			t.Fatalf("%q: through a dictionary %v, %v", s, from, err)
		}
	})
}
