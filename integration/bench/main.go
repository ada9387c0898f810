package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"

	"platter/integration/programs"
)

// bench is one run: where files lie and which programs take turns.
type bench struct {
	dir            string
	size           int64 // bytes of the disk that workloads use
	rounds         int
	only           *regexp.Regexp
	stop           chan os.Signal
	stock, platter programs.Program // qemu-img, and ours under that name
	made           map[string]bool  // images that were prepared
	rows           []row            // of the present part
}

func main() {
	rounds := flag.Int("rounds", 5, "how often each workload is run on each side")
	size := flag.Int64("size", 256, "size of the disk in MiB")
	only := flag.String("run", "", "regular expression of workloads to run")
	dir := flag.String("dir", "", "folder for the images (default: a temporary one)")
	flag.Parse()
	if err := run(*dir, *size<<20, *rounds, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(dir string, size int64, rounds int, only string) error {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	// The users of a mounted disk are threads that sit in system calls the scheduler knows nothing of.
	runtime.GOMAXPROCS(runtime.NumCPU() + maxUsers)
	b := &bench{size: size, rounds: rounds, only: pattern, made: map[string]bool{}, stop: make(chan os.Signal, 1)}
	if b.stock, err = programs.Stock("qemu-img"); err != nil {
		return err
	}
	if b.platter, err = programs.Platter("qemu-img"); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(dir, "platter-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	// An interrupted run still unmounts and removes its files: the programs it waits for end, and the steps return.
	signal.Notify(b.stop, syscall.SIGINT, syscall.SIGTERM)

	fmt.Printf("%d MiB, median of %d rounds; ratio > 1: platter is faster, or needs less\n", size>>20, rounds)
	for _, part := range []struct {
		title string
		run   func() error
	}{{"command line: qemu-img", b.commands}, {"mount: qemu-storage-daemon's FUSE export", b.mounts}} {
		b.rows = nil
		fmt.Printf("\n%-44s %10s %10s %6s  %9s %9s %6s\n", part.title, "stock", "platter", "ratio", "cpu stock", "platter", "ratio")
		if err := part.run(); err != nil {
			return err
		}
		summary(b.rows)
	}
	return nil
}

// load is the load average of the machine, and how many processors share it.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%s of %d processors", strings.Join(strings.Fields(string(text))[:3], " "), runtime.NumCPU())
}
