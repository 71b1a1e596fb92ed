package clustertest

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this seed alone")
	seedsFlag = flag.Int("seeds", 3, "how many seeds to run, from 1 on")
	forFlag   = flag.Duration("virtual", 5*time.Minute, "virtual time of each seed")
	meanFlag  = flag.Duration("mean", 15*time.Second, "virtual time between two faults, on average")
	kindsFlag = flag.String("kinds", "", "kinds of faults, with commas in between; all where it is empty")
)

// TestFaults runs a cluster under a seeded plan of faults. A failure names its seed: run it again with
// go test ./cluster/clustertest -run TestFaults -seed N -virtual D
func TestFaults(t *testing.T) {
	seeds := []uint64{*seedFlag}
	if *seedFlag == 0 {
		seeds = nil
		count := *seedsFlag
		if raced && !raceAll {
			count, *forFlag = 1, min(*forFlag, 2*time.Minute) // it takes ten times as long
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

// TestDamagedDisk has little else go wrong than the one disk, so that its node is rebuilt again and again. Without what rebuilds it the
// replicas are never whole again.
func TestDamagedDisk(t *testing.T) {
	longUnderRace(t)
	kinds := *kindsFlag
	defer func() { *kindsFlag = kinds }()
	*kindsFlag = "damaged disk,crash,isolated node"
	synctest.Test(t, func(t *testing.T) { runSeed(t, 3) })
}

func runSeed(t *testing.T, seed uint64) {
	t.Helper()
	level := slog.LevelError + 8
	if os.Getenv("PARLEY_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	report, err := Run{
		Seed: seed, For: *forFlag, FaultMean: *meanFlag, Nodes: 3 + 2*int(seed%5/4), Clients: 6, Raft: RaftSettings(),
		Faults: strings.FieldsFunc(*kindsFlag, func(r rune) bool { return r == ',' }),
		Log:    slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})),
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
