package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"parley/mimi"
)

// SendError says that a request to another provider got no answer. Its text stays inside; peers and clients see a Problem.
type SendError struct {
	To mimi.Provider
	// MaybeSent: the request may have reached the other side and may have taken effect. Otherwise not one byte of it left.
	MaybeSent bool
	Err       error
}

func (e *SendError) Error() string {
	if e.MaybeSent {
		return fmt.Sprintf("request to %s may have been sent: %v", e.To, e.Err)
	}
	return fmt.Sprintf("request to %s was not sent: %v", e.To, e.Err)
}

func (e *SendError) Unwrap() error { return e.Err }

// errNoPeer: the provider is not on the allow-list, so that nothing is sent to it until an operator adds it.
var errNoPeer = errors.New("it is not a peer")

// StatusError is an answer that is not the one hoped for.
type StatusError struct {
	To         mimi.Provider
	Status     int
	RetryAfter time.Duration // 0 where the answer names none
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered %d %s", e.To, e.Status, http.StatusText(e.Status))
}

// problemOfSend tells the requester what is known of a request that was passed on, and nothing of our network.
func problemOfSend(err *SendError) *Problem {
	if err.MaybeSent {
		return unknownOutcome()
	}
	if errors.Is(err, errNoPeer) {
		return newProblem(http.StatusNotFound, problemNoPeer, "", fmt.Sprintf("%s is not a peer of this provider. Nothing was sent.", err.To))
	}
	return newProblem(http.StatusServiceUnavailable, problemUpstream, "",
		fmt.Sprintf("%s cannot be reached. Nothing was sent; send the request again later.", err.To)).after(retrySoon)
}
