package httpapi

import (
	"context"
	"time"

	"parley/mimi"
)

// Notifier brings what waits to a destination; *Client is the real one.
type Notifier interface {
	// Notify delivers one notify body. nil means that the destination has taken it.
	Notify(ctx context.Context, destination mimi.Provider, room mimi.RoomURI, body []byte) error
	// NotifyMany delivers items of many rooms. Without an error the answer says what was taken. The error wraps errNotOffered where the
	// destination takes no such request; nothing was taken then.
	NotifyMany(ctx context.Context, destination mimi.Provider, items []mimi.NotifyItem) (mimi.BulkNotifyResponse, error)
}

// DeliveryConfig are the limits of delivery. The zero value of a field means its default.
type DeliveryConfig struct {
	RoomsInFlight  int           // bodies on their way to one destination that takes them one by one, each of another room; default 32
	BulkInFlight   int           // requests on their way to one destination that takes many bodies in each; default 4
	BytesInFlight  int           // what is on its way to all destinations; one request of each goes beyond; default 64 MiB
	Failing        Backoff       // of a destination that cannot be reached; default 100 ms to 30 s
	Parked         Backoff       // of a room whose body is refused; default 5 s to 10 min
	Delayed        Backoff       // of a room whose body is not taken for now; default 200 ms to 30 s
	RetryAfterMax  time.Duration // longest Retry-After that is followed; default 2 min
	Rescan         time.Duration // looking again although nothing woke us; default 1 s
	BulkRetry      time.Duration // asking again a destination that took no bulk deliveries; default 1 min
	CatchUpAge     time.Duration // a destination all of whose next items have waited for longer catches up; default 10 s
	StopGrace      time.Duration // finishing bodies on their way when stopping; default 2 s
	Acknowledgment Backoff       // of recording acknowledgements; default 50 ms to 2 s
	Config         Config        // the cluster's; nil: items are acknowledged one by one
}

func (c DeliveryConfig) withDefaults() DeliveryConfig {
	number := func(n *int, standard int) {
		if *n == 0 {
			*n = standard
		}
	}
	backoff := func(b *Backoff, first, most time.Duration) {
		if *b == (Backoff{}) {
			*b = Backoff{first, most}
		}
	}
	wait := func(d *time.Duration, standard time.Duration) {
		if *d == 0 {
			*d = standard
		}
	}
	number(&c.RoomsInFlight, 32)
	number(&c.BulkInFlight, 4)
	number(&c.BytesInFlight, 64<<20)
	backoff(&c.Failing, 100*time.Millisecond, 30*time.Second)
	backoff(&c.Parked, 5*time.Second, 10*time.Minute)
	backoff(&c.Delayed, 200*time.Millisecond, 30*time.Second)
	backoff(&c.Acknowledgment, 50*time.Millisecond, 2*time.Second)
	wait(&c.RetryAfterMax, 2*time.Minute)
	wait(&c.Rescan, time.Second)
	wait(&c.BulkRetry, time.Minute)
	wait(&c.CatchUpAge, 10*time.Second)
	wait(&c.StopGrace, 2*time.Second)
	return c
}
