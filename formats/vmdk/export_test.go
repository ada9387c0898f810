package vmdk

import "testing"

// SplitAt makes extents of the twoGbMaxExtent kinds n bytes large while the test runs.
func SplitAt(t *testing.T, n int64) {
	was := splitSize
	splitSize = n
	t.Cleanup(func() { splitSize = was })
}
