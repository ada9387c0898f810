package qobj_test

import (
	"os/exec"
	"strings"
	"testing"

	"platter/formats/qerr"
	"platter/formats/qobj"
	"platter/integration/programs"
)

// qemuImg returns a function that runs stock qemu-img in an empty folder and gives its stdout and stderr.
func qemuImg(t *testing.T) func(args ...string) (stdout, stderr string) {
	t.Helper()
	bin := programs.StockPath(t, "qemu-img")
	dir := t.TempDir()
	return func(args ...string) (string, string) {
		var stdout, stderr strings.Builder
		cmd := exec.Command(bin, args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
		if err := cmd.Run(); err != nil && stderr.Len() == 0 {
			t.Fatalf("qemu-img %q: %v", args, err)
		}
		return stdout.String(), stderr.String()
	}
}

// TestOracleOrder reads what stock prints and prints it again: the same bytes mean the same order and layout.
func TestOracleOrder(t *testing.T) {
	run := qemuImg(t)
	run("create", "-q", "-f", "qcow2", "a.qcow2", "1M")
	run("snapshot", "-c", "one", "a.qcow2")
	run("bitmap", "--add", "a.qcow2", "b0")
	run("create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", "b.qcow2")
	run("create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentFlat", "c.vmdk", "1M")
	run("create", "-q", "-f", "luks", "--object", "secret,id=s,data=x", "-o", "key-secret=s,iter-time=10", "d.luks", "1M")
	run("create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=x", "-o",
		"encrypt.format=aes,encrypt.key-secret=s", "e.qcow2", "1M")
	run("create", "-q", "-f", "qcow2", "-o", "data_file=f.raw", "f.qcow2", "1M")
	for _, args := range [][]string{
		{"info", "--output=json", "a.qcow2"},
		{"info", "--output=json", "--backing-chain", "b.qcow2"},
		{"info", "--output=json", "c.vmdk"},
		{"info", "--output=json", "d.luks"},
		{"info", "--output=json", "e.qcow2"},
		{"info", "--output=json", "f.qcow2"},
		{"check", "--output=json", "a.qcow2"},
		{"measure", "--output=json", "-O", "qcow2", "a.qcow2"},
	} {
		want, stderr := run(args...)
		v, err := qobj.ParseJSON(want)
		if err != nil {
			t.Fatalf("%q: %v (%s)", args, err, stderr)
		}
		if got := string(qobj.AppendJSON(nil, restack(v), true)) + "\n"; got != want {
			t.Errorf("%q: got\n%s\nstock prints\n%s", args, got, want)
		}
	}
}

// restack inserts all keys anew in the order in which they come out, which turns the entries of each bucket around.
// Reading stock's output did that once already: "children" and "backing-filename-format", for one, share a bucket.
func restack(v any) any {
	switch v := v.(type) {
	case *qobj.Dict:
		d := qobj.NewDict()
		for k, e := range v.All() {
			d.Set(k, restack(e))
		}
		return d
	case qobj.List:
		for i := range v {
			v[i] = restack(v[i])
		}
	}
	return v
}

// TestOracleNames lets stock print the json: name that it makes of a tree, which is JSON on one line.
func TestOracleNames(t *testing.T) {
	run := qemuImg(t)
	run("create", "-q", "-f", "raw", "t", "1M")
	for _, name := range []string{
		`{"driver":"raw","size":512,"offset":0,"file":{"driver":"blkdebug","align":512,"image":{"driver":"file","filename":"t"}}}`,
		`{"driver":"raw","offset":512,"file":{"driver":"file","filename":"t"}}`,
		`{"driver":"raw","size":512,"file":{"driver":"null-co","size":1048576}}`,
		`{"driver":"raw","size":512,"file":{"driver":"file","filename":"./\u00e4\u0001\ud83d\ude00"}}`,
	} {
		if strings.Contains(name, `\u00e4`) {
			run("create", "-q", "-f", "raw", "ä\x01😀", "1M")
		}
		stdout, stderr := run("info", "json:"+name)
		first, _, _ := strings.Cut(stdout, "\n")
		text, ok := strings.CutPrefix(first, "image: json:")
		if !ok {
			t.Fatalf("%s: %s%s", name, stdout, stderr)
		}
		v, err := qobj.ParseJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(qobj.AppendJSON(nil, restack(v), false)); got != text {
			t.Errorf("got %s\nstock prints %s", got, text)
		}
	}
}

// malformed are texts that are no JSON value, or nearly so.
var malformed = []string{
	"", " ", "{", "}", "{]", "[", "]", "[}", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, "{,}", "{1:2}", `{"a" 1}`,
	`{"a":1 "b":2}`, "[1 2]", "[1,]", "[,]", "tru3", `{"a":tru3}`, `{"a":True}`, `{"a":01}`, `{"a":-}`, `{"a":-01}`,
	`{"a":1.}`, `{"a":1e}`, `{"a":1e+}`, `{"a":1.e1}`, `{"a":.5}`, `{"a":-`, `{"a":1.`, `{"a":1e`, `{"a":1e-`, "-", "1.", "01",
	"{} {}", "{} x", "{} ,", "{} {", "{} $", "{} }", "{} -", `{"a":"\q"}`, `{"a":"\u12"}`, `{"a":"\u12`,
	`{"a":"\u1\"2"}`, `{"a":"\uzzzz"}`, `{"a":"\ud800"}`, `{"a":"\ud800\u0041"}`, `{"a":"\udc00"}`,
	`{"a":"\ufffe"}`, `{"a":"\ufdd0"}`, `{"a":"\ud83f\udfff"}`, `{"a":"abc`, `{"a":"\`, `{"a":1,"a":2}`, "%s", `{"a":%s}`,
	`{"a":nul}`, "x", "$", `{"a"::1}`, `{"a":[}`, `{"a":1]`, `{"a":}`, "{[]:1}", "{x:1}", "{{}:1}", "{null:1}", "'", "'a\"",
	"{\"a\":\"\xff\"}", "{\"a\":\"\xfe\"}", "{\"a\":\"\xc3\"}", "{\"a\":\"\x01\"}", "{\"a\":\"\xed\xa0\x80\"}",
	"{\"a\":\"\xc0\x81\"}", "{\"a\":\"\xf8\x88\x80\x80\x80\"}", "{\"a\":\"\x80\"}", "\xc3\xa4", "{\"a\":\"\n\"}", "\x01",
	`{"a":"x`, `{"a":'x"}`, "[[]", "[]]", "{\v}", strings.Repeat("[", 1025), strings.Repeat("[", 1024),
	strings.Repeat(`{"a":`, 1025), strings.Repeat("[{", 513),
}

func TestOracleMalformed(t *testing.T) {
	run := qemuImg(t)
	for _, text := range malformed {
		_, stderr := run("info", "json:"+text)
		_, want, ok := strings.Cut(stderr, "Could not parse the JSON options: ")
		if !ok {
			t.Errorf("%q: stock says %q", text, stderr)
			continue
		}
		v, err := qobj.ParseJSON(text)
		if err == nil {
			t.Errorf("%q: parsed as %v, stock says %s", text, v, want)
		} else if err.Error()+"\n" != want {
			t.Errorf("%q: %q, stock says %q", text, err.Error(), want)
		}
	}
}

var keyvals = []string{
	",", "secret,id", "secret,foo", "secret,a.b=1,a=2", "secret,a=2,a.b=1", "secret,a.0=1,a.b=2", "secret,a.1=1",
	"secret,a.0=1,a.2=2", "secret,a..b=1", "secret,.a=1", "secret,a.=1", "secret,1=2", "secret,=2", "secret,a b=1",
	"secret,a.99999999999999999999=1", "secret,__org.x=1", "secret,__org_1=1", "secret,a.0x=1", "secret,a.0.b.1=5", "secret,a.-1=3",
	",secret", "secret,,a=b", "secret,a.0.help", "0=1", "secret,a.1=1,a.0=2,a=3", "a=1,b", "a,b.c", "secret,,",
	"secret,a=1,a.b.c.!=2", "secret,a=1,a.!=2", "secret,a=1,a.b", "secret," + strings.Repeat("a", 128) + "=1",
	"secret,b." + strings.Repeat("a", 128) + "=1", "secret," + strings.Repeat("a", 128) + ".b=1",
	"secret,b." + strings.Repeat("1", 128) + "=1", "secret,a.b.0.c=1,a.b.d=2",
}

func TestOracleKeyval(t *testing.T) {
	run := qemuImg(t)
	run("create", "-q", "-f", "raw", "t", "1M")
	for _, text := range keyvals {
		_, want := run("info", "--object", text, "t")
		_, err := qobj.ParseKeyval(text, "qom-type")
		if err == nil {
			t.Errorf("%q: parsed, stock says %s", text, want)
		} else if "qemu-img: "+err.Error()+"\n" != want {
			t.Errorf("%q: %q, stock says %q", text, err.Error(), want)
		}
	}
}

func TestOracleFlags(t *testing.T) {
	run := qemuImg(t)
	for _, text := range []string{
		",a", "driver=raw,foo", "file.filename=t,noreadonly", "driver=raw,help", "driver=raw,no,file.filename=t",
		"driver=raw,noread-only,read-only,file.filename=t", "id=abc,t", "noid,file.filename=t", "driver=raw,nohelp", "a,b,,c,d",
	} {
		_, stderr := run("info", "--image-opts", text)
		want := stderr[:strings.LastIndex(stderr, "qemu-img: ")]
		var got strings.Builder
		for _, w := range qobj.FlagWarnings(text, "file") {
			got.WriteString("qemu-img: warning: " + w.Error() + "\n" + qerr.Hint(w))
		}
		if got.String() != want {
			t.Errorf("%q: got %q, stock says %q", text, got.String(), want)
		}
	}
	for _, text := range []string{"id=1,file.filename=t", "id=,a=b", "id=1,id=a", "id=a!", "x,id=_"} {
		_, want := run("info", "--image-opts", text)
		_, err := qobj.FromOptsString(text, "file")
		if err == nil || "qemu-img: "+err.Error()+"\n"+qerr.Hint(err) != want {
			t.Errorf("%q: %v, stock says %q", text, err, want)
		}
	}
}

// TestOracleCrumple reaches the function through nbd's "server" option, which is read as a nested value.
func TestOracleCrumple(t *testing.T) {
	run := qemuImg(t)
	for _, text := range []string{
		`{"server.0":"a","server.type":"inet"}`, `{"server.type":"inet","server.type.x":"y"}`, `{"server.1":"a"}`,
		`{"server.a.0":"x","server.a.2":"y"}`, `{"server.a.00":"x"}`, `{"server.a.0":"x","server.a.b":"y"}`,
		`{"server.a.1":"x","server.a.+0":"y"}`,
	} {
		_, want := run("info", `json:{"driver":"nbd",`+text[1:])
		v, err := qobj.ParseJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		d := v.(*qobj.Dict)
		d.Flatten()
		_, err = qobj.Crumple(d.Extract("server."))
		if err == nil || !strings.HasSuffix(want, ": "+err.Error()+"\n") {
			t.Errorf("%s: %v, stock says %q", text, err, want)
		}
	}
}
