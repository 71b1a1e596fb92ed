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
func runDev(t *testing.T, scenario string) string {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var out bytes.Buffer
	err = dev.Run(ctx, dev.Options{Folder: t.TempDir() + "/dev", Executable: executable, Scenario: scenario, Kills: dev.KillsDefault, Once: true, Out: &out})
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
	out := runDev(t, "failover")
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
