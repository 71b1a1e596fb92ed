package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/mls"
)

// ProblemMediaType is the type of every error body (RFC 9457).
const ProblemMediaType = "application/problem+json"

// Problem is an error as the other side sees it (RFC 9457). Nothing internal is ever in it. What the protocol refuses (wrong
// epoch, not allowed, lease held by a coded answer of the draft) is no Problem but a normal answer.
type Problem struct {
	Type   string `json:"type"`             // "urn:parley:problem:" and a stable name
	Title  string `json:"title"`            // the same for every problem of the type
	Status int    `json:"status"`           // the HTTP status
	Detail string `json:"detail,omitempty"` // of this occurrence
	Field  string `json:"field,omitempty"`  // the header, parameter or dotted field that is wrong

	// What stands in the way of an operator's request, how to see it and how to clear it; admin listener only.
	Blocker string `json:"blocker,omitempty"`
	See     string `json:"see,omitempty"`
	Clear   string `json:"clear,omitempty"`

	// Generation is the hub's, where the request was for another.
	Generation fsm.Generation `json:"generation,omitempty"`

	retryAfter time.Duration // > 0: sent as Retry-After, in whole seconds, rounded up
}

func (p *Problem) Error() string {
	if p.Field != "" {
		return fmt.Sprintf("%d %s: %s: %s", p.Status, p.Title, p.Field, p.Detail)
	}
	return fmt.Sprintf("%d %s: %s", p.Status, p.Title, p.Detail)
}

// The names of problems; append-only, since clients tell errors apart by them.
const (
	problemMalformed      = "malformed"
	problemBodyTooLarge   = "body-too-large"
	problemBodyCutShort   = "body-cut-short"
	problemIdentity       = "identity-mismatch"
	problemNotYours       = "not-yours-to-speak-for"
	problemNotBorneOut    = "claim-not-borne-out"
	problemUnauthorized   = "unauthorized"
	problemScope          = "scope-missing"
	problemNotFound       = "not-found"
	problemNotHostedHere  = "room-not-hosted-here"
	problemTooMany        = "too-many-requests"
	problemLeaseHeld      = "lease-held"
	problemNotProposed    = "not-proposed"
	problemOverloaded     = "overloaded"
	problemUnknownOutcome = "unknown-outcome"
	problemUpstream       = "other-provider-failed"
	problemConflict       = "conflict"
	problemRefused        = "refused-as-unsafe"
	problemRoomEnded      = "room-ended"
	problemWrongGroup     = "group-of-another-room"
	problemOutOfOrder     = "out-of-order"
	problemHTTP           = "http"
	problemInternal       = "internal"
	problemNoPeer         = "not-a-peer"
	problemRoomStale      = "room-stale"
	problemGeneration     = "other-generation"
	problemNotAsked       = "providers-not-heard"
	problemRemoved        = "node-removed"
)

var problemTitles = map[string]string{
	problemMalformed:      "The request is malformed",
	problemBodyTooLarge:   "The request body is over the limit",
	problemBodyCutShort:   "The request body was cut short",
	problemIdentity:       "The certificate does not match the From header",
	problemNotYours:       "The provider may not speak for this user or room",
	problemNotBorneOut:    "The claim is not shown to be its requester's",
	problemUnauthorized:   "A valid bearer token is needed",
	problemScope:          "The token lacks a scope",
	problemNotFound:       "Not found",
	problemNotHostedHere:  "The room is not hosted here",
	problemTooMany:        "Too many requests",
	problemLeaseHeld:      "Another requester holds the GroupInfo",
	problemNotProposed:    "The cluster could not take the request; nothing was written",
	problemOverloaded:     "The cluster is overloaded; nothing was written",
	problemUnknownOutcome: "The outcome is unknown",
	problemUpstream:       "The other provider could not be reached or failed",
	problemConflict:       "The request does not fit the present state",
	problemRefused:        "Refused as unsafe",
	problemRoomEnded:      "The room takes nothing more",
	problemWrongGroup:     "The group belongs to another room",
	problemOutOfOrder:     "What comes before it has not come",
	problemHTTP:           "The request was refused",
	problemInternal:       "Internal error",
	problemNoPeer:         "The other provider is not a peer of this one",
	problemRoomStale:      "The room waits to be brought forward",
	problemGeneration:     "The request is for another generation of the hub",
	problemNotAsked:       "Other providers have not been heard",
	problemRemoved:        "The node is out of the cluster",
}

