// Package devices runs qemu-img's verbs on block devices, on files that are no images, and with O_DIRECT, stock's and ours,
// and compares.
package devices
