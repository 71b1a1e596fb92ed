package main

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"parley/cmd/parley/dev"
)

// Where BenchmarkBulkThroughput leaves CPU profiles of the nodes, a file each, taken while letters come in in bulk.
const profileFolder = "PARLEY_BULK_PROFILES"

// BenchmarkBulkThroughput measures how many letters of 1 KiB a hub of three processes takes from a peer in batches of 100 over mutual TLS,
// until the peer's backend has acknowledged them; beside it, on the same clusters and by turns, letters that come one a request, and how
// often 100 KiB can be written to a file and synced.
func BenchmarkBulkThroughput(b *testing.B) {
	const rooms, load = 96, 8 * time.Second
	executable, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	bench, err := dev.NewBulkBench(b.Context(), dev.Options{Folder: b.TempDir() + "/dev", Executable: executable, Out: io.Discard}, rooms)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := bench.Close(); err != nil {
			b.Error(err)
		}
	})
	phase := func(rate int, single bool) dev.BulkFigures {
		figures, err := bench.Phase(b.Context(), load, rate, single)
		if err != nil {
			b.Fatal(err)
		}
		return figures
	}
	var singles, bulk, half dev.BulkFigures
	var syncs float64
	for b.Loop() {
		singles = phase(0, true)
		if syncs, err = bench.RawSyncs(100<<10, time.Second); err != nil {
			b.Fatal(err)
		}
		profiled := profiles(b, bench, load)
		bulk = phase(0, false)
		if err := <-profiled; err != nil {
			b.Fatal(err)
		}
		half = phase(max(int(bulk.Rate()/2), 200), false)
	}
	b.ReportMetric(bulk.Rate(), "letters/s")
	b.ReportMetric(float64(bulk.P99.Milliseconds()), "p99-ms")
	b.ReportMetric(half.Rate(), "half-letters/s")
	b.ReportMetric(float64(half.Median.Milliseconds()), "half-p50-ms")
	b.ReportMetric(float64(half.P99.Milliseconds()), "half-p99-ms")
	b.ReportMetric(singles.Rate(), "single-letters/s")
	b.ReportMetric(bulk.Rate()/singles.Rate(), "bulk/single")
	b.ReportMetric(bulk.Rate()/(100*syncs), "bulk/raw-syncs")
	b.ReportMetric(bulk.PerProcessorSecond(), "letters/cpu-s")
	b.ReportMetric(bulk.PerProcessorSecond()/singles.PerProcessorSecond(), "bulk/single-per-cpu-s")
	for name, spent := range bulk.Processors {
		b.Logf("%s used %.1f s of a processor in %.1f s", name, spent.Seconds(), bulk.Took.Seconds())
	}
}

// profiles takes profiles of all nodes during a phase, where they are asked for.
func profiles(b *testing.B, bench *dev.BulkBench, load time.Duration) <-chan error {
	done := make(chan error, 1)
	folder := os.Getenv(profileFolder)
	if folder == "" {
		done <- nil
		return done
	}
	go func() { done <- bench.Profiles(context.WithoutCancel(b.Context()), load, folder) }()
	return done
}
