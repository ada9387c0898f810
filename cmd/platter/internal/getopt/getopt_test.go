package getopt_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"platter/cmd/platter/internal/getopt"
)

func spec(o getopt.Order) getopt.Spec {
	return getopt.Spec{
		Short: map[byte]bool{'f': true, 'q': false, 'p': false},
		Long: []getopt.Long{
			{Name: "quiet", Key: "q"}, {Name: "format", Key: "f", Value: true}, {Name: "force", Key: "force"},
			{Name: "a-fmt", Key: "a", Value: true}, {Name: "a-format", Key: "a", Value: true},
		},
		Order: o,
	}
}

// scan writes what the scanner gives in one line.
func scan(o getopt.Order, args ...string) string {
	s := getopt.New(spec(o), args)
	var out []string
	for {
		it, err := s.Next()
		switch {
		case errors.Is(err, getopt.ErrEnd):
			return strings.Join(append(out, fmt.Sprintf("%q", s.Operands())), " ")
		case err != nil:
			return strings.Join(append(out, err.Error()), " ")
		case it.Operand:
			out = append(out, "operand:"+it.Value)
		case it.Long != nil:
			out = append(out, "--"+it.Long.Name+":"+it.Value)
		default:
			out = append(out, "-"+string(rune(it.Short))+":"+it.Value)
		}
	}
}

func TestScan(t *testing.T) {
	for _, c := range []struct {
		order getopt.Order
		args  string
		want  string
	}{
		{getopt.Permute, "a -q b", `-q: ["a" "b"]`},
		{getopt.Permute, "-fqcow2 a", `-f:qcow2 ["a"]`},
		{getopt.Permute, "-qfx -- -q", `-q: -f:x ["-q"]`},
		{getopt.Permute, "a -- b -q", `["a" "b" "-q"]`},
		{getopt.Permute, "-f -- -q", `-f:-- -q: []`},
		{getopt.Permute, "- -q", `-q: ["-"]`},
		{getopt.Permute, "--form=x --form y --qu", `--format:x --format:y --quiet: []`},
		{getopt.Permute, "--format= a", `--format: ["a"]`},
		{getopt.Permute, "--a x", `--a-fmt:x []`},
		{getopt.Permute, "--fo", `option '--fo' is ambiguous; possibilities: '--format' '--force'`},
		{getopt.Permute, "--=x", `option '--=x' is ambiguous; possibilities: '--quiet' '--format' '--force' '--a-fmt' '--a-format'`},
		{getopt.Permute, "--nix=3", `unrecognized option '--nix=3'`},
		{getopt.Permute, "--quiet=1", `option '--quiet' doesn't allow an argument`},
		{getopt.Permute, "--format", `option '--format' requires an argument`},
		{getopt.Permute, "-q -f", `-q: option requires an argument -- 'f'`},
		{getopt.Permute, "-qz", `-q: invalid option -- 'z'`},
		{getopt.Permute, "-q-", `-q: invalid option -- '-'`},
		{getopt.Stop, "-q a -q", `-q: ["a" "-q"]`},
		{getopt.Stop, "-- -q", `["-q"]`},
		{getopt.InOrder, "a -q b -- c", `operand:a -q: operand:b ["c"]`},
	} {
		if got := scan(c.order, strings.Fields(c.args)...); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.args, got, c.want)
		}
	}
}

func TestPeekAndSkip(t *testing.T) {
	s := getopt.New(spec(getopt.InOrder), []string{"a", "-5", "-q"})
	if it, err := s.Next(); err != nil || it.Value != "a" {
		t.Fatal(it, err)
	}
	if next, ok := s.Peek(); !ok || next != "-5" {
		t.Fatal(next, ok)
	}
	s.Skip()
	if it, err := s.Next(); err != nil || it.Short != 'q' {
		t.Fatal(it, err)
	}
	if _, err := s.Next(); !errors.Is(err, getopt.ErrEnd) || len(s.Operands()) != 0 {
		t.Fatal(err, s.Operands())
	}
}

func FuzzScan(f *testing.F) {
	f.Add("a -qf x --format=y -- z")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		before := slices.Clone(args)
		scan(getopt.Permute, args...)
		scan(getopt.InOrder, args...)
		if !slices.Equal(args, before) {
			t.Fatal("the arguments were changed")
		}
	})
}
