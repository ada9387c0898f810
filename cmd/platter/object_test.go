package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestObjectsEqualStock gives definitions to create, which reads them before it looks for its operands.
func TestObjectsEqualStock(t *testing.T) {
	stock, dir := oracle(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bytes"), []byte{0xff, 0xfe}, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	key := "secret,id=k,data=" + encode("0123456789abcdef0123456789abcdef") + ",format=base64 "
	iv := ",iv=" + encode("0123456789abcdef")
	for _, line := range []string{
		"can-bus,id=a", "iothread,id=a", "arm-rme,id=a", "Secret,id=a", "iothread,help", "secret,id.x=a",
		key + "secret,id=s,keyid=k,data=x", key + "secret,id=s,keyid=k,data=x" + iv,
		key + "secret,id=s,keyid=k,data=AAAA,format=base64" + iv, key + "secret,id=s,keyid=k,data=!!,format=base64" + iv,
		key + "secret,id=s,keyid=k,data=AAAA,format=base64,iv=AAAA", key + "secret,id=s,keyid=k,data=AAAA,format=base64,iv=!",
		key + "secret,id=s,keyid=k,data=" + encode(strings.Repeat("\x00", 16)) + ",format=base64" + iv,
		"secret,id=k,data=abc secret,id=s,keyid=k,data=AAAA,format=base64" + iv, "secret,id=s,data=x,keyid=none",
		"secret,id=s,data=!!,format=base64", "secret,id=s,data=,format=base64", "secret,id=s,data=AA=A,format=base64",
		"secret,id=s,file=", "secret,id=s,file=.", "secret,id=s,file=bytes secret,id=s,data=x", "secret,id=1,data=x,file=y",
		"secret,id=s,data=x secret,id=s,file=none", "secret,id=s,file=bytes,data=x", "secret,id=s,data=x,loaded=on",
		`{"qom-type":"secret","id":"s","format":"foo","data":"x"}`, `{"qom-type":"secret","id":"s","format":5,"data":"x"}`,
		`{"qom-type":5}`, `{"qom-type":"secret","id":"s","x":{}}`, `[]`, `{"qom-type":"main-loop","id":"s","aio-max-batch":"5"}`,
		`{"qom-type":"main-loop","id":"s","aio-max-batch":5}`, `{"qom-type":"tls-creds-anon","id":"s","verify-peer":"on"}`,
		"tls-creds-psk,id=a", "tls-creds-psk,id=a,dir=none", "tls-creds-x509,id=a,dir=none", "tls-creds-anon,id=a,endpoint=server",
		"tls-creds-x509,id=a,dir=.,endpoint=server", "tls-creds-x509,id=a,dir=.,endpoint=both", "tls-creds-x509,id=a,verify-peer=x",
		"throttle-group,id=a,x-iops-total=1,x-iops-read=1", "throttle-group,id=a,x-iops-total-max=1",
		"throttle-group,id=a,x-iops-size=-1", "throttle-group,id=a,x-iops-total=99999999999999999", "throttle-group,id=a,limits=1",
		"throttle-group,id=a,x-iops-total-max-length=0", "throttle-group,id=a,limits.iops-total=x", "throttle-group,id=a,limits.x=1",
		"throttle-group,id=a,limits.iops-total=5,limits.iops-total-max=4", "throttle-group,id=a,x-bps-read-max-length=5",
		"throttle-group,id=a,x-iops-size=5", "throttle-group,id=a,x-bps-read=5,x-bps-read-max=50,x-bps-read-max-length=99999999999999",
		"main-loop,id=a main-loop,id=b", "authz-list,id=a,policy=x", "authz-simple,id=a", "pr-manager-helper,id=a",
		"secret_keyring,id=a", "secret_keyring,id=a,serial=x", "thread-context,id=a,cpu-affinity=0", "authz-list-file,id=a,filename=x",
	} {
		args := []string{"create"}
		for _, spec := range strings.Fields(line) {
			args = append(args, "--object", spec)
		}
		if want, got := ask(t, stock, dir, nil, args...), platter("qemu-img", args...); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", line, got, want)
		}
	}
}

// TestEmptyFormat gives an empty format name, as a script with an empty variable does: it must not mean guessing.
func TestEmptyFormat(t *testing.T) {
	stock, dir := oracle(t), t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("a", make([]byte, 65536), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"info -f", "check -f", "map -f", "convert -f", "convert -O", "measure -f", "snapshot -f", "bench -f"} {
		args := append(strings.Fields(line), "", "a")
		if args[0] == "convert" {
			args = append(args, "b")
		}
		if want, got := ask(t, stock, dir, nil, args...), platter("qemu-img", args...); got != want {
			t.Errorf("%q:\n got %+v\nwant %+v", args, got, want)
		}
	}
}
