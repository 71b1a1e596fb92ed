//go:build seededbugs

package clustertest

import (
	"flag"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"parley/cluster"
	"parley/cluster/transport"
	"parley/fsm"
	"parley/storage"
)

var budgetFlag = flag.Int("budget", 60, "how many seeds may be spent on one seeded bug")

// TestSeededBugs puts one mistake after the other into the program and expects the harness to find it. It prints with which seed
// and after how much virtual and real time it was found. Mistakes that are found by a test of their own are named there.
func TestSeededBugs(t *testing.T) {
	lazy := RaftSettings()
	lazy.LeaderLease = lazy.Heartbeat
	late := []string{"slow link", "deaf node", "mute node", "frozen node", "slow disk", "leadership transfer", "isolated node"}
	for name, run := range map[string]Run{
		"ack-early": {}, "follower-apply": {}, "map-order": {}, "restore-check-off": {}, "vote-order": {}, "pipeline": {},
		// Who leads is in doubt most often where answers are late.
		"verify-leader": {Raft: lazy, Faults: late, FaultMean: 4 * time.Second},
		"fast-path":     {Raft: lazy, Faults: late, FaultMean: 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			seed(t, name, true)
			defer seed(t, name, false)
			find(t, name, run)
		})
	}
}

func seed(t *testing.T, name string, on bool) {
	t.Helper()
	for _, switchOn := range []func(string, bool) bool{cluster.SeedBug, transport.SeedBug, fsm.SeedBug, storage.SeedBug} {
		if switchOn(name, on) {
			return
		}
	}
	t.Fatalf("there is no seeded bug %q", name)
}

func find(t *testing.T, name string, run Run) {
	t.Helper()
	start := time.Now()
	for n := range *budgetFlag {
		var report Report
		synctest.Test(t, func(t *testing.T) {
			run.Seed, run.For, run.Nodes, run.Clients, run.Log = uint64(n+1), *forFlag, 3, 6, slog.New(slog.DiscardHandler)
			if run.FaultMean == 0 {
				run.FaultMean, run.Raft = *meanFlag, RaftSettings()
			}
			var err error
			report, err = run.Do()
			if err != nil {
				t.Fatal(err)
			}
		})
		if len(report.Violations) > 0 {
			t.Logf("%s: found with seed %d after %v of virtual and %v of real time: %s", name, n+1,
				time.Duration(n+1)**forFlag, time.Since(start).Round(time.Second/10), report.Violations[0])
			return
		}
	}
	t.Errorf("%s: not found in %d seeds of %v", name, *budgetFlag, *forFlag)
}
