package qcow2

import "context"

// stream is a reader that goes through the disk in order.
type stream struct {
	next  guestOff // where it will go on
	ahead guestOff // up to where clusters were wanted for it
	n     int64    // length of the last request
	hits  int      // requests in a row that went on where one had ended
	used  uint64
}

// follow finds the stream that a read of n bytes at g belongs to, or begins one, and returns the range that it is
// likely to want next: none unless it was seen to go on, twice if its reads are small. The lock of i.clusters is held.
//
// The kernel has two requests under way when it reads ahead, and two threads may bring them in the wrong order.
func (d *decodedClusters) follow(g guestOff, n int64, clusterSize int64) (from, to guestOff) {
	d.clock++
	oldest := 0
	for k := range d.streams {
		s := &d.streams[k]
		if s.used != 0 && (g == s.next || s.hits > 0 && (g == s.next+guestOff(s.n) || g+guestOff(n+s.n) == s.next)) {
			s.hits++
			s.used, s.n = d.clock, n
			s.next = max(s.next, g+guestOff(n))
			if s.hits < 2 && n < 2*clusterSize {
				return 0, 0
			}
			from = max(s.next, s.ahead)
			s.ahead = max(from, s.next+guestOff(min(int64(s.hits+1)*n, max(aheadBytes, 2*clusterSize))))
			return from, s.ahead
		}
		if s.used < d.streams[oldest].used {
			oldest = k
		}
	}
	d.streams[oldest] = stream{next: g + guestOff(n), n: n, used: d.clock}
	return 0, 0
}

// readAhead has what a stream that reads n bytes at g will want decompressed. Only requests look into the tables, so
// the descriptors are looked up here; no request does more of that than it has bytes itself, but for the first ones.
func (i *image) readAhead(ctx context.Context, g guestOff, n int64) {
	d := &i.clusters
	d.mu.Lock()
	from, to := d.follow(g, n, i.clusterSize)
	d.mu.Unlock()
	from = guestOff(i.roundUp(int64(from)))
	to = min(to, guestOff(i.Size()))
	var entries []uint64
	for ; from < to; from += guestOff(i.clusterSize) {
		e, err := i.lookup(ctx, from, i.clusterSize, false)
		if err != nil {
			break // whoever reads there will be told
		}
		if e.kind == compressed {
			entries = append(entries, e.entry)
		}
	}
	if len(entries) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range entries {
		if d.closed {
			return
		}
		if s := d.lookFor(e); s != nil {
			s.users--
		} else if s = d.add(e, i.clusterSize, i.clusterSize); s != nil {
			d.ahead = append(d.ahead, s)
		}
	}
	i.startWorkers()
}