// newProblem fills in what belongs to the name. field and detail may be empty.
func newProblem(status int, name, field, detail string) *Problem {
	return &Problem{
		Type:   problemType(name),
		Title:  problemTitles[name],
		Status: status,
		Detail: detail,
		Field:  field,
	}
}

func problemType(name string) string { return "urn:parley:problem:" + name }

// after sets Retry-After.
func (p *Problem) after(wait time.Duration) *Problem {
	p.retryAfter = wait
	return p
}

// retrySoon is the wait that is told when nothing better is known: about one leader election.
const retrySoon = time.Second

// problemOf is the one place where errors become HTTP. An error that it does not know is a fault of this node: the second
// result is true, and the error must be logged because the Problem hides it.
func problemOf(err error) (problem *Problem, hidden bool) {
	var malformed *mls.MalformedError
	var tooLarge *http.MaxBytesError
	var send *SendError
	var routed *echo.HTTPError
	var refused *RefusedError
	var absent *NotFoundError
	var removed *RemovedError
	switch {
	case errors.As(err, &problem):
		return problem, false
	case errors.As(err, &malformed):
		return newProblem(http.StatusBadRequest, problemMalformed, malformed.Field, malformed.Reason), false
	case errors.As(err, &tooLarge):
		return newProblem(http.StatusBadRequest, problemBodyTooLarge, "body",
			fmt.Sprintf("more than the limit of %d bytes", tooLarge.Limit)), false
	case errors.As(err, &send):
		return problemOfSend(send), false
	case errors.As(err, &refused):
		problem = newProblem(http.StatusConflict, problemRefused, "", refused.Reason)
		problem.Blocker, problem.See, problem.Clear = refused.Blocker, refused.See, refused.Clear
		return problem, false
	case errors.As(err, &removed):
		return newProblem(http.StatusServiceUnavailable, problemRemoved, "", removed.Reason).after(retrySoon), false
	case errors.As(err, &absent):
		return newProblem(http.StatusNotFound, problemNotFound, "", absent.Error()), false
	case errors.Is(err, fsm.ErrNotProposed):
		return newProblem(http.StatusServiceUnavailable, problemNotProposed, "",
			"No leader could be reached in time. Nothing was written; send the request again.").after(retrySoon), false
	case errors.Is(err, fsm.ErrOverloaded):
		return newProblem(http.StatusTooManyRequests, problemOverloaded, "",
			"A bounded queue was full. Nothing was written; send the request again later.").after(retrySoon), false
	case errors.Is(err, fsm.ErrUnknownOutcome):
		return unknownOutcome(), false
	case errors.As(err, &routed):
		return problemOfRouting(routed), false
	}
	return newProblem(http.StatusInternalServerError, problemInternal, "", ""), true
}

func unknownOutcome() *Problem {
	return newProblem(http.StatusServiceUnavailable, problemUnknownOutcome, "",
		"The request may have been accepted, or may be yet. This is not a failure: send the very same request again to learn "+
			"the outcome; it is recognised and takes effect once.").after(retrySoon)
}

func problemOfRouting(err *echo.HTTPError) *Problem {
	switch err.Code {
	case http.StatusNotFound:
		return newProblem(err.Code, problemNotFound, "path", "There is no such endpoint.")
	case http.StatusMethodNotAllowed:
		return newProblem(err.Code, problemHTTP, "method", "The endpoint does not take this method.")
	default:
		return newProblem(err.Code, problemHTTP, "", http.StatusText(err.Code))
	}
}

// problemHandler is echo's error handler. It answers once; after the first byte of an answer it can only log.
func problemHandler(log *slog.Logger) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		problem, hidden := problemOf(err)
		if hidden {
			log.Error("request failed", "method", c.Request().Method, "route", c.Path(), "error", err)
		}
		if c.Response().Committed {
			return // the status has gone out; cutting the connection is what the server does next
		}
		if err := writeProblem(c, problem); err != nil {
			log.Debug("problem not delivered", "route", c.Path(), "error", err)
		}
	}
}

func writeProblem(c echo.Context, p *Problem) error {
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode problem: %w", err)
	}
	header := c.Response().Header()
	if p.retryAfter > 0 {
		header.Set(echo.HeaderRetryAfter, wholeSeconds(p.retryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		header.Set(echo.HeaderWWWAuthenticate, `Bearer realm="parley"`)
	}
	body = append(body, '\n')
	header.Set(echo.HeaderContentLength, strconv.Itoa(len(body))) // it is all that is said, also where the end of the stream waits
	return c.Blob(p.Status, ProblemMediaType, body)
}

// wholeSeconds rounds up, so that nobody comes back a moment too early.
func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
