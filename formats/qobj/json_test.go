package qobj

import (
	"errors"
	"math"
	"strings"
	"syscall"
	"testing"
)

func TestParseJSON(t *testing.T) {
	for text, want := range map[string]any{
		"null": nil, " true\n": true, "false": false, "0": int64(0), "-0": int64(0), "12": int64(12), "-5": int64(-5),
		"9223372036854775807": int64(math.MaxInt64), "9223372036854775808": uint64(1 << 63),
		"18446744073709551615": uint64(math.MaxUint64), "18446744073709551616": float64(1 << 64),
		"-9223372036854775808": int64(math.MinInt64), "-9223372036854775809": float64(math.MinInt64),
		"1.5": 1.5, "1e3": 1000.0, "1E-2": 0.01, "1e999": math.Inf(1), `""`: "", `'a"b'`: `a"b`, `"it's"`: "it's",
		`"\"\'\\\/\b\f\n\r\t"`: "\"'\\/\b\f\n\r\t", `"\u0041\u00e4\u20ac\ud83d\ude00"`: "Aä€😀", `"\u0000"`: "\xc0\x80",
		`"ä"`: "ä", "[]": List{}, "[1, [2]]": List{1, List{2}}, "{}": dict(),
		"{'a': {\"b\": [null]},\t\"c\":1}": dict("a", dict("b", List{nil}), "c", 1),
	} {
		got, err := ParseJSON(text)
		if err != nil || !Equal(got, want) {
			t.Errorf("%s: got %T %v, %v", text, got, got, err)
		}
	}
}

func TestParseJSONErrorKind(t *testing.T) {
	for _, text := range []string{"", "{", "{} {}", "$", `"\u"`} {
		if _, err := ParseJSON(text); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseJSONLimits(t *testing.T) {
	for want, text := range map[string]string{
		"JSON nesting depth limit exceeded": strings.Repeat("[", 1025),
		"JSON token count limit exceeded":   "[" + strings.Repeat("1,", 1<<20),
	} {
		if _, err := ParseJSON(text); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	deep := strings.Repeat("[", 1024) + strings.Repeat("]", 1024)
	if _, err := ParseJSON(deep); err != nil {
		t.Errorf("1024 levels are allowed: %v", err)
	}
}

func TestAppendJSON(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, "null"}, {true, "true"}, {7, "7"}, {uint64(math.MaxUint64), "18446744073709551615"}, {0.1, "0.10000000000000001"},
		{1.0, "1"}, {1e16, "10000000000000000"}, {1e17, "1e+17"}, {1e-4, "0.0001"}, {1e-5, "1.0000000000000001e-05"},
		{math.Inf(-1), "-inf"}, {123456789.125, "123456789.125"}, {math.Copysign(0, -1), "-0"}, {1.5e300, "1.5000000000000001e+300"},
		{"a\"\\/\b\f\n\r\t'", `"a\"\\/\b\f\n\r\t'"`}, {"\x01\x1f\x7e\x7f", `"\u0001\u001F~\u007F"`}, {"ä€😀", `"\u00E4\u20AC\uD83D\uDE00"`},
		{"\xff\x80\xe4x\xe2\x82", `"\uFFFD\uFFFD\uFFFDx\uFFFD"`}, {"\xc0\x80", `"\u0000"`}, {"\xed\xa0\x80", `"\uFFFD"`},
		{"\xef\xbf\xbe", `"\uFFFD"`}, {"\xf8\x88\x80\x80\x80", `"\uFFFD"`}, {"\xfd\xbf\xbf\xbf\xbf\xbf", `"\uFFFD"`},
		{List{}, "[]"}, {List{1, List{}}, "[1, []]"}, {dict(), "{}"}, {dict("a", dict("b", 1)), `{"a": {"b": 1}}`},
	} {
		if got := string(AppendJSON(nil, c.v, false)); got != c.want {
			t.Errorf("%v: got %s, want %s", c.v, got, c.want)
		}
	}
	pretty := "x{\n    \"a\": [\n        1,\n        {\n        },\n        [\n        ]\n    ]\n}"
	if got := string(AppendJSON([]byte("x"), dict("a", List{1, dict(), List{}}), true)); got != pretty {
		t.Errorf("got %s", got)
	}
}

// FuzzParseJSON checks that whatever parses prints as JSON that parses to the same value.
func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{"{\"a\":[1,-2.5e3,'x\\u00e4\\ud83d\\ude00',null,true]}", "[[[", `"\u12"`, "{} x", "{\"a\":\"\xc3\"}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseJSON(s)
		if err != nil {
			if !errors.Is(err, syscall.EINVAL) {
				t.Fatalf("no kind: %v", err)
			}
			return
		}
		for _, pretty := range []bool{false, true} {
			text := string(AppendJSON(nil, v, pretty))
			again, err := ParseJSON(text)
			if strings.Contains(text, "inf") {
				return // an overflowing number, which JSON cannot write; a string "inf" is as well passed over
			}
			if err != nil || string(AppendJSON(nil, again, false)) != string(AppendJSON(nil, restacked(v), false)) {
				t.Fatalf("%q printed as %s, which reads as %v, %v", s, text, again, err)
			}
		}
		if d, ok := v.(*Dict); ok {
			d.Flatten()
			_, _ = Crumple(d)
		}
	})
}

// restacked inserts keys anew in the order in which they are printed, as reading the print does.
func restacked(v any) any {
	switch v := v.(type) {
	case *Dict:
		d := NewDict()
		for k, e := range v.All() {
			d.Set(k, restacked(e))
		}
		return d
	case List:
		l := make(List, len(v))
		for i := range v {
			l[i] = restacked(v[i])
		}
		return l
	case float64:
		if v == math.Trunc(v) {
			w, _ := ParseJSON(FormatFloat(v))
			return w
		}
	}
	return v
}

// FuzzKeyval checks that option lists of either syntax neither panic nor lose their errors' kind.
func FuzzKeyval(f *testing.F) {
	for _, s := range []string{"secret,id=a,a.0.b=1,,2", "a.1=1,a.0=x,__org.x_y.z=1", "a..b,", "noa,,b=c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseKeyval(s, "k")
		if err != nil && !errors.Is(err, syscall.EINVAL) {
			t.Fatalf("no kind: %v", err)
		}
		if err == nil {
			AppendJSON(nil, d, true)
		}
		if flat, err := FromOptsString(s, "k"); err == nil {
			_, _ = Crumple(flat)
		}
	})
}
