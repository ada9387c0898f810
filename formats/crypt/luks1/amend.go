package luks1

import (
	"context"
	"fmt"
	"syscall"

	"platter/formats/crypt"
	"platter/formats/qerr"
)

// AmendOptions says how the key slots change; nil is "not given".
type AmendOptions struct {
	Active    bool             // add a passphrase (state=active) or erase slots (state=inactive)
	Keyslot   *int64           // the slot; nil is the first free one, or those that OldSecret opens
	NewSecret crypt.Passphrase // to add, required then
	OldSecret crypt.Passphrase // to erase: the slots that it opens
	Secret    crypt.Passphrase // to add: opens the header instead of the passphrase of Open
	IterTime  *uint64          // to add, milliseconds; nil is DefaultIterTime
	Force     bool             // overwrite active slots, erase the last ones
	Prefix    string           // put before option names in messages
}

// Amend changes the key slots. Whatever a write has written must survive a loss of power when it returns; then some
// passphrase opens the container at every moment, unless the last one is erased by force. Errors are QEMU's, EINVAL unless they come from read, write, ctx or a passphrase.
func (v *Volume) Amend(ctx context.Context, read crypt.ReadFunc, write crypt.WriteFunc, o AmendOptions) error {
	if o.Active {
		return v.addKey(ctx, read, write, o)
	}
	return v.eraseKeys(ctx, read, write, o)
}

func (v *Volume) addKey(ctx context.Context, read crypt.ReadFunc, write crypt.WriteFunc, o AmendOptions) error {
	if o.NewSecret == nil {
		return invalid("'new-secret' is required to activate a keyslot")
	}
	if o.OldSecret != nil {
		return invalid("'old-secret' must not be given when activating keyslots")
	}
	i, err := v.chooseSlot(o)
	if err != nil {
		return err
	}
	secret := o.Secret
	if secret == nil {
		secret = v.pass
	}
	if secret == nil {
		return crypt.KeyRequired(o.Prefix)
	}
	old, err := secret()
	if err != nil {
		return err
	}
	key, err := v.findKey(ctx, read, old)
	if err != nil {
		return qerr.WithHint(err, "Failed to retrieve the master key")
	}
	defer clear(key)
	password, err := o.NewSecret()
	if err != nil {
		return err
	}
	iterTime := uint64(DefaultIterTime)
	if o.IterTime != nil {
		iterTime = *o.IterTime
	}
	if err := v.placeKey(ctx, write, i, password, key, iterTime); err != nil {
		return qerr.WithHint(err, fmt.Sprintf("Failed to write to keyslot %d", i))
	}
	return nil
}

// placeKey writes the key into slot i. Where that is the only active one, whose material would be gone before the new one
// is whole, the key is in another slot meanwhile.
func (v *Volume) placeKey(ctx context.Context, write crypt.WriteFunc, i int, password, key []byte, iterTime uint64) error {
	if !v.active(i) || v.countActive() > 1 {
		return v.storeKey(ctx, write, i, password, key, iterTime)
	}
	spare := (i + 1) % Slots
	if err := v.storeKey(ctx, write, spare, password, key, iterTime); err != nil {
		return err
	}
	if err := v.storeKey(ctx, write, i, password, key, iterTime); err != nil {
		return err
	}
	return v.eraseKey(write, spare)
}

// chooseSlot gives the slot that a new passphrase goes to.
func (v *Volume) chooseSlot(o AmendOptions) (int, error) {
	i := 0
	if o.Keyslot == nil {
		for i < Slots && v.active(i) {
			i++
		}
		if i == Slots {
			return 0, qerr.New(syscall.ENOSPC, "Can't add a keyslot - all keyslots are in use")
		}
		return i, nil
	}
	if k := *o.Keyslot; k < 0 || k >= Slots {
		// QEMU keeps 32 bits of the number here, and prints them without sign. A number whose low bits are those of a
		// slot it takes for that slot.
		if low := uint32(k); low >= Slots {
			k = int64(low)
		}
		return 0, invalid("Invalid keyslot %d specified, must be between 0 and %d", k, Slots-1)
	}
	i = int(*o.Keyslot)
	if !o.Force && v.active(i) {
		return 0, invalid("Refusing to overwrite active keyslot %d - please erase it first", i)
	}
	return i, nil
}

func (v *Volume) eraseKeys(ctx context.Context, read crypt.ReadFunc, write crypt.WriteFunc, o AmendOptions) error {
	switch {
	case o.NewSecret != nil:
		return invalid("'new-secret' must not be given when erasing keyslots")
	case o.IterTime != nil:
		return invalid("'iter-time' must not be given when erasing keyslots")
	case o.Secret != nil:
		return invalid("'secret' must not be given when erasing keyslots")
	}
	var old []byte
	if o.OldSecret != nil {
		var err error
		if old, err = o.OldSecret(); err != nil {
			return err
		}
	}
	switch {
	case o.Keyslot != nil:
		return v.eraseSlot(ctx, read, write, o, old)
	case o.OldSecret != nil:
		return v.eraseMatching(ctx, read, write, o, old)
	}
	return invalid("To erase keyslot(s), either explicit keyslot index " +
		"or the password currently contained in them must be given")
}

func (v *Volume) eraseSlot(ctx context.Context, read crypt.ReadFunc, write crypt.WriteFunc, o AmendOptions, old []byte) error {
	if *o.Keyslot < 0 || *o.Keyslot >= Slots {
		return invalid("Invalid keyslot %d specified, must be between 0 and %d", *o.Keyslot, Slots-1)
	}
	i := int(*o.Keyslot)
	if o.OldSecret != nil {
		key, err := v.loadKey(ctx, read, i, old)
		if err != nil {
			return err
		}
		if key == nil {
			return invalid("Given keyslot %d doesn't contain the given old password for erase operation", i)
		}
		clear(key)
	}
	if !o.Force && !v.active(i) {
		return invalid("Given keyslot %d is already erased (inactive) ", i)
	}
	if !o.Force && v.countActive() == 1 {
		return invalid("Attempt to erase the only active keyslot %d which will erase all the data in the image "+
			"irreversibly - refusing operation", i)
	}
	return v.erase(write, i)
}

func (v *Volume) eraseMatching(ctx context.Context, read crypt.ReadFunc, write crypt.WriteFunc, o AmendOptions, old []byte) error {
	var match []int
	for i := range v.hdr.Slots {
		key, err := v.loadKey(ctx, read, i, old)
		if err != nil {
			return err
		}
		if key != nil {
			clear(key)
			match = append(match, i)
		}
	}
	if len(match) == 0 {
		return invalid("No keyslots match given (old) password for erase operation")
	}
	if !o.Force && len(match) == v.countActive() {
		return invalid("All the active keyslots match the (old) password that was given and erasing them will erase " +
			"all the data in the image irreversibly - refusing operation")
	}
	for _, i := range match {
		if err := v.erase(write, i); err != nil {
			return err
		}
	}
	return nil
}

func (v *Volume) erase(write crypt.WriteFunc, i int) error {
	return qerr.WithHint(v.eraseKey(write, i), fmt.Sprintf("Failed to erase keyslot %d", i))
}
