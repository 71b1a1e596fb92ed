package transport

import "errors"

// How a call failed says what the caller may do next.
var (
	// ErrNotSent: the peer has not acted on the request and never will. It can be sent again, anywhere.
	ErrNotSent = errors.New("not sent")

	// ErrMaybeSent: the peer may have acted on the request, or may still.
	ErrMaybeSent = errors.New("outcome unknown: the request may have reached the peer")
)

// Codes of RemoteErrors that the transport itself makes. Handlers add their own.
const (
	CodeInternal         = "internal"           // a handler's error without a code
	CodeDeadline         = "deadline"           // the handler's context ended
	CodeUnknownMethod    = "unknown_method"     // not handled
	CodeOverloaded       = "overloaded"         // not handled: too many calls of this node are running
	CodeTooLarge         = "too_large"          // not handled: the request is over MessageBytesMax, or malformed
	CodeResponseTooLarge = "response_too_large" // handled, but the answer is over MessageBytesMax
)

// RemoteError is a handler's answer that is not a result. A handler returns one to choose the code; the caller gets it back
// with the same code and message. It is not a statement on delivery: except for the codes of requests that were not handled,
// which count as ErrNotSent, what it means for the request is the method's to say.
type RemoteError struct {
	Code    string // letters, digits, '_', '-' and '.'; not empty
	Message string // at most 4 KiB are carried
}

func (e *RemoteError) Error() string { return e.Code + ": " + e.Message }

// Is makes errors.Is(err, ErrNotSent) true where no handler has seen the request.
func (e *RemoteError) Is(target error) bool {
	switch e.Code {
	case CodeUnknownMethod, CodeOverloaded, CodeTooLarge, CodeGeneration:
		return target == ErrNotSent
	}
	return false
}
