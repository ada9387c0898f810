package secret

import (
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"platter/formats/qerr"
	"platter/formats/qobj"
	"platter/integration/programs"
)

var (
	zeroKey = base64.StdEncoding.EncodeToString(make([]byte, 32))
	zeroIV  = base64.StdEncoding.EncodeToString(make([]byte, 16))
)

// sealed is "abc", encrypted by openssl enc -aes-256-cbc with a key and an IV of zeros.
const sealed = "k3nBefZLfyFTjUOuYwSDjg=="

// load makes the secret k, whose data is given in base64, and then the one of the list.
func load(t *testing.T, key, list string) ([]byte, error) {
	t.Helper()
	d, err := qobj.ParseKeyval(list, "qom-type")
	if err != nil {
		t.Fatal(err)
	}
	return Load(d, func(id string) ([]byte, error) {
		if id == "k" {
			return base64.StdEncoding.DecodeString(key)
		}
		return nil, qerr.New(syscall.EINVAL, "No secret with id '%s'", id)
	})
}

func TestContents(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("from a\nfile\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for list, want := range map[string]string{
		"secret,data=abc":                                                       "abc",
		"secret,data=":                                                          "",
		"secret,data=abc,format=raw,iv=nonsense":                                "abc",
		"secret,file=" + file:                                                   "from a\nfile\n",
		"secret,data=YWJj,format=base64":                                        "abc",
		"secret,data=YWI=,format=base64":                                        "ab",
		"secret,data=YWI,format=base64":                                         "",
		"secret,data=YWJjYQ==Yg==,format=base64":                                "abcab",
		"secret,data=" + sealed + ",format=base64,keyid=k,iv=" + zeroIV:         "abc",
		"secret,data=" + sealed + "\n,format=base64,keyid=k,iv=\n" + zeroIV:     "abc",
		"secret,data=,format=base64,keyid=k,iv=" + zeroIV:                       "",
		"secret,data=" + sealed[:0] + ",format=raw,keyid=k,iv=" + zeroIV + "\n": "",
	} {
		got, err := load(t, zeroKey, list)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q (%v), want %q", list, got, err, want)
		}
	}
}

// What stock says, or that it takes the secret and fails later.
func TestStockAlike(t *testing.T) {
	qemu := programs.StockPath(t, "qemu-img")
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("AB\x00C@"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ key, list string }{
		{zeroKey, "secret"},
		{zeroKey, "secret,data=a,file=b"},
		{zeroKey, "secret,file=/nonexistent"},
		{zeroKey, "secret,file="},
		{zeroKey, "secret,file=/"},
		{zeroKey, "secret,data=@@@,format=base64"},
		{zeroKey, "secret,data=A B,format=base64"},
		{zeroKey, "secret,data=AB,format=base64"},
		{zeroKey, "secret,data==ABC,format=base64"},
		{zeroKey, "secret,format=base64,file=" + file},
		{zeroKey, "secret,data=a,keyid=j"},
		{zeroKey, "secret,data=a,keyid=k"},
		{"YWJj", "secret,data=a,keyid=k"},
		{zeroKey, "secret,data=a,keyid=k,iv=@"},
		{zeroKey, "secret,data=a,keyid=k,iv=YWJj"},
		{zeroKey, "secret,data=@,format=base64,keyid=k,iv=" + zeroIV},
		{zeroKey, "secret,data=YWJj,format=base64,keyid=k,iv=" + zeroIV},
		{zeroKey, "secret,data=abcdefghijklmnop,keyid=k,iv=" + zeroIV},
		{zeroKey, "secret,data=" + sealed + ",format=base64,keyid=k,iv=" + zeroIV},
		{zeroKey, "secret_keyring,serial=0"},
		{zeroKey, "secret_keyring,serial=1"},
		{zeroKey, "secret_keyring,serial=0x7ffffff0"},
		{zeroKey, "secret_keyring,serial=99999999999"},
	} {
		_, err := load(t, c.key, c.list)
		out, _ := exec.Command(qemu, "info", "--object", "secret,id=k,format=base64,data="+c.key,
			"--object", c.list+",id=s", "/nonexistent").CombinedOutput()
		got := strings.TrimSuffix(strings.TrimPrefix(string(out), "qemu-img: "), "\n")
		taken := strings.HasPrefix(got, "Could not open '/nonexistent'")
		if taken != (err == nil) || err != nil && err.Error() != got {
			t.Errorf("%s: %v, stock %s", c.list, err, got)
		}
	}
}

func TestText(t *testing.T) {
	for in, ok := range map[string]bool{"": true, "pässword": true, "a\x00b": false, "\xff": false} {
		p, err := Passphrase(func(string) ([]byte, error) { return []byte(in), nil }, "s")()
		if ok && (err != nil || string(p) != in) || !ok && (err == nil || err.Error() != "Data from secret s is not valid UTF-8") {
			t.Errorf("%q: %q (%v)", in, p, err)
		}
	}
	failed := errors.New("no")
	if _, err := Text(func(string) ([]byte, error) { return nil, failed }, "s"); !errors.Is(err, failed) {
		t.Errorf("lookup failed: %v", err)
	}
}
