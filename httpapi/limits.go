package httpapi

import (
	"cmp"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"parley/mimi"
)

// RateLimit bounds what one peer may ask of one node.
type RateLimit struct {
	PerSecond float64 // sustained requests; default 2,000
	Burst     int     // default 4,000
	InFlight  int     // requests of the peer at the same time; default 512

	// Of what it submits, in however few requests. A burst may be two seconds' worth.
	MessagesPerSecond float64 // default 50,000
	BytesPerSecond    float64 // default 64 MiB
}

// DefaultRateLimit holds for a peer unless the node is configured otherwise.
func DefaultRateLimit() RateLimit {
	return RateLimit{PerSecond: 2000, Burst: 4000, InFlight: 512, MessagesPerSecond: 50_000, BytesPerSecond: 64 << 20}
}

func (l RateLimit) withDefaults() RateLimit {
	standard := DefaultRateLimit()
	l.PerSecond, l.Burst, l.InFlight = cmp.Or(l.PerSecond, standard.PerSecond), cmp.Or(l.Burst, standard.Burst), cmp.Or(l.InFlight, standard.InFlight)
	l.MessagesPerSecond = cmp.Or(l.MessagesPerSecond, standard.MessagesPerSecond)
	l.BytesPerSecond = cmp.Or(l.BytesPerSecond, standard.BytesPerSecond)
	return l
}

// peerLimits holds one limiter for each peer that has sent a request. Only peers of the allow-list get here, so the map is
// bounded by it. Safe for concurrent use.
type peerLimits struct {
	limit RateLimit

	mu    sync.Mutex
	peers map[mimi.Provider]*peerLimit
}

type peerLimit struct {
	rate     *rate.Limiter
	inFlight chan struct{} // holds one element per request being worked on
	messages *rate.Limiter
	bytes    *rate.Limiter
}

func newPeerLimits(limit RateLimit) *peerLimits {
	return &peerLimits{limit: limit, peers: map[mimi.Provider]*peerLimit{}}
}

func (l *peerLimits) of(peer mimi.Provider) *peerLimit {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.peers[peer]
	if !ok {
		p = &peerLimit{
			rate:     rate.NewLimiter(rate.Limit(l.limit.PerSecond), l.limit.Burst),
			inFlight: make(chan struct{}, l.limit.InFlight),
			messages: rate.NewLimiter(rate.Limit(l.limit.MessagesPerSecond), max(int(2*l.limit.MessagesPerSecond), mimi.SubmissionsMax)),
			bytes:    rate.NewLimiter(rate.Limit(l.limit.BytesPerSecond), max(int(2*l.limit.BytesPerSecond), RequestBytesMax)),
		}
		l.peers[peer] = p
	}
	return p
}

// enter lets a request in, or refuses it with 429. The returned function must be called when the request is done.
func (l *peerLimits) enter(peer mimi.Provider) (leave func(), err error) {
	p := l.of(peer)
	now := time.Now()
	reservation := p.rate.ReserveN(now, 1)
	if wait := reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
		return nil, newProblem(http.StatusTooManyRequests, problemTooMany, "", "The rate limit for this provider is reached.").
			after(min(wait, time.Minute))
	}
	select {
	case p.inFlight <- struct{}{}:
		return func() { <-p.inFlight }, nil
	default:
		return nil, newProblem(http.StatusTooManyRequests, problemTooMany, "",
			"Too many requests of this provider are being worked on.").after(retrySoon)
	}
}

// admit lets a peer submit so many messages, of so many bytes together, or refuses all of them with 429.
func (l *peerLimits) admit(peer mimi.Provider, messages, bytes int) error {
	p, now := l.of(peer), time.Now()
	counted := p.messages.ReserveN(now, messages)
	measured := p.bytes.ReserveN(now, bytes)
	wait := max(counted.DelayFrom(now), measured.DelayFrom(now))
	if wait <= 0 {
		return nil
	}
	counted.CancelAt(now)
	measured.CancelAt(now)
	return newProblem(http.StatusTooManyRequests, problemTooMany, "",
		"The limit of what this provider may submit is reached. Nothing was written; send the request again later.").after(min(wait, time.Minute))
}
