package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// withSignals gives a context that SIGINT, SIGTERM and SIGHUP cancel. The verb then stops, leaves its images whole and
// exits with status 1. Whoever is in too much of a hurry sends the signal again: it then has its usual effect. stop ends
// the watching, without waiting for the end.
//
// Catching the signals is a tenth of what the program needs to start: what only prints a text does without.
func withSignals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case <-caught:
			signal.Reset(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			cancel()
		case <-ctx.Done():
			signal.Stop(caught)
		}
	}()
	return ctx, cancel
}
