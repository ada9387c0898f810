// Package qobj holds JSON values the way QEMU does, so that what platter prints comes out in QEMU's order.
//
// A value is nil (JSON null), bool, int64, uint64 (only above the range of int64), float64, string, *Dict or List.
// Setting another integer kind is allowed and converts it.
//
// A Dict iterates in the order of QEMU's dictionaries: they are hash tables of 512 buckets, keyed by the TDB hash of
// the key, visited bucket by bucket; within a bucket the entry inserted last comes first. That order reaches the user
// in every JSON output and in "Format specific information", so nobody orders keys by hand.
//
// Besides values the package reads the three syntaxes in which options are written: JSON with QEMU's extensions and
// messages (ParseJSON), dotted key=value lists (ParseKeyval), and the older flat lists (FromOptsString).
package qobj
