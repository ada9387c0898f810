package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"

	"platter/integration/programs"
)

// bench is one run: where files lie and which programs take turns.
type bench struct {
	dir            string
	size           int64 // bytes of the disk that workloads use
	rounds         int
	only           *regexp.Regexp
	stock, platter programs.Program // qemu-img, and ours under that name
}

// side is one of the two that take turns.
type side struct {
	name string
	run  func() (time.Duration, error)
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
	b := &bench{size: size, rounds: rounds, only: pattern}
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
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)

	fmt.Printf("%d MiB, median of %d rounds; ratio > 1: platter is faster\n\n", size>>20, rounds)
	fmt.Printf("%-36s %12s %12s %8s\n", "workload", "stock", "platter", "ratio")
	for _, part := range []func(stop <-chan os.Signal) error{b.commands, b.mounts} {
		if err := part(stop); err != nil {
			return err
		}
	}
	return nil
}

// compare lets two sides take turns and prints a line. An error of one side is printed in its place.
func (b *bench) compare(name string, sides [2]side, stop <-chan os.Signal) error {
	if !b.only.MatchString(name) {
		return nil
	}
	var times [2][]time.Duration
	for range b.rounds {
		for i, s := range sides {
			select {
			case sig := <-stop:
				return fmt.Errorf("ended by %v", sig)
			default:
			}
			d, err := s.run()
			if err != nil {
				fmt.Printf("%-36s %s: %v\n", name, s.name, err)
				return nil
			}
			times[i] = append(times[i], d)
		}
	}
	stock, ours := median(times[0]), median(times[1])
	fmt.Printf("%-36s %12s %12s %8.2f\n", name, stock.Round(time.Microsecond*100), ours.Round(time.Microsecond*100),
		stock.Seconds()/ours.Seconds())
	return nil
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	if n := len(d); n%2 == 0 {
		return (d[n/2-1] + d[n/2]) / 2
	}
	return d[len(d)/2]
}
