package vmdk_test

import (
	"testing"

	"platter/chain"
	"platter/formats"
)

// TestCheckBeyond: a redundant grain table that differs is told as a leak and a grain in the place of another as a
// corruption; who expects QEMU's output is told of neither.
func TestCheckBeyond(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(p []byte)
		want   formats.CheckResult
	}{
		"copy":    {func(p []byte) { copy(p[22*sector:], le32(7)) }, formats.CheckResult{Leaks: 1}},
		"shared":  {func(p []byte) { copy(p[22*sector:], le32(32)); copy(p[27*sector:], le32(32)) }, formats.CheckResult{Corruptions: 1}},
		"overlap": {func(p []byte) { copy(p[22*sector:], le32(40)); copy(p[27*sector:], le32(40)) }, formats.CheckResult{Corruptions: 2}},
		"none":    {func([]byte) {}, formats.CheckResult{}},
	} {
		t.Run(name, func(t *testing.T) {
			p := sparse(plainHeader(), text("monolithicSparse"))
			c.damage(p)
			files{"disk.vmdk": p}.write(t)
			n, err := chain.Open(t.Context(), environment(t), chain.Request{Filename: "disk.vmdk"})
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			k, _ := formats.As[formats.Checker](n)
			env := *environment(t).Env
			if r, err := k.Check(t.Context(), 0, &env); err != nil || r != (formats.CheckResult{}) {
				t.Errorf("as QEMU: %+v, %v", r, err)
			}
			env.Beyond = true
			if r, err := k.Check(t.Context(), 0, &env); err != nil || r != c.want {
				t.Errorf("%+v, %v; want %+v", r, err, c.want)
			}
		})
	}
}
