package formatstest

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"platter/chain"
	"platter/formats"
	"platter/formats/option"
	"platter/formats/qerr"
	"platter/formats/qobj"
)

// Subject is a format under test.
type Subject struct {
	Drivers []*formats.Driver // the format's, and those that its images are stacked on; no protocol is needed
	Format  string
	Options string            // -o of create
	Runtime map[string]string // runtime options of every open
	Size    int64             // virtual size in bytes; 0: 3 MiB and 512 bytes
	Secrets map[string]string // what Env.Secret knows
	// Verify is called with every closed (and every crashed) image, in a file of the store.
	Verify func(t *testing.T, s *Store, base string)
	// Unsynced: a crash may leave any old content of the file in a sector that was written and not flushed.
	Unsynced bool
	// Recovers: what a crash leaves is mended when the image is next opened for writing, and checked only then.
	Recovers bool
	// Noise: a new image, and what a resize adds, reads as anything (encrypted containers). The tests write zeroes there.
	Noise bool
	// Prepare makes what the image stands on in a new store, before it is created: a parent that reads as zeroes.
	Prepare func(t testing.TB, env *chain.Env)
	// Rounds multiplies the length of the random tests; 0 means 1.
	Rounds int
}

func (s Subject) size() int64 {
	if s.Size == 0 {
		return 3<<20 + 512
	}
	return s.Size
}

func (s Subject) rounds(n int) int { return n * max(s.Rounds, 1) }

// base is the file name of the image in a store.
func (s Subject) base() string { return "disk." + s.Format }

// env is an environment over a store.
func (s Subject) env(t testing.TB, store *Store) *chain.Env {
	return &chain.Env{
		Registry: formats.NewRegistry(append([]*formats.Driver{store.Driver()}, s.Drivers...)...),
		Env: &formats.Env{
			Beyond: true,
			Secret: func(id string) ([]byte, error) {
				if v, ok := s.Secrets[id]; ok {
					return []byte(v), nil
				}
				return nil, qerr.New(syscall.ENOENT, "No secret with id '%s'", id)
			},
			Object: func(string) (any, bool) { return nil, false },
			Warn:   func(f string, a ...any) { t.Logf("warning: "+f, a...) },
			Report: func(f string, a ...any) { t.Logf("%s", fmt.Sprintf(f, a...)) },
		},
	}
}

// create makes the image in a new store.
func (s Subject) create(t testing.TB) *Store {
	t.Helper()
	store := NewStore()
	env := s.env(t, store)
	if s.Prepare != nil {
		s.Prepare(t, env)
	}
	drv := env.Registry.Find(s.Format)
	if drv == nil || drv.CreateOpts == nil && !drv.RawCreate {
		t.Fatalf("format %q cannot be created", s.Format)
	}
	schema, err := chain.CreateSchema(env, drv, Name(s.base()))
	if err != nil {
		t.Fatal(err)
	}
	v := &option.Values{}
	if s.Options != "" {
		if v, err = schema.Parse(s.Options); err != nil {
			t.Fatalf("options %q: %v", s.Options, err)
		}
	}
	if err := v.Set(schema, "size", fmt.Sprint(s.size())); err != nil {
		t.Fatal(err)
	}
	r := chain.CreateRequest{Filename: Name(s.base()), Driver: drv, Options: v, Size: s.size()}
	if err := chain.Create(context.Background(), env, r); err != nil {
		t.Fatalf("create %s -o %s: %v", s.Format, s.Options, err)
	}
	if s.Noise {
		n := s.mustOpen(t, store, readWrite)
		s.silence(t, n, 0)
		mustClose(t, n)
	}
	return store
}

// silence writes zeroes from off to the end of an image that does not read as zeroes by itself.
func (s Subject) silence(t testing.TB, n *chain.Node, off int64) {
	t.Helper()
	if err := n.WriteZeroes(context.Background(), off, max(n.Size()-off, 0), 0); err != nil {
		t.Fatalf("zeroes over a new image: %v", err)
	}
}

const readWrite = formats.ReadWrite | formats.Resize | formats.Unmap

// open opens the image of a store.
func (s Subject) open(t testing.TB, store *Store, flags formats.OpenFlags) (*chain.Node, error) {
	opts := qobj.NewDict()
	for k, v := range s.Runtime {
		opts.Set(k, v)
	}
	return chain.Open(context.Background(), s.env(t, store),
		chain.Request{Filename: Name(s.base()), Format: s.Format, Options: opts, Flags: flags})
}

func (s Subject) mustOpen(t testing.TB, store *Store, flags formats.OpenFlags) *chain.Node {
	t.Helper()
	n, err := s.open(t, store, flags)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return n
}

func mustClose(t testing.TB, n *chain.Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// check runs the driver's own check, where it has one, and Verify.
func (s Subject) check(t *testing.T, store *Store, leaksAllowed bool, when string) {
	t.Helper()
	n, err := s.open(t, store, formats.ForCheck)
	if err != nil {
		t.Fatalf("%s: open for check: %v", when, err)
	}
	if c, ok := formats.As[formats.Checker](n); ok {
		var found []string
		env := *s.env(t, store).Env
		env.Report = func(f string, a ...any) { found = append(found, fmt.Sprintf(f, a...)) }
		var res formats.CheckResult
		err := n.Exclusive(func() (err error) {
			res, err = c.Check(context.Background(), 0, &env)
			return err
		})
		if err != nil || res.Corruptions > 0 || res.CheckErrors > 0 || res.Leaks > 0 && !leaksAllowed {
			t.Errorf("%s: check: %+v, %v\n%s", when, res, err, strings.Join(found, "\n"))
		}
	}
	mustClose(t, n)
	if s.Verify != nil {
		s.Verify(t, store, s.base())
	}
}
