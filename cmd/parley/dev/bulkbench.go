package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// BulkBench is a hub of three nodes and a peer of one, whose users submit letters in the hub's rooms as fast as they are taken. One
// goroutine uses it.
type BulkBench struct {
	run *run
	x   *exchange // whose rooms and book are those of all phases
}

// BulkFigures are of one phase.
type BulkFigures struct {
	Letters    int           // that were accepted, delivered to the peer and acknowledged by its backend
	Took       time.Duration // from the first submission to the last acknowledgement
	Median     time.Duration // from the hub's acceptance to the reading of the peer's backend
	P99        time.Duration
	Processors map[string]time.Duration // what each node has used, by provider and node
}

// Rate is letters a second.
func (f BulkFigures) Rate() float64 { return float64(f.Letters) / f.Took.Seconds() }

// PerProcessorSecond is letters for a second of a processor, of all nodes of both providers. It says something on a busy machine as well.
func (f BulkFigures) PerProcessorSecond() float64 {
	var all time.Duration
	for _, spent := range f.Processors {
		all += spent
	}
	return float64(f.Letters) / all.Seconds()
}

// NewBulkBench starts both providers and makes so many rooms. Folder, Executable and Out of the options count. Close it.
func NewBulkBench(ctx context.Context, o Options, rooms int) (_ *BulkBench, err error) {
	recording, err := loadRecording()
	if err != nil {
		return nil, err
	}
	l, err := newLayout(o.Folder, o.Executable, providerSize{domain: "a.example", nodes: 3}, providerSize{domain: "b.example", nodes: 1})
	if err != nil {
		return nil, err
	}
	b := &BulkBench{
		run: &run{layout: l, recording: recording, show: &show{out: o.Out}, out: o.Out, scenario: scenarioBulk},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	if err := b.run.start(ctx); err != nil {
		return nil, err
	}
	size := BulkDefault()
	size.Rooms, size.oneHub, size.allRight, size.Calm = rooms, true, true, true
	b.x, err = b.run.newExchange(ctx, size)
	return b, err
}

// Close stops the processes.
func (b *BulkBench) Close() error { return b.run.stop() }

// benchLanes submit at the same time.
const benchLanes = 16

// Phase has the peer's users submit for a while, with at most so many letters a second, 0 for as many as are taken: in batches of 100 over
// mutual TLS, or one a request through their own provider.
func (b *BulkBench) Phase(ctx context.Context, load time.Duration, rate int, single bool) (f BulkFigures, err error) {
	peer, hub := b.x.sides[1], b.x.sides[0]
	x := b.x.phase(load, rate, single)
	if err := x.meter.begin(x.sides); err != nil {
		return f, err
	}
	before := x.book.between[hub.place][peer.place]
	ctx, stop := context.WithCancelCause(ctx)
	var collecting sync.WaitGroup
	defer collecting.Wait()
	defer stop(nil)
	collecting.Go(func() {
		if err := (&collector{side: peer, book: x.book}).run(ctx); err != nil {
			stop(err)
		}
	})
	x.begun = time.Now()
	if err := x.submit(ctx, peer, hub); err != nil {
		return f, err
	}
	err = until(ctx, "wait for the peer's backend", func(context.Context) error {
		x.book.mu.Lock()
		defer x.book.mu.Unlock()
		now := x.book.between[hub.place][peer.place]
		if f.Letters = now.accepted - before.accepted; now.acknowledged < now.accepted {
			return fmt.Errorf("%d of %d letters are acknowledged", now.acknowledged, now.accepted)
		}
		f.Median, f.P99 = now.recent.percentile(50), now.recent.percentile(99)
		return nil
	})
	f.Took = time.Since(x.begun)
	if err == nil {
		err = x.meter.end(ctx, x.sides)
	}
	f.Processors = make(map[string]time.Duration)
	for i, s := range x.sides {
		for _, c := range x.meter.nodes[i] {
			f.Processors[s.provider.domain+" "+c.Node] = c.Spent
		}
	}
	return f, err
}

// phase is the exchange anew, in the same rooms and with the same book.
func (x *exchange) phase(load time.Duration, perSecond int, single bool) *exchange {
	size := x.size
	size.Seconds, size.Rate, size.Single = load.Seconds(), perSecond, single
	again := &exchange{size: size, sides: x.sides, forums: x.forums, book: x.book, show: x.show, caPEM: x.caPEM, budget: budgetOf(size), over: make(chan struct{})}
	x.book.read() // what was recent is not of this phase
	return again
}

// submit runs the lanes of one side in the rooms of the other until the load is over.
func (x *exchange) submit(ctx context.Context, origin, hub *side) error {
	timer := time.AfterFunc(x.size.load(), func() { close(x.over) })
	defer timer.Stop()
	var g gate = bulkGate{abroad{from: origin, to: hub}}
	if x.size.Single {
		g = singleGate{origin.backend}
	}
	var all sync.WaitGroup
	results := make(chan error, benchLanes)
	for i := range benchLanes {
		if mine := every(x.forums, benchLanes, i); len(mine) > 0 {
			all.Go(func() { results <- newLane(x, origin, mine, g, only(origin)).run(ctx) })
		}
	}
	all.Wait()
	close(results)
	var wrong []error
	for err := range results {
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}

// Profiles writes a CPU profile of each node, over so long, into a folder, while something else is going on.
func (b *BulkBench) Profiles(ctx context.Context, over time.Duration, folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	var nodes []*node
	for _, p := range b.run.layout.providers {
		nodes = append(nodes, p.nodes...)
	}
	results := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() { results <- n.profile(ctx, over, filepath.Join(folder, n.Domain+"-"+n.ID+".pprof")) }()
	}
	var wrong []error
	for range nodes {
		wrong = append(wrong, <-results)
	}
	return errors.Join(wrong...)
}

// profile fetches a CPU profile from the node's admin listener.
func (n *node) profile(ctx context.Context, over time.Duration, path string) (err error) {
	address := fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", n.adminURL(), int(over.Seconds()))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the profile of %s: %s", n.ID, response.Status)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = io.Copy(file, response.Body)
	return err
}

// RawSyncs says how often a second a file in the clusters' folder can be extended by so many bytes and synced, one after the other.
func (b *BulkBench) RawSyncs(bytes int, over time.Duration) (perSecond float64, err error) {
	file, err := os.Create(filepath.Join(b.run.layout.folder, "syncs"))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	block, began, n := make([]byte, bytes), time.Now(), 0
	for ; time.Since(began) < over; n++ {
		if _, err := file.Write(block); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}
