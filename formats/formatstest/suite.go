package formatstest

import "testing"

// Run runs the whole suite over a format that can be created and written. Each part is a subtest.
func Run(t *testing.T, s Subject) {
	t.Run("contract", func(t *testing.T) { Contract(t, s) })
	t.Run("model", func(t *testing.T) { Model(t, s, 1, s.rounds(250)) })
	t.Run("concurrent", func(t *testing.T) { Concurrent(t, s) })
	t.Run("fault", func(t *testing.T) { Faults(t, s) })
	t.Run("crash", func(t *testing.T) { Crashes(t, s, s.rounds(60)) })
}
