package interop

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

var (
	seed    = flag.Uint64("seed", 0, "live through the history of this seed alone; 0 for seeds 1 to -seeds")
	seeds   = flag.Int("seeds", 10, "how many histories")
	epochs  = flag.Int("epochs", 30, "how many epochs in each")
	openMLS = flag.String("openmls", "", "the program that `make interop-openmls` builds")
	tsMLS   = flag.String("tsmls", "", "the script that `make interop-tsmls` prepares")
)

func TestOpenMLS(t *testing.T) {
	if *openMLS == "" {
		t.Skip("needs a population: make interop-openmls")
	}
	live(t, "interop-openmls", *openMLS)
}

// A seed decides all that happens: what failed once can be looked at again.
func TestOpenMLSRepeats(t *testing.T) {
	if *openMLS == "" {
		t.Skip("needs a population: make interop-openmls")
	}
	first, err := liveOne(3, 10, []string{*openMLS})
	if err != nil {
		t.Fatal(err)
	}
	second, err := liveOne(3, 10, []string{*openMLS})
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(first, second) {
		t.Errorf("once\n%sand then\n%s", first, second)
	}
}

func TestTSMLS(t *testing.T) {
	if *tsMLS == "" {
		t.Skip("needs a population: make interop-tsmls")
	}
	live(t, "interop-tsmls", "node", *tsMLS)
}

// live runs the histories, and prints how to run one again that fails.
func live(t *testing.T, target string, command ...string) {
	t.Helper()
	list := []uint64{*seed}
	if *seed == 0 {
		list = list[:0]
		for s := range uint64(*seeds) {
			list = append(list, s+1)
		}
	}
	var mu sync.Mutex // of total and list
	total, n := make(Tally), len(list)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				mu.Lock()
				if len(list) == 0 {
					mu.Unlock()
					return
				}
				s := list[0]
				list = list[1:]
				mu.Unlock()
				tally, err := liveOne(s, *epochs, command)
				if err != nil {
					t.Errorf("seed %d: %v\n    again: make %s SEED=%d EPOCHS=%d", s, err, target, s, *epochs)
				}
				mu.Lock()
				total.Add(tally)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	t.Logf("%d histories of %d epochs\n%s", n, *epochs, total)
}

func liveOne(seed uint64, epochs int, command []string) (Tally, error) {
	p, err := Start(command...)
	if err != nil {
		return nil, err
	}
	tally, err := Live(p, seed, epochs)
	return tally, errors.Join(err, p.Close())
}

// String lists the kinds, one to a line.
func (t Tally) String() string {
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(t)) {
		fmt.Fprintf(&b, "%8d %s\n", t[kind], kind)
	}
	return b.String()
}
