package luks

import (
	"context"

	"platter/formats"
	"platter/formats/crypt/luks1"
	"platter/formats/option"
)

var createOpts = option.Schema{
	{Name: "size", Type: option.Size, Help: "Virtual disk size"},
	{Name: "key-secret", Type: option.String, Help: "ID of the secret that provides the keyslot passphrase"},
	{Name: "cipher-alg", Type: option.String, Help: "Name of encryption cipher algorithm"},
	{Name: "cipher-mode", Type: option.String, Help: "Name of encryption cipher mode"},
	{Name: "ivgen-alg", Type: option.String, Help: "Name of IV generator algorithm"},
	{Name: "ivgen-hash-alg", Type: option.String, Help: "Name of IV generator hash algorithm"},
	{Name: "hash-alg", Type: option.String, Help: "Name of encryption hash algorithm"},
	{Name: "iter-time", Type: option.Number, Help: "Time to spend in PBKDF in milliseconds"},
	{Name: "detached-header", Type: option.Bool, Help: "Create a detached LUKS header"},
}

var amendOpts = option.Schema{
	{Name: "state", Type: option.String, Help: "Select new state of affected keyslots (active/inactive)"},
	{Name: "keyslot", Type: option.Number, Help: "Select a single keyslot to modify explicitly"},
	{Name: "old-secret", Type: option.String, Help: "Select all keyslots that match this password"},
	{Name: "new-secret", Type: option.String, Help: "New secret to set in the matching keyslots. Empty string to erase"},
	{Name: "iter-time", Type: option.Number, Help: "Time to spend in PBKDF in milliseconds"},
}

// Driver is the luks format.
func Driver() *formats.Driver {
	return &formats.Driver{
		Name: "luks", Kind: formats.Format, RemovesFailed: true,
		OpenOpts: option.Schema{
			{Name: "key-secret", Type: option.String, Help: "ID of the secret that provides the keyslot passphrase"},
		},
		StrongOpts:  []string{"key-secret"},
		CreateOpts:  createOpts,
		CreateTakes: []string{"preallocation"},
		AmendOpts:   amendOpts,
		Probe: func(head []byte, _ string) int {
			if luks1.Probe(head) {
				return 100
			}
			return 0
		},
		Needs: func(context.Context, formats.OpenArgs) ([]formats.Need, error) {
			return []formats.Need{{Role: "header", Given: true}}, nil
		},
		Open:    open,
		Create:  create,
		Measure: measure,
	}
}
