package httpapi

import (
	"net/http"
	"sync"

	"parley/mimi"
)

// Bounds on the bodies of bulk submissions that a listener works on at the same time. What is made of a body takes about as much again.
const (
	intakeBytesMax          = 128 << 20
	intakeBytesPerOriginMax = 48 << 20
)

// intakeRoom bounds the memory of bulk submissions. One origin that fills its share leaves room for others. Safe for concurrent use.
type intakeRoom struct {
	mu       sync.Mutex
	taken    int64
	byOrigin map[string]int64 // none that is 0
}

func newIntakeRoom() *intakeRoom { return &intakeRoom{byOrigin: make(map[string]int64)} }

// enter takes room for a body of a length; -1 stands for one that is not told. Where there is none the error is a *Problem with status 429
// for an origin whose share is used up, else 503. The returned function must be called when the work is done.
func (r *intakeRoom) enter(origin string, length int64) (leave func(), err error) {
	if length < 0 || length > mimi.BulkSubmitBytesMax { // the latter is refused when it is read
		length = mimi.BulkSubmitBytesMax
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.byOrigin[origin]+length > intakeBytesPerOriginMax:
		return nil, newProblem(http.StatusTooManyRequests, problemTooMany, "",
			"Too many submissions of this provider are being worked on. Nothing was written; send the request again later.").after(retrySoon)
	case r.taken+length > intakeBytesMax:
		return nil, newProblem(http.StatusServiceUnavailable, problemOverloaded, "",
			"Too many submissions are being worked on. Nothing was written; send the request again later.").after(retrySoon)
	}
	r.taken += length
	r.byOrigin[origin] += length
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.taken -= length
		if r.byOrigin[origin] -= length; r.byOrigin[origin] == 0 {
			delete(r.byOrigin, origin)
		}
	}, nil
}
