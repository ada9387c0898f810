// Package codec holds the compressors and decompressors of the image formats: whole buffer in, whole buffer out.
//
// Compressed clusters, grains and chunks are small (4 KiB to some MiB), lie in memory as a whole and decode to a size
// that is known beforehand. So nothing here streams: a call takes all input, writes into a buffer of the caller and
// returns counts. State is kept in a struct which one worker reuses; a call allocates nothing once the state is warm
// (Bunzip2 and Unxz are the exceptions, they wrap stream readers).
//
//	Inflater     deflate and zlib streams (RFC 1951, RFC 1950): qcow2, qcow, vmdk, dmg, cloop
//	Deflater     the same, written; the window is limited to what the format's readers keep
//	ZstdDecoder  Zstandard (RFC 8878) clusters of qcow2
//	ZstdEncoder  the same, written
//	Bunzip2      bzip2 chunks of dmg
//	Unxz         xz chunks of dmg
//	IsZero       whether a buffer holds zeroes only
//	CopyMatch    the overlapping copy of an LZ77 decoder
//
// The sub-packages adc and lzfse decode the two chunk types that only dmg has.
//
// No type is safe for concurrent use; give each worker its own. Every decoder treats its input as hostile: it never
// writes past the given buffer, its memory is bounded by that buffer plus a constant, and its time by input plus output.
//
// Errors are of four kinds, matched with errors.Is: ErrCorrupt, ErrTruncated, ErrTooLarge and ErrChecksum. What a kind
// means for a cluster is the driver's decision, because the formats differ: qcow2 takes a stream that would go on after
// the cluster is full, dmg does not (see Fill).
package codec
