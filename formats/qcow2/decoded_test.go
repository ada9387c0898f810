package qcow2

import (
	"testing"
)

// TestFollow tells readers in order from others.
func TestFollow(t *testing.T) {
	const k, m, cluster = 1 << 10, 1 << 20, 64 << 10
	type read struct{ at, n, from, to int64 }
	for name, reads := range map[string][]read{
		"large":     {{0, m, 0, 0}, {m, m, 2 * m, 4 * m}, {2 * m, m, 4 * m, 5 * m}, {9 * m, m, 0, 0}, {3 * m, m, 5 * m, 6 * m}},
		"two turns": {{0, m, 0, 0}, {m, m, 2 * m, 4 * m}, {3 * m, m, 4 * m, 6 * m}, {2 * m, m, 6 * m, 6 * m}, {4 * m, m, 6 * m, 7 * m}},
		"small":     {{0, 4 * k, 0, 0}, {4 * k, 4 * k, 0, 0}, {8 * k, 4 * k, 12 * k, 24 * k}, {12 * k, 4 * k, 24 * k, 32 * k}},
		"random":    {{0, 4 * k, 0, 0}, {4 * m, 4 * k, 0, 0}, {8 * m, 4 * k, 0, 0}, {m, 4 * k, 0, 0}, {20 * k, 4 * k, 0, 0}},
		"two readers": {{0, m, 0, 0}, {50 * m, m, 0, 0}, {m, m, 2 * m, 4 * m}, {51 * m, m, 52 * m, 54 * m},
			{2 * m, m, 4 * m, 5 * m}},
	} {
		var d decodedClusters
		for j, r := range reads {
			from, to := d.follow(guestOff(r.at), r.n, cluster)
			if int64(from) != r.from || int64(to) != r.to {
				t.Errorf("%s: read %d: %d KiB to %d KiB, want %d to %d", name, j, from>>10, to>>10, r.from>>10, r.to>>10)
			}
		}
	}
}

// TestDecodedPlaces holds the bounds: places are used again, the oldest first, but none that is in use.
func TestDecodedPlaces(t *testing.T) {
	var d decodedClusters
	const cluster = decodedBytes / 4
	var held []*decodedSlot
	for e := range uint64(4) {
		s := d.obtain(e, cluster, cluster)
		s.state, s.data = slotMade, s.buf[:cluster]
		held = append(held, s)
	}
	if s := d.obtain(9, cluster, cluster); s != nil {
		t.Error("a place in use was given away")
	}
	held[1].users, held[2].users = 0, 0
	if d.find(1).users = 0; d.obtain(9, cluster, cluster) == nil {
		t.Fatal("no place although two are free")
	}
	if d.find(2) != nil || d.find(1) == nil || d.find(9) == nil || len(d.slots) != 4 {
		t.Error("not the oldest of the free places was taken")
	}
	d.forget()
	if d.find(9) != nil || len(d.slots) != 0 {
		t.Error("something is known after forget")
	}
}
