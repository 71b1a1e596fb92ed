package httpapi

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/mimi"
)

// Replays implements Outbox: nobody asks.
func (o *fakeOutbox) Replays(mimi.Provider) uint64 { return 0 }
func (h *memoryHub) Replays(mimi.Provider) uint64  { return 0 }

// askedOutbox is one that somebody asks to be sent again.
type askedOutbox struct {
	*fakeOutbox
	asked atomic.Uint64
}

func (o *askedOutbox) Replays(mimi.Provider) uint64 { return o.asked.Load() }

func (o *askedOutbox) replay() {
	o.asked.Add(1)
	o.add()
}

// shown runs a deliverer in a bubble, with what it shows.
func shown(t *testing.T, outbox *askedOutbox, peer Notifier, check func(lanes func() map[mimi.Provider]DeliveryLane)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		outbox.wake = make(chan struct{}, 1) // of the bubble
		metrics, err := NewDeliveryMetrics(prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		pulse := NewPulse(outbox.wake)
		d := NewDeliverer(DeliveryConfig{}, outbox, outbox, peer, pulse, metrics, quiet())
		var running sync.WaitGroup
		running.Go(func() { pulse.Run(ctx) })
		running.Go(func() { d.Run(ctx) })
		check(d.Lanes)
		cancel()
		running.Wait()
	})
}

// A room that is refused, and a destination that fails, are tried at once when that is asked for, and what holds them back is seen
// meanwhile.
func TestReplayWaitsForNothing(t *testing.T) {
	outbox, peer := &askedOutbox{fakeOutbox: fill(2, 1)}, newFakePeer()
	refuses, fails := true, false
	peer.fault = func(room mimi.RoomURI, _ int) (bool, error) {
		switch {
		case fails:
			return false, &StatusError{To: peerDomain, Status: http.StatusServiceUnavailable}
		case refuses && room == testRoom(0):
			return false, &StatusError{To: peerDomain, Status: http.StatusBadRequest}
		}
		return true, nil
	}
	set := func(refuse, fail bool) {
		peer.mu.Lock()
		defer peer.mu.Unlock()
		refuses, fails = refuse, fail
	}
	shown(t, outbox, peer, func(lanes func() map[mimi.Provider]DeliveryLane) {
		time.Sleep(time.Hour)
		lane := lanes()[peerDomain]
		if len(lane.Parked) != 1 || lane.Parked[0].Room != testRoom(0) || !strings.Contains(lane.Parked[0].Refusal, "400") ||
			time.Since(lane.Parked[0].Since) < 59*time.Minute || !lane.FailingSince.IsZero() {
			t.Errorf("with a room that is refused: %+v", lane)
		}
		set(false, true)
		outbox.replay()
		time.Sleep(time.Hour)
		lane = lanes()[peerDomain]
		if time.Since(lane.FailingSince) < 59*time.Minute || !strings.Contains(lane.Error, "503") || !lane.NextTry.After(time.Now()) {
			t.Errorf("with a destination that fails: %+v", lane)
		}
		set(false, false)
		outbox.replay()
		time.Sleep(100 * time.Millisecond)
		if left := outbox.left(); left != 0 {
			t.Errorf("%d items left", left)
		}
		time.Sleep(2 * time.Second)
		if left := lanes(); len(left) != 0 {
			t.Errorf("lanes of destinations for which nothing waits: %+v", left)
		}
	})
}
