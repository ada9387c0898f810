package object_test

import (
	"testing"

	"platter/cmd/platter/internal/object"
)

func TestSecretBytes(t *testing.T) {
	var s object.Set
	for _, spec := range []string{
		"secret,id=plain,data=a,,b", "secret,id=coded,data=aGVsbG8=,format=base64",
		"secret,id=key,data=0123456789abcdef0123456789abcdef",
		"secret,id=sealed,keyid=key,iv=MDEyMzQ1Njc4OWFiY2RlZg==,format=base64,data=QRb0Sn1KaLOI0SvMPg9ToQ==",
	} {
		if _, err := s.Add(spec); err != nil {
			t.Fatal(spec, err)
		}
	}
	for id, want := range map[string]string{"plain": "a,b", "coded": "hello", "sealed": "passphrase"} {
		if got, err := s.Secret(id); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", id, got, err)
		}
	}
	if _, err := s.Secret("none"); err == nil || err.Error() != "No secret with id 'none'" {
		t.Error(err)
	}
}
