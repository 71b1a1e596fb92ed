package main

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/dev"
)

// runDev plays a scenario with real processes, which are this test program acting as parley.
func runDev(t *testing.T, options dev.Options) string {
	t.Helper()
	out, err := playDev(t, options)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func playDev(t *testing.T, options dev.Options) (string, error) {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	var out bytes.Buffer
	options.Folder, options.Executable, options.Once, options.Out = t.TempDir()+"/dev", executable, true, &out
	err = dev.Run(ctx, options)
	return out.String(), err
}

// The whole way of a Commit on a real cluster, with its leader killed in the middle, eleven times over.
func TestFailoverScenario(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs for about a minute; skipped by -short")
	}
	out := runDev(t, dev.Options{Scenario: "failover", Kills: dev.KillsDefault})
	for _, line := range []string{"Nothing lost, nothing twice, every handshake in order.", "with the digests of before"} {
		if !strings.Contains(out, line) {
			t.Errorf("the output lacks %q:\n%s", line, out)
		}
	}
	if i := strings.Index(out, "a Commit was accepted after a kill"); i >= 0 {
		line, _, _ := strings.Cut(out[i:], "\n")
		t.Log(line)
	}
}

// Clients contend for epochs, KeyPackages and leases on a real cluster while leaders are killed; the long form is the command's default.
func TestExclusiveScenario(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs for half a minute; skipped by -short")
	}
	out := runDev(t, dev.Options{Scenario: "exclusive", Kills: 2, Exclusive: dev.Exclusive{
		Rooms: 3, Racers: 12, Joiners: 10, Claimers: 12, Users: 20, KeyPackages: 5, Epochs: 8, AtMost: 4 * time.Minute,
	}})
	if !strings.Contains(out, "Everything that can be had once was had once") {
		t.Errorf("no good end:\n%s", out)
	}
	// The users' KeyPackages to the last, and those of the guests that racers have brought in.
	counts := regexp.MustCompile(`(\d+) KeyPackages in answers to \d+ claims, (\d+) in the log`).FindStringSubmatch(out)
	if counts == nil {
		t.Fatalf("nothing is said of KeyPackages:\n%s", out)
	}
	if answered, err := strconv.Atoi(counts[1]); err != nil || answered < 200 || counts[1] != counts[2] {
		t.Errorf("KeyPackages in answers %s, in the log %s\n%s", counts[1], counts[2], out)
	}
}

// bulkInShort is the scenario bulk for a test.
func bulkInShort() dev.Bulk {
	b := dev.BulkDefault()
	b.Rooms, b.Rate, b.Seconds = 12, 200, 10
	return b
}

// Two providers exchange letters in bulk while a node that delivers is killed and one of them is away; the long form is the command's default.
func TestBulkScenario(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs for half a minute; skipped by -short")
	}
	out := runDev(t, dev.Options{Scenario: "bulk", Bulk: bulkInShort()})
	for _, line := range []string{"kill -9", "all nodes of b.example are stopped", "all nodes of a.example but n1 are stopped", "Nothing lost, nothing out of order, nothing unexplained."} {
		if !strings.Contains(out, line) {
			t.Errorf("the output lacks %q:\n%s", line, out)
		}
	}
	if kept := regexp.MustCompile(`held: (\d+) accepted, \d+ rejected; queued: (\d+) accepted`).FindStringSubmatch(out); kept == nil || kept[1] == "0" || kept[2] == "0" {
		t.Errorf("nothing was held, or nothing queued:\n%s", out)
	}
}

// The account misses what a backend has lost.
func TestBulkScenarioMissesWhatIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs for half a minute; skipped by -short")
	}
	size := bulkInShort()
	size.Calm, size.Seconds, size.Lose, size.Settle = true, 3, 2, 20*time.Second // in which all but what is lost arrives
	out, err := playDev(t, dev.Options{Scenario: "bulk", Bulk: size})
	if err == nil || !strings.Contains(out, "what was accepted has arrived, and nothing else") || strings.Count(out, "it was accepted, and did not arrive at b.example") != 2 {
		t.Errorf("error %v, and two letters are to be missed:\n%s", err, out)
	}
}

// A resize is cut off behind its beginning, at the command and at the node that carries it out; the long form is the command's default.
func TestVerbsScenario(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs for a quarter of a minute; skipped by -short")
	}
	out := runDev(t, dev.Options{Scenario: "verbs", Verbs: dev.Verbs{Only: []string{"resize --shards"}, Brief: true, Shards: 6}})
	if !strings.Contains(out, "2 trials: each ended well") || !strings.Contains(out, "In 0 of them") {
		t.Errorf("no good end:\n%s", out)
	}
}
