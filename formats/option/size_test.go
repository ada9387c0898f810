package option_test

import (
	"errors"
	"syscall"
	"testing"

	"platter/formats/option"
)

// What qemu-img 10.0.2 makes of these texts for measure --size.
func TestParseSize(t *testing.T) {
	const inv, rng = syscall.EINVAL, syscall.ERANGE
	for _, c := range []struct {
		text string
		want uint64
		err  error
	}{
		{"0x10", 16, nil}, {"0x5B", 91, nil}, {"0xE", 14, nil}, {"1.5k", 1536, nil}, {".5k", 512, nil}, {"1.k", 1024, nil},
		{"+5", 5, nil}, {" 5", 5, nil}, {"5b", 5, nil}, {"007", 7, nil}, {"08", 8, nil}, {"1p", 1 << 50, nil},
		{"1e", 1 << 60, nil}, {"0.0000001E", 115292150461, nil}, {"8E", 1 << 63, nil}, {"15E", 15 << 60, nil},
		{"1.0000000000000000000000000000000000000001k", 1024, nil}, {"18446744073709551615", 1<<64 - 1, nil},
		{"16E", 0, rng}, {"-1", 0, rng}, {"-0", 0, rng}, {"18446744073709551616", 0, rng},
		{"0x10k", 0, inv}, {"1.5", 0, inv}, {"1e3", 0, inv}, {"1e3k", 0, inv}, {"5 ", 0, inv}, {"1kk", 0, inv},
		{"1kB", 0, inv}, {"0x", 0, inv}, {"0x1.8", 0, inv}, {"1.1b", 0, inv}, {"", 0, inv}, {"0x1p3", 0, inv}, {"0x1P", 0, inv},
		{"1e+2", 0, inv}, {"inf", 0, inv}, {"nan", 0, inv}, {"1,5", 0, inv}, {"0x-1", 0, inv}, {"-1k", 0, inv},
		{"99999999999999999999E", 0, inv}, {"-", 0, inv}, {".", 0, inv}, {"inf.", 0, inv}, {"1..5k", 0, inv},
	} {
		got, err := option.ParseSize(c.text)
		if got != c.want && err == nil || !errors.Is(err, c.err) {
			t.Errorf("ParseSize(%q) = %d, %v; want %d, %v", c.text, got, err, c.want, c.err)
		}
	}
}

// What qemu-img 10.0.2 makes of these texts for convert -m.
func TestParseUint(t *testing.T) {
	const inv, rng = syscall.EINVAL, syscall.ERANGE
	for _, c := range []struct {
		text string
		want uint64
		err  error
	}{
		{"0", 0, nil}, {"0x10", 16, nil}, {"010", 8, nil}, {" 4", 4, nil}, {"+4", 4, nil}, {"-1", 1<<64 - 1, nil},
		{"-18446744073709551615", 1, nil}, {"99999999999999999999", 0, rng},
		{"1k", 0, inv}, {"1.5", 0, inv}, {"", 0, inv}, {"4 ", 0, inv}, {"08", 0, inv}, {"+", 0, inv}, {"0x", 0, inv},
	} {
		got, err := option.ParseUint(c.text)
		if got != c.want && err == nil || !errors.Is(err, c.err) {
			t.Errorf("ParseUint(%q) = %d, %v; want %d, %v", c.text, got, err, c.want, c.err)
		}
	}
}

// Lists that qemu-img 10.0.2 accepts and refuses for -o.
func TestIsValidList(t *testing.T) {
	for list, want := range map[string]bool{
		"a": true, "a,,": true, "a,,b": true, "a,,,b": true, "a,,,,b": true, "a=b,c=d": true,
		"": false, "a,": false, ",a": false, ",,": false, ",": false, "a,,=b,": false,
	} {
		if got := option.IsValidList(list); got != want {
			t.Errorf("IsValidList(%q) = %v", list, got)
		}
	}
}
