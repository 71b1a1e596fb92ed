package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"parley/cmd/parley/dev"
)

// runDev plays a scenario with real processes, which are this test program acting as parley.
func runDev(t *testing.T, options dev.Options) string {
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
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return out.String()
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
	for _, line := range []string{"Everything that can be had once was had once", "200 KeyPackages in answers"} {
		if !strings.Contains(out, line) {
			t.Errorf("the output lacks %q:\n%s", line, out)
		}
	}
}
