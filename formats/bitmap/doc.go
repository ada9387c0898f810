// Package bitmap is a dirty bitmap in memory: one bit for each granule of an image, set when the granule was written.
// It is what qcow2's persistent bitmaps are loaded into, what writes are recorded in, and what is merged and exported.
package bitmap
