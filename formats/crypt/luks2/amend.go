package luks2

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"syscall"

	"platter/formats/crypt"
	"platter/formats/qerr"
)

// MaxSlots is the number of key slots that a header can have.
const MaxSlots = maxObjects

// AmendOptions says how the key slots change, as for version 1; nil is "not given".
type AmendOptions struct {
	Active    bool             // add a passphrase (state=active) or erase slots (state=inactive)
	Keyslot   *int64           // the slot; nil is the first free one, or those that OldSecret opens
	NewSecret crypt.Passphrase // to add, required then
	OldSecret crypt.Passphrase // to erase: the slots that it opens
	IterTime  *uint64          // to add, milliseconds; nil is DefaultIterTime
	Force     bool             // replace active slots, erase the last ones
	Prefix    string           // put before option names in messages
}

// DefaultIterTime is the time that a passphrase's key derivation takes when none is given, in milliseconds.
const DefaultIterTime = 2000

// Store is where the header and the key material are.
type Store struct {
	Read  crypt.ReadFunc
	Write crypt.WriteFunc
	Flush func() error // what was written before survives a loss of power
}

// Amend changes the key slots. Both copies of the header are written anew, one after the other, so that at any moment
// one of them is whole; material of a slot is on disk before a header names it, and overwritten only when neither does.
// Errors are those of version 1, in QEMU's words, EINVAL unless they come from the store, ctx or a passphrase.
func (v *Volume) Amend(ctx context.Context, s Store, o AmendOptions) error {
	if o.Active {
		return v.addKey(ctx, s, o)
	}
	return v.eraseKeys(ctx, s, o)
}

func (v *Volume) addKey(ctx context.Context, s Store, o AmendOptions) error {
	if o.NewSecret == nil {
		return invalid("'new-secret' is required to activate a keyslot")
	}
	if o.OldSecret != nil {
		return invalid("'old-secret' must not be given when activating keyslots")
	}
	id, err := v.chooseSlot(o)
	if err != nil {
		return err
	}
	if v.opts.Passphrase == nil {
		return crypt.KeyRequired(o.Prefix)
	}
	old, err := v.opts.Passphrase()
	if err != nil {
		return err
	}
	from, key, err := v.findKey(ctx, s.Read, old)
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
	k, err := v.newSlot(ctx, v.meta.Keyslots[from], password, key, iterTime)
	if err == nil {
		err = v.storeSlot(s, id, k)
	}
	if err != nil {
		return qerr.WithHint(err, fmt.Sprintf("Failed to write to keyslot %s", id))
	}
	return nil
}

// chooseSlot gives the slot that a new passphrase goes to.
func (v *Volume) chooseSlot(o AmendOptions) (string, error) {
	if o.Keyslot == nil {
		for i := range MaxSlots {
			if _, used := v.meta.Keyslots[strconv.Itoa(i)]; !used {
				return strconv.Itoa(i), nil
			}
		}
		return "", qerr.New(syscall.ENOSPC, "Can't add a keyslot - all keyslots are in use")
	}
	id, err := slotID(*o.Keyslot)
	if err != nil {
		return "", err
	}
	if _, used := v.meta.Keyslots[id]; used && (!o.Force || !v.active(id)) {
		return "", invalid("Refusing to overwrite active keyslot %s - please erase it first", id)
	}
	return id, nil
}

func slotID(n int64) (string, error) {
	switch {
	case n >= math.MinInt32 && n < 0: // as for version 1
		return "", invalid("Invalid keyslot %d specified, must be between 0 and %d", uint32(n), MaxSlots-1)
	case n < 0 || n >= MaxSlots:
		return "", invalid("Invalid keyslot %d specified, must be between 0 and %d", n, MaxSlots-1)
	}
	return strconv.FormatInt(n, 10), nil
}

// active reports whether slot id holds the key of the data.
func (v *Volume) active(id string) bool {
	_, ok := v.meta.Keyslots[id]
	return ok && slices.Contains(v.digest.Keyslots, id)
}

func (v *Volume) countActive() int {
	n := 0
	for id := range v.meta.Keyslots {
		if v.active(id) {
			n++
		}
	}
	return n
}

func (v *Volume) eraseKeys(ctx context.Context, s Store, o AmendOptions) error {
	switch {
	case o.NewSecret != nil:
		return invalid("'new-secret' must not be given when erasing keyslots")
	case o.IterTime != nil:
		return invalid("'iter-time' must not be given when erasing keyslots")
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
		return v.eraseSlot(ctx, s, o, old)
	case o.OldSecret != nil:
		return v.eraseMatching(ctx, s, o, old)
	}
	return invalid("To erase keyslot(s), either explicit keyslot index " +
		"or the password currently contained in them must be given")
}

func (v *Volume) eraseSlot(ctx context.Context, s Store, o AmendOptions, old []byte) error {
	id, err := slotID(*o.Keyslot)
	if err != nil {
		return err
	}
	if o.OldSecret != nil {
		if match, err := v.opens(ctx, s.Read, id, old); err != nil || !match {
			if err == nil {
				err = invalid("Given keyslot %s doesn't contain the given old password for erase operation", id)
			}
			return err
		}
	}
	if !v.active(id) {
		return invalid("Given keyslot %s is already erased (inactive) ", id)
	}
	if !o.Force && v.countActive() == 1 {
		return invalid("Attempt to erase the only active keyslot %s which will erase all the data in the image "+
			"irreversibly - refusing operation", id)
	}
	return v.erase(s, []string{id})
}

func (v *Volume) eraseMatching(ctx context.Context, s Store, o AmendOptions, old []byte) error {
	var match []string
	for _, id := range slices.Sorted(maps.Keys(v.meta.Keyslots)) {
		ok, err := v.opens(ctx, s.Read, id, old)
		if err != nil {
			return err
		}
		if ok {
			match = append(match, id)
		}
	}
	if len(match) == 0 {
		return invalid("No keyslots match given (old) password for erase operation")
	}
	if !o.Force && len(match) == v.countActive() {
		return invalid("All the active keyslots match the (old) password that was given and erasing them will erase " +
			"all the data in the image irreversibly - refusing operation")
	}
	return v.erase(s, match)
}

// opens reports whether slot id holds the data's key under a passphrase. One that cannot be used does not.
func (v *Volume) opens(ctx context.Context, read crypt.ReadFunc, id string, password []byte) (bool, error) {
	if !v.active(id) {
		return false, nil
	}
	k := v.meta.Keyslots[id]
	key, err := v.loadKey(ctx, read, v.opts, id, &k, password)
	if err != nil {
		if ctx.Err() == nil && errors.As(err, new(*slotError)) {
			err = nil
		}
		return false, err
	}
	defer clear(key)
	return v.digest.matches(ctx, v.opts, key)
}

func (v *Volume) erase(s Store, ids []string) error {
	return qerr.WithHint(v.dropSlots(s, ids), fmt.Sprintf("Failed to erase keyslot %s", ids[0]))
}
