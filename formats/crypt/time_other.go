//go:build !linux

package crypt

import "time"

// threadTime is the clock where the processor time of one thread is not at hand.
func threadTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
