package clustertest

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this seed alone")
	seedsFlag = flag.Int("seeds", 3, "how many seeds to run, from 1 on")
	forFlag   = flag.Duration("virtual", 5*time.Minute, "virtual time of each seed")
	meanFlag  = flag.Duration("mean", 15*time.Second, "virtual time between two faults, on average")
)

// TestFaults runs a cluster under a seeded plan of faults. A failure names its seed: run it again with
// go test ./cluster/clustertest -run TestFaults -seed N -virtual D
func TestFaults(t *testing.T) {
	seeds := []uint64{*seedFlag}
	if *seedFlag == 0 {
		seeds = nil
		count := *seedsFlag
		if raced {
			count = 1 // it takes ten times as long, and sees as much with one
		}
		for i := range count {
			seeds = append(seeds, uint64(i+1))
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			start := time.Now()
			synctest.Test(t, func(t *testing.T) { runSeed(t, seed) })
			t.Logf("%v of real time", time.Since(start).Round(time.Millisecond))
		})
	}
}

func runSeed(t *testing.T, seed uint64) {
	t.Helper()
	level := slog.LevelError + 8
	if os.Getenv("PARLEY_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	report, err := Run{
		Seed: seed, For: *forFlag, FaultMean: *meanFlag, Nodes: 3 + 2*int(seed%5/4), Clients: 6, Raft: RaftSettings(),
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})),
	}.Do()
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	t.Logf("seed %d, %v: %s", seed, *forFlag, report)
	if len(report.Violations) > 0 {
		t.Errorf("seed %d: %d violations; again with: go test ./cluster/clustertest -run TestFaults -seed %d -virtual %v -mean %v",
			seed, len(report.Violations), seed, *forFlag, *meanFlag)
	}
}
