package qobj

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"testing"
)

func dict(pairs ...any) *Dict {
	d := NewDict()
	for i := 0; i < len(pairs); i += 2 {
		d.Set(pairs[i].(string), pairs[i+1])
	}
	return d
}

func TestOrder(t *testing.T) {
	d := NewDict()
	for _, k := range []string{"a", "b", "driver", "size", "file", "image", "align", "offset", "filename"} {
		d.Set(k, 1)
	}
	// As stock qemu-img orders these names in the json: name of a raw node on blkdebug on file.
	d.Delete("a")
	d.Delete("b")
	got := d.Keys()
	for _, pair := range [][2]string{{"offset", "driver"}, {"driver", "size"}, {"size", "file"}, {"driver", "align"}, {"image", "driver"},
		{"driver", "filename"}} {
		if slices.Index(got, pair[0]) > slices.Index(got, pair[1]) {
			t.Errorf("%s comes after %s in %q", pair[0], pair[1], got)
		}
	}
}

func TestOrderWithinBucket(t *testing.T) {
	const first, second = "backing-filename-format", "children"
	if bucketOf(first) != bucketOf(second) {
		t.Fatalf("%s and %s share a bucket in QEMU", first, second)
	}
	d := dict(first, 1, second, 2)
	want := []string{second, first}
	if got := d.Keys(); !slices.Equal(got, want) {
		t.Errorf("the later inserted comes first: got %q", got)
	}
	d.Set(first, 3)
	if got := d.Keys(); !slices.Equal(got, want) {
		t.Errorf("a replaced value keeps its place: got %q", got)
	}
	if got := d.Clone().Keys(); !slices.Equal(got, want) {
		t.Errorf("a clone keeps the order: got %q", got)
	}
	d.Delete(first)
	d.Set(first, 4)
	if got := d.Keys(); !slices.Equal(got, []string{first, second}) {
		t.Errorf("deleted and set again it is new: got %q", got)
	}
}

func TestDictValues(t *testing.T) {
	var d Dict
	if d.Len() != 0 || d.Has("x") || len(d.Keys()) != 0 {
		t.Fatal("the zero value is not empty")
	}
	d.Delete("x")
	inner := dict("k", "v")
	for k, v := range map[string]any{
		"int": 5, "u8": uint8(5), "big": uint64(math.MaxUint64), "u64": uint64(5), "null": nil, "s": "text", "d": inner,
		"l": []any{1, "x"}, "f32": float32(0.5),
	} {
		d.Set(k, v)
	}
	for k, want := range map[string]any{
		"int": int64(5), "u8": int64(5), "big": uint64(math.MaxUint64), "u64": int64(5), "null": nil, "f32": 0.5,
	} {
		if got, ok := d.Get(k); !ok || got != want {
			t.Errorf("%s: got %T %v", k, got, got)
		}
	}
	if s, ok := d.String("s"); !ok || s != "text" {
		t.Error("String")
	}
	if _, ok := d.String("int"); ok {
		t.Error("String of a number")
	}
	if got, ok := d.Dict("d"); !ok || got != inner {
		t.Error("Dict")
	}
	if l, ok := d.List("l"); !ok || len(l) != 2 {
		t.Error("List")
	}
	var none *Dict
	if none.Len() != 0 || none.Has("a") || none.Clone().Len() != 0 {
		t.Error("a nil dictionary reads as empty")
	}
}

func TestCloneIsDeep(t *testing.T) {
	d := dict("a", dict("b", 1), "l", List{dict("c", 1)})
	c := d.Clone()
	if !c.Equal(d) || !d.Equal(c) {
		t.Fatal("a clone equals its original")
	}
	in, _ := c.Dict("a")
	in.Set("b", 2)
	if c.Equal(d) {
		t.Error("changing a clone changed the original")
	}
	l, _ := c.List("l")
	l[0].(*Dict).Set("c", 9)
	if got, _ := d.List("l"); !Equal(got, List{dict("c", 1)}) {
		t.Error("a list is shared with the clone")
	}
}

func TestEqual(t *testing.T) {
	for _, c := range []struct {
		a, b any
		want bool
	}{
		{int64(1), uint64(1), true}, {1, 1.0, false}, {nil, nil, true}, {nil, false, false}, {"a", "a", true},
		{List{}, List{}, true}, {List{1}, List{2}, false}, {List{}, dict(), false}, {dict("a", 1), dict("a", 1), true},
		{dict("a", 1), dict("b", 1), false}, {dict("a", nil), dict(), false}, {"1", 1, false}, {List{}, nil, false}, {1, List{}, false},
	} {
		if Equal(c.a, c.b) != c.want || Equal(c.b, c.a) != c.want {
			t.Errorf("Equal(%v, %v) is not %v", c.a, c.b, c.want)
		}
	}
}

func TestAllMayDelete(t *testing.T) {
	d := NewDict()
	for i := range 100 {
		d.Set(strconv.Itoa(i), i)
	}
	n := 0
	for k := range d.All() {
		for _, other := range d.Keys() {
			if other != k {
				d.Delete(other)
			}
		}
		n++
	}
	if n != 1 || d.Len() != 1 {
		t.Errorf("visited %d, %d left", n, d.Len())
	}
}

