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
// and after how much virtual and real time it was found. Mistakes that chance leads to too seldom have tests that lead there.
func TestSeededBugs(t *testing.T) {
	for _, name := range []string{
		"ack-early", "follower-apply", "map-order", "claim-unlogged", "restore-check-off",
	} {
		t.Run(name, func(t *testing.T) {
			seed(t, name, true)
			defer seed(t, name, false)
			find(t, name)
		})
	}
}

// With VerifyLeader for a fence, the isolated leader denies the room.
func TestSeededVerifyLeaderIsFound(t *testing.T) {
	seed(t, "verify-leader", true)
	defer seed(t, "verify-leader", false)
	start := time.Now()
	if !deniesWhatExists(t) {
		t.Error("not found")
	}
	t.Logf("verify-leader: found after %v", time.Since(start).Round(time.Second/10))
}

// With the node's own clock in place of hub time, the leader whose clock is ahead lends what another holds.
func TestSeededLeaseClockIsFound(t *testing.T) {
	seed(t, "lease-local-clock", true)
	defer seed(t, "lease-local-clock", false)
	start := time.Now()
	if !lendsTwice(t) {
		t.Error("not found")
	}
	t.Logf("lease-local-clock: found after %v", time.Since(start).Round(time.Second/10))
}

// seed switches a bug on or off in every package that has a part in it.
func seed(t *testing.T, name string, on bool) {
	t.Helper()
	known := false
	for _, switchOn := range []func(string, bool) bool{cluster.SeedBug, transport.SeedBug, fsm.SeedBug, storage.SeedBug} {
		known = switchOn(name, on) || known
	}
	if !known {
		t.Fatalf("there is no seeded bug %q", name)
	}
}

func find(t *testing.T, name string) {
	t.Helper()
	start := time.Now()
	for n := range *budgetFlag {
		var report Report
		synctest.Test(t, func(t *testing.T) {
			var err error
			report, err = Run{
				Seed: uint64(n + 1), For: *forFlag, FaultMean: *meanFlag, Nodes: 3, Clients: 6, Raft: RaftSettings(),
				Log: slog.New(slog.DiscardHandler),
			}.Do()
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
