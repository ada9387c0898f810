package vpc_test

import (
	"context"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/formatstest"
	"platter/formats/option"
	"platter/formats/raw"
	"platter/formats/vpc"
)

// drivers are vpc with the options that QEMU's does not have, and what it stands on.
func drivers() []*formats.Driver {
	return formats.NewRegistry(raw.Driver(), vpc.Driver()).Beyond().All()
}

func TestSuite(t *testing.T) {
	for _, o := range []string{"", "subformat=fixed", "force_size=on", "subformat=fixed,force_size=on"} {
		t.Run(o, func(t *testing.T) {
			formatstest.Run(t, formatstest.Subject{Drivers: drivers(), Format: "vpc", Options: o})
		})
	}
	t.Run("differencing", func(t *testing.T) {
		const size = 3 << 20 // a geometry's
		formatstest.Run(t, formatstest.Subject{Drivers: drivers(), Format: "vpc", Size: size,
			Options: "backing_file=" + formatstest.Name("base.vpc") + ",backing_fmt=vpc",
			Prepare: func(t testing.TB, env *chain.Env) {
				drv := env.Registry.Find("vpc")
				v, err := drv.CreateOpts.Parse("force_size=on")
				if err != nil {
					t.Fatal(err)
				}
				create(t, env, formatstest.Name("base.vpc"), v, size)
			}})
	})
}

// create makes an image.
func create(t testing.TB, env *chain.Env, name string, v *option.Values, size int64) {
	t.Helper()
	r := chain.CreateRequest{Filename: name, Driver: env.Registry.Find("vpc"), Options: v, Size: size}
	if err := chain.Create(context.Background(), env, r); err != nil {
		t.Fatal(err)
	}
}
