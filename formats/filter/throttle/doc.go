// Package throttle is the filter that limits operations and bytes per second, by the limits of an --object
// throttle-group. All nodes of one command that name a group share its limits.
//
// Each limit is a leaky bucket (QEMU's docs/throttle.txt): it leaks at the average rate; a request waits while the bucket
// is over its capacity, and then pours its cost in. The capacity is a tenth of a second of the average, or, with a burst
// rate, what the burst brings in its length. Requests larger than iops-size count as several operations.
package throttle
