package clustertest

import (
	"flag"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

var movesFlag = flag.Int("moves", 22, "jobs that move slots to and fro")

// Slots of rooms and users that are in use go to and fro between shards, with nodes killed at each step of a move and faults beside that. The
// judges of the promises are those of TestFaults, and one that replays the shards' logs: no two of them ever serve a slot.
func TestSlotsToAndFro(t *testing.T) {
	seed, moves := max(*seedFlag, 1), *movesFlag
	if raced && !raceAll {
		moves = min(moves, len(moveSteps)) // it takes ten times as long, and comes to each step once
	}
	start := time.Now()
	synctest.Test(t, func(t *testing.T) { shuffleSeed(t, Run{Seed: seed, Moves: moves, FaultMean: *meanFlag}) })
	t.Logf("%v of real time", time.Since(start).Round(time.Millisecond))
}

// undecidedMax is how long a request may wait for a decision while its slot moves and nothing fails.
const undecidedMax = time.Second

// While nothing else goes wrong, a request of a slot that moves is decided soon.
func TestMoveHoldsNobodyUp(t *testing.T) {
	longUnderRace(t)
	synctest.Test(t, func(t *testing.T) {
		report := shuffleSeed(t, Run{Seed: 2, Moves: 30, Calm: true, Latency: 2 * time.Millisecond, Think: 100 * time.Millisecond})
		if report.Slowest > undecidedMax {
			t.Errorf("a request waited for %v", report.Slowest)
		}
	})
}

func shuffleSeed(t *testing.T, r Run) Report {
	t.Helper()
	level := slog.LevelError + 8
	if os.Getenv("PARLEY_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	r.Nodes, r.Clients, r.Raft = 3, 6, RaftSettings()
	r.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
	report, err := r.Do()
	if err != nil {
		t.Fatalf("seed %d: %v", r.Seed, err)
	}
	t.Logf("seed %d: %s", r.Seed, report)
	if report.Moved == 0 {
		t.Error("no slot has moved")
	}
	if len(report.Violations) > 0 {
		t.Errorf("seed %d: %d violations; again with: go test ./cluster/clustertest -run %s -seed %d -moves %d -mean %v",
			r.Seed, len(report.Violations), t.Name(), r.Seed, r.Moves, r.FaultMean)
	}
	return report
}
