package main

import (
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"parley/cmd/parley/dev"
)

// BenchmarkClaim compares a bulk claim of 100 users with 5 clients each with as many single claims, one after the other and 16 at a time,
// by turns on one cluster of three processes, over TLS. It reports the medians and their ratios.
func BenchmarkClaim(b *testing.B) {
	const users, clients, perRound = 100, 5, 3
	executable, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	bench, err := dev.NewClaimBench(b.Context(), dev.Options{Folder: b.TempDir() + "/dev", Executable: executable, Out: io.Discard}, users, clients)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := bench.Close(); err != nil {
			b.Error(err)
		}
	})
	ways := map[string]func() (time.Duration, error){
		"bulk":         func() (time.Duration, error) { return bench.Bulk(b.Context()) },
		"one-by-one":   func() (time.Duration, error) { return bench.Singles(b.Context(), 1) },
		"16-at-a-time": func() (time.Duration, error) { return bench.Singles(b.Context(), 16) },
	}
	took := map[string][]time.Duration{}
	for b.Loop() {
		b.StopTimer()
		if err := bench.Stock(b.Context(), perRound); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		for name, claim := range ways {
			d, err := claim()
			if err != nil {
				b.Fatalf("%s: %v", name, err)
			}
			took[name] = append(took[name], d)
		}
	}
	median := func(name string) float64 {
		slices.Sort(took[name])
		return took[name][len(took[name])/2].Seconds() * 1000
	}
	for name := range ways {
		b.ReportMetric(median(name), name+"-ms")
	}
	b.ReportMetric(median("one-by-one")/median("bulk"), "one-by-one/bulk")
	b.ReportMetric(median("16-at-a-time")/median("bulk"), "16-at-a-time/bulk")
}