func TestFlattenAndCrumple(t *testing.T) {
	nested := dict("a", dict("b", 1, "c", List{"x", dict("y", nil)}), "d", true, "e", dict(), "f", List{}, "g", List{List{}})
	flat := dict("a.b", 1, "a.c.0", "x", "a.c.1.y", nil, "d", true, "e", dict(), "f", List{}, "g.0", List{})
	d := nested.Clone()
	d.Flatten()
	if !d.Equal(flat) {
		t.Fatalf("Flatten: got %s", AppendJSON(nil, d, false))
	}
	back, err := Crumple(d)
	if err != nil || !Equal(back, nested) {
		t.Errorf("Crumple: got %v, %v", back, err)
	}
	if !d.Equal(flat) {
		t.Error("Crumple changed its argument")
	}
	list, err := Unflatten(dict("0", "a", "1.x", "b"))
	if err != nil || !Equal(list, List{"a", dict("x", "b")}) {
		t.Errorf("a list at the top: got %v, %v", list, err)
	}
	dotted, err := Crumple(dict("a..b.c", 1, "d..", 2))
	if err != nil || !Equal(dotted, dict("a.b", dict("c", 1), "d.", 2)) {
		t.Errorf("doubled dots: got %v, %v", dotted, err)
	}
}

func TestCrumpleErrors(t *testing.T) {
	for want, d := range map[string]*Dict{
		"Value a is not flat":                                                 dict("a", dict("b", 1)),
		"Cannot mix scalar and non-scalar keys":                               dict("a", 1, "a.b", 2),
		"Cannot mix list and non-list keys":                                   dict("a.0", 1, "a.b", 2),
		"Missing list index 0":                                                dict("00", 1),
		"List indices are not contiguous, saw 1 elements but 1 largest index": dict("1", 1),
	} {
		if _, err := Crumple(d); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestExtract(t *testing.T) {
	d := dict("file.driver", "file", "file.a.b", 1, "file", "x", "files", "y")
	got := d.Extract("file.")
	if !got.Equal(dict("driver", "file", "a.b", 1)) || !d.Equal(dict("file", "x", "files", "y")) {
		t.Errorf("got %s, left %s", AppendJSON(nil, got, false), AppendJSON(nil, d, false))
	}
	if none := d.Extract("no."); none == nil || none.Len() != 0 {
		t.Error("nothing extracted is an empty dictionary")
	}
}

func TestParseKeyval(t *testing.T) {
	for text, want := range map[string]*Dict{
		"":                               dict(),
		"secret":                         dict("type", "secret"),
		"secret,id=a,data=x,,y":          dict("type", "secret", "id", "a", "data", "x,y"),
		"id=a,":                          dict("id", "a"),
		"a.b=1,a.c=2,a.b=3":              dict("a", dict("b", "3", "c", "2")),
		"a.0=x,a.1.b=y,a.1.c=z":          dict("a", List{"x", dict("b", "y", "c", "z")}),
		"a.00=1":                         dict("a", List{"1"}),
		"__org.example_x=1":              dict("__org.example_x", "1"),
		"a.__org.example_x.b=1":          dict("a", dict("__org.example_x", dict("b", "1"))),
		"data=x=y":                       dict("data", "x=y"),
		"help":                           dict("type", "help"),
		"a=,b=":                          dict("a", "", "b", ""),
		"a-b=1,a_b=2,A.9=1,A.0=0,A.1=1,": nil,
	} {
		got, err := ParseKeyval(text, "type")
		if want == nil {
			if err == nil {
				t.Errorf("%q: parsed as %s", text, AppendJSON(nil, got, false))
			}
			continue
		}
		if err != nil || !got.Equal(want) {
			t.Errorf("%q: got %s, %v", text, AppendJSON(nil, got, false), err)
		}
	}
	d, help, err := ParseKeyvalHelp("secret,?", "type")
	if err != nil || !help || !d.Equal(dict("type", "secret")) {
		t.Errorf("help: %v %v %v", d, help, err)
	}
	if d, help, err = ParseKeyvalHelp("help,a=1", "type"); err != nil || !help || !d.Equal(dict("a", "1")) {
		t.Errorf("help: %v %v %v", d, help, err)
	}
}

func TestFromOptsString(t *testing.T) {
	for text, want := range map[string]*Dict{
		"":                           dict(),
		"a":                          dict("file", "a"),
		"a,,b,c=d":                   dict("file", "a,b", "c", "d"),
		"driver=raw,file.x=a,,b,foo": dict("driver", "raw", "file.x", "a,b", "foo", "on"),
		"a=1,a=2,nob":                dict("a", "2", "b", "off"),
		"id=x,a=b":                   dict("id", "x", "a", "b"),
		"=x,no":                      dict("", "off"),
		"a=b=c":                      dict("a", "b=c"),
		",a":                         dict("file", "", "a", "on"),
	} {
		got, err := FromOptsString(text, "file")
		if err != nil || !got.Equal(want) {
			t.Errorf("%q: got %s, %v", text, AppendJSON(nil, got, false), err)
		}
	}
}

func TestKeysOfLargeDict(t *testing.T) {
	d := NewDict()
	for i := range 2000 {
		d.Set(strconv.Itoa(i), nil)
	}
	keys := d.Keys()
	for i := 1; i < len(keys); i++ {
		a, b := bucketOf(keys[i-1]), bucketOf(keys[i])
		m, _ := strconv.Atoi(keys[i-1])
		n, _ := strconv.Atoi(keys[i])
		if a > b || a == b && m < n {
			t.Fatalf("%s (bucket %d) before %s (bucket %d)", keys[i-1], a, keys[i], b)
		}
	}
	sorted := slices.Sorted(slices.Values(keys))
	if !reflect.DeepEqual(slices.Compact(sorted), sorted) || len(sorted) != 2000 {
		t.Error("keys are lost or doubled")
	}
}
