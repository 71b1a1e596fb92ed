package clustertest

import (
	"os"
	"testing"
)

// raceAll has the tests that are long under the race detector run under it too.
var raceAll = os.Getenv("PARLEY_RACE_ALL") != ""

// longUnderRace leaves a test out where the race detector would make it last for minutes: shorter ones go the same ways. 'make race-all'
// runs all.
func longUnderRace(t *testing.T) {
	t.Helper()
	if raced && !raceAll {
		t.Skip("the race detector makes it long; 'make race-all' runs it")
	}
}
