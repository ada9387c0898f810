package luks

import (
	"context"
	"syscall"

	"platter/formats"
	"platter/formats/crypt/luks1"
	"platter/formats/crypt/luks2"
	"platter/formats/crypt/secret"
	"platter/formats/option"
	"platter/formats/qerr"
)

// Amend changes the key slots. The work is one step, of which there is no progress to report.
func (d *image) Amend(ctx context.Context, v *option.Values, force bool, _ func(done, total int64), env *formats.Env) error {
	o := luks1.AmendOptions{Force: force, IterTime: iterTime(v)}
	switch state, ok := v.Raw("state"); {
	case !ok:
		return qerr.New(syscall.EINVAL, "Parameter 'state' is missing")
	case state != "active" && state != "inactive":
		return notAccepted("state", state)
	default:
		o.Active = state == "active"
	}
	if id, ok := v.Raw("new-secret"); ok {
		o.NewSecret = secret.Passphrase(env.Secret, id)
	}
	if id, ok := v.Raw("old-secret"); ok {
		o.OldSecret = secret.Passphrase(env.Secret, id)
	}
	if v.Has("keyslot") {
		n := int64(v.Uint("keyslot", 0))
		o.Keyslot = &n
	}
	// A slot that is half changed is worse than one that is changed in spite of an interrupt.
	ctx = context.WithoutCancel(ctx)
	write := func(off int64, p []byte) error {
		return headerFailed(d.header.WriteAt(ctx, p, off, formats.FUA), "write")
	}
	flush := func() error { return headerFailed(d.header.Flush(ctx), "write") }
	if d.v2 != nil {
		return d.v2.Amend(ctx, luks2.Store{Read: d.read(ctx), Write: write, Flush: flush}, luks2.AmendOptions{
			Active: o.Active, Keyslot: o.Keyslot, NewSecret: o.NewSecret, OldSecret: o.OldSecret, IterTime: o.IterTime,
			Force: o.Force})
	}
	if err := d.v1.Amend(ctx, d.read(ctx), write, o); err != nil {
		return err
	}
	return d.header.Flush(ctx)
}
