package main

import (
	"golang.org/x/sys/unix"
)

const (
	ro, wo, rw = unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR
	direct     = unix.O_DIRECT
)

// accesses are the workloads; those of one image stand together, the readers before the writers.
var accesses = []access{
	{"mount", "blank.qcow2", true, 0, mounted},
	{"read 1 MiB, cold", "full.qcow2", false, 0, transfer{flags: ro, block: 1 << 20, cold: true}.use},
	{"read 1 MiB, again", "full.qcow2", false, 0, transfer{flags: ro, block: 1 << 20}.use},
	{"read 1 MiB, O_DIRECT", "full.qcow2", false, 0, transfer{flags: ro | direct, block: 1 << 20}.use},
	{"read 128 KiB, cold", "full.qcow2", false, 0, transfer{flags: ro, block: 128 << 10, cold: true}.use},
	{"read 4 KiB in order, cold", "full.qcow2", false, 0, transfer{flags: ro, block: 4096, cold: true}.use},
	{"read through mmap, cold", "full.qcow2", false, 0, mapped},
	{"random 4 KiB reads, O_DIRECT, 1 user", "full.qcow2", false, 0, transfer{flags: ro | direct, block: 4096, users: 1, count: 6000}.use},
	{"random 4 KiB reads, O_DIRECT, 16 users", "full.qcow2", false, 0, transfer{flags: ro | direct, block: 4096, users: 16, count: 1500}.use},
	{"random 4 KiB reads, cold, 1 user", "full.qcow2", false, 0, transfer{flags: ro, block: 4096, users: 1, count: 6000, cold: true}.use},
	{"random 4 KiB reads, cold, 8 users", "full.qcow2", false, 0, transfer{flags: ro, block: 4096, users: 8, count: 3000, cold: true}.use},
	{"overwrite 1 MiB", "full.qcow2", false, 0, transfer{flags: rw, write: true, block: 1 << 20}.use},
	{"overwrite 1 MiB, write only (dd, cp)", "full.qcow2", false, 0, transfer{flags: wo, write: true, block: 1 << 20}.use},
	{"overwrite 1 MiB, O_DIRECT", "full.qcow2", false, 0, transfer{flags: rw | direct, write: true, block: 1 << 20}.use},
	{"overwrite 1 MiB, fsync", "full.qcow2", false, 0, transfer{flags: rw, write: true, block: 1 << 20, sync: true}.use},
	{"random 4 KiB writes, 1 user", "full.qcow2", false, 0, transfer{flags: rw, write: true, block: 4096, users: 1, count: 4000}.use},
	{"random 4 KiB writes, 8 users", "full.qcow2", false, 0, transfer{flags: rw, write: true, block: 4096, users: 8, count: 1000}.use},
	{"random 4 KiB writes, O_DIRECT, 1 user", "full.qcow2", false, 0, transfer{flags: rw | direct, write: true, block: 4096, users: 1, count: 4000}.use},
	{"random 4 KiB writes, O_DIRECT, 16 users", "full.qcow2", false, 0, transfer{flags: rw | direct, write: true, block: 4096, users: 16, count: 1000}.use},
	{"sparse: read 1 MiB, cold", "disk.qcow2", false, 0, transfer{flags: ro, block: 1 << 20, cold: true}.use},
	{"sparse: cp --sparse=always", "disk.qcow2", false, 0, copied},
	{"sparse: SEEK_DATA, SEEK_HOLE, 1000 extents", "sparse.qcow2", false, 0, walked},
	{"chain of 4: read 1 MiB, cold", "chain.qcow2", false, 0, transfer{flags: ro, block: 1 << 20, cold: true}.use},
	{"chain of 4: random 4 KiB reads, O_DIRECT", "chain.qcow2", false, 0, transfer{flags: ro | direct, block: 4096, users: 1, count: 6000}.use},
	{"zlib: read 1 MiB, cold", "zlib.qcow2", false, 0, transfer{flags: ro, block: 1 << 20, cold: true}.use},
	{"zlib: random 4 KiB reads, O_DIRECT", "zlib.qcow2", false, 0, transfer{flags: ro | direct, block: 4096, users: 4, count: 300}.use},
	{"zstd: read 1 MiB, cold", "zstd.qcow2", false, 0, transfer{flags: ro, block: 1 << 20, cold: true}.use},
	{"zstd: random 4 KiB reads, O_DIRECT", "zstd.qcow2", false, 0, transfer{flags: ro | direct, block: 4096, users: 4, count: 300}.use},
	{"raw: read 1 MiB, cold", "full.raw", false, 0, transfer{flags: ro, block: 1 << 20, cold: true}.use},
	{"raw: random 4 KiB reads, O_DIRECT, 1 user", "full.raw", false, 0, transfer{flags: ro | direct, block: 4096, users: 1, count: 6000}.use},
	{"raw: overwrite 1 MiB", "full.raw", false, 0, transfer{flags: rw, write: true, block: 1 << 20}.use},
	{"raw, read-only: read 1 MiB, cold", "full.raw", false, readOnly, transfer{flags: ro, block: 1 << 20, cold: true}.use},
	{"raw, read-only: random 4 KiB reads, 1 user", "full.raw", false, readOnly, transfer{flags: ro, block: 4096, users: 1, count: 6000, cold: true}.use},
	{"new: write 1 MiB", "blank.qcow2", true, 0, transfer{flags: rw, write: true, block: 1 << 20}.use},
	{"new: write 1 MiB, write only (dd, cp)", "blank.qcow2", true, 0, transfer{flags: wo, write: true, block: 1 << 20}.use},
	{"new: write 1 MiB, O_DIRECT", "blank.qcow2", true, 0, transfer{flags: rw | direct, write: true, block: 1 << 20}.use},
	{"new: write 1 MiB, fsync", "blank.qcow2", true, 0, transfer{flags: rw, write: true, block: 1 << 20, sync: true}.use},
	{"new: random 4 KiB writes", "blank.qcow2", true, 0, transfer{flags: rw, write: true, block: 4096, users: 1, count: 4000}.use},
	{"new: random 4 KiB writes, 8 users", "blank.qcow2", true, 0, transfer{flags: rw, write: true, block: 4096, users: 8, count: 1000}.use},
	{"new: 4 KiB writes in order", "blank.qcow2", true, 0, transfer{flags: rw, write: true, block: 4096, part: 8}.use},
	{"loop mount: untar, sync", "blank.qcow2", true, needRoot, unpacked},
	{"loop mount: tar of it, cold", "blank.qcow2", true, needRoot, packed},
}
