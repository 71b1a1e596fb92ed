package transport

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Calls are HTTP/2 requests on connections of the cluster port with ALPN "parley-rpc/1". HTTP/2 is there for its streams, flow
// control and cancellation; nothing of this is meant for browsers, caches or proxies.
//
//	POST /<method>
//	Parley-Timeout-Millis: what is left of the caller's deadline; absent without one
//	body: uint8 version = 1; opaque request
//
// A result is status 200 with the response as body. An error is status 422 with the code in Parley-Code and the message as
// body. A streaming answer is status 200 with the outcome in the trailers Parley-Code ("ok" or an error's code) and
// Parley-Message (quoted as in Go), so that an end without them is known to be a cut.
const (
	headerTimeout = "Parley-Timeout-Millis"
	headerCode    = "Parley-Code"
	headerMessage = "Parley-Message"
	codeOK        = "ok"
	statusError   = 422
	rpcVersion    = 1
)

const (
	// MessageBytesMax bounds the request and the response of a Call, and the request of a Stream.
	MessageBytesMax = 16 << 20

	rpcConnsPerPeerMax = 16  // a node needs two; those of its former life may still be open
	callsPerPeerMax    = 512 // running at a time; more wait at the caller
	streamsPerNodeMax  = 32  // the same for Stream, on a connection of their own
	http2StreamsMax    = callsPerPeerMax + 64
	requestBudget      = 256 << 20 // bytes of requests that a node holds at a time

	errorMessageBytesMax = 4 << 10
)

// Handler answers a call. from is the calling node, proved by its certificate. ctx ends with the caller's deadline, when the
// caller gives up, and when the port closes; the handler must return then. An error that is no *RemoteError reaches the caller
// under CodeInternal. A panic is logged with its stack and cuts the call: the caller gets ErrMaybeSent.
type Handler func(ctx context.Context, from string, request []byte) ([]byte, error)

// StreamHandler answers with a stream, which is flushed at each Write. What has been written before an error has been sent.
type StreamHandler func(ctx context.Context, from string, request []byte, w io.Writer) error

// rpcConn is a connection that has been through TLS. It hides the *tls.Conn from net/http, which would insist on the ALPN "h2".
type rpcConn struct {
	net.Conn
	peer   string
	closed func() // called at each Close; nil at the dialling end
}

// Close implements net.Conn.
func (c rpcConn) Close() error {
	err := c.Conn.Close()
	if c.closed != nil {
		c.closed()
	}
	return err
}

// checkMethod refuses names that would need escaping in a path.
func checkMethod(method string) error {
	for i := range len(method) {
		c := method[i]
		if ('a' > c || c > 'z') && ('0' > c || c > '9') && c != '_' && c != '.' && c != '-' {
			return fmt.Errorf("the method %q has a character that is not allowed at byte %d", method, i)
		}
	}
	if method == "" {
		return fmt.Errorf("no method")
	}
	return nil
}

func encodeTimeout(left time.Duration) string {
	return strconv.FormatInt(max(left.Milliseconds(), 1), 10)
}

// decodeTimeout reads what encodeTimeout wrote; none is 0.
func decodeTimeout(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	millis, err := strconv.ParseUint(text, 10, 31)
	if err != nil || millis == 0 {
		return 0, fmt.Errorf("%s: %q is not a number of milliseconds", headerTimeout, text)
	}
	return time.Duration(millis) * time.Millisecond, nil
}
