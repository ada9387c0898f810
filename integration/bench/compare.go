package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// sample is what one run of a workload took.
type sample struct{ wall, cpu time.Duration }

// side is one of the two that take turns.
type side struct {
	name string
	run  func() (sample, error)
}

// row is a line of the table: how many times faster platter is, and how many times less of the processors it used.
type row struct {
	name      string
	wall, cpu float64
}

// wanted reports whether a workload was asked for.
func (b *bench) wanted(name string) bool { return b.only.MatchString(name) }

// compare lets two sides take turns, each beginning every other round, and prints a line. An error of one side is
// printed in its place.
func (b *bench) compare(name string, sides [2]side) error {
	var wall, cpu [2][]time.Duration
	for round := range b.rounds {
		for k := range sides {
			k = (k + round) % 2
			select {
			case sig := <-b.stop:
				return fmt.Errorf("ended by %v", sig)
			default:
			}
			s, err := sides[k].run()
			if err != nil {
				fmt.Printf("%-44s %s: %v\n", name, sides[k].name, err)
				return nil
			}
			wall[k], cpu[k] = append(wall[k], s.wall), append(cpu[k], s.cpu)
		}
	}
	r := row{name, ratio(median(wall[0]), median(wall[1]), 1), ratio(median(cpu[0]), median(cpu[1]), time.Millisecond)}
	fmt.Printf("%-44s %10s %10s %6.2f  %9s %9s %6.2f\n", name, short(median(wall[0])), short(median(wall[1])), r.wall,
		short(median(cpu[0])), short(median(cpu[1])), r.cpu)
	b.rows = append(b.rows, r)
	return nil
}

// summary prints the means, and what is slower than the stock tools.
func summary(rows []row) {
	if len(rows) == 0 {
		return
	}
	var wall, cpu float64
	counted := 0
	worst := rows[0]
	for _, r := range rows {
		wall += math.Log(r.wall)
		if r.cpu > 0 {
			cpu += math.Log(r.cpu)
			counted++
		}
		if r.wall < worst.wall {
			worst = r
		}
	}
	fmt.Printf("\ngeometric mean of %d: %.2f, cpu %.2f; least: %.2f (%s); load %s\n", len(rows), math.Exp(wall/float64(len(rows))),
		math.Exp(cpu/float64(max(counted, 1))), worst.wall, worst.name, load())
}

// ratio is 0 where there is too little to divide by: the processor time of what hardly uses any says nothing.
func ratio(stock, ours, least time.Duration) float64 {
	if stock <= 0 || ours < least {
		return 0
	}
	return stock.Seconds() / ours.Seconds()
}

func short(d time.Duration) string { return fmt.Sprintf("%.1fms", float64(d)/1e6) }

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	if n := len(d); n%2 == 0 {
		return (d[n/2-1] + d[n/2]) / 2
	}
	return d[len(d)/2]
}
