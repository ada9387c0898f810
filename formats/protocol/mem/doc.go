// Package mem is a protocol for images in memory, for tests: a Store is a set of named files, and its Driver opens
// them under "mem:NAME". Nothing outside tests registers it.
package mem
