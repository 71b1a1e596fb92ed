package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// callers are this node's connections to others for calls: two for each peer, so that a snapshot's stream never stands before
// a small call.
type callers struct {
	transport   *http.Transport
	generations generations
	timeout     time.Duration

	life context.Context // ended by close
	end  context.CancelFunc

	mu    sync.Mutex
	lanes map[laneKey]*lane // one for each node and kind
}

type laneKey struct {
	node, addr string
	stream     bool
}

// lane is one connection to a peer, made when it is needed and made again when it has broken.
type lane struct {
	key   laneKey
	slots chan struct{} // a token for each request under way

	dialing chan struct{} // of one: who holds the token may dial
	mu      sync.Mutex
	conn    *http.ClientConn // nil before the first dial
}

// nodeKey finds the node to connect to in a dial's context.
type nodeKey struct{}

func newCallers(dial func(ctx context.Context, node, addr string) (net.Conn, error), generations generations, timeout time.Duration) *callers {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true) // as far as net/http can see; see rpcConn
	c := &callers{generations: generations, timeout: timeout, lanes: make(map[laneKey]*lane)}
	c.life, c.end = context.WithCancel(context.Background())
	c.transport = &http.Transport{
		Protocols:          &protocols,
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return dial(ctx, ctx.Value(nodeKey{}).(string), addr)
		},
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:  5 * time.Second,
			PingTimeout:      5 * time.Second,
			WriteByteTimeout: 15 * time.Second,
		},
	}
	return c
}

// Call sends request to a node at addr (host:port), or to whichever node of the cluster is there where to is empty, and returns
// its answer. The deadline of ctx goes with it, Options.CallTimeout where there is none. An error is a *RemoteError, the peer's
// answer, or wraps ErrNotSent or ErrMaybeSent.
func (p *Port) Call(ctx context.Context, to, addr, method string, request []byte) ([]byte, error) {
	response, err := p.calls.call(ctx, to, addr, method, request)
	if err != nil {
		return nil, fmt.Errorf("call %s of node %s: %w", method, to, err)
	}
	return response, nil
}

// Stream sends request and returns the answer as it comes. The reader ends with io.EOF only after the handler has returned nil:
// it gives a *RemoteError where the handler failed, ErrMaybeSent where the stream was cut. ctx bounds the whole of it. The
// caller closes the reader.
func (p *Port) Stream(ctx context.Context, to, addr, method string, request []byte) (io.ReadCloser, error) {
	stream, err := p.calls.stream(ctx, to, addr, method, request)
	if err != nil {
		return nil, fmt.Errorf("call %s of node %s: %w", method, to, err)
	}
	return stream, nil
}

func (c *callers) call(ctx context.Context, to, addr, method string, request []byte) ([]byte, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	response, done, err := c.send(ctx, laneKey{to, addr, false}, method, request)
	if err != nil {
		return nil, err
	}
	defer done()
	body, err := io.ReadAll(io.LimitReader(response.Body, MessageBytesMax+1))
	switch {
	case err != nil:
		return nil, maybeSent(ctx, err)
	case len(body) > MessageBytesMax:
		return nil, maybeSent(ctx, fmt.Errorf("the response is over %d bytes", MessageBytesMax))
	case response.StatusCode == http.StatusOK:
		return body, nil
	}
	return nil, c.remoteError(to, response, body)
}

func (c *callers) stream(ctx context.Context, to, addr, method string, request []byte) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	response, done, err := c.send(ctx, laneKey{to, addr, true}, method, request)
	if err != nil {
		cancel()
		return nil, err
	}
	closeAll := func() { cancel(); done() }
	if response.StatusCode != http.StatusOK {
		defer closeAll()
		message, err := io.ReadAll(io.LimitReader(response.Body, errorMessageBytesMax))
		if err != nil {
			return nil, maybeSent(ctx, err)
		}
		return nil, c.remoteError(to, response, message)
	}
	return &streamReader{ctx: ctx, response: response, done: sync.OnceFunc(closeAll)}, nil
}

// send gets a request through to the head of its response. The caller calls done when it has finished with that.
func (c *callers) send(ctx context.Context, key laneKey, method string, request []byte) (*http.Response, func(), error) {
	if err := checkMethod(method); err != nil {
		return nil, nil, notSent(ctx, err)
	}
	if len(request) > MessageBytesMax {
		return nil, nil, notSent(ctx, fmt.Errorf("a request of %d bytes, more than %d", len(request), MessageBytesMax))
	}
	l := c.lane(key)
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, notSent(ctx, errors.New("too many requests are under way"))
	}
	response, err := c.attempt(ctx, l, method, request)
	if err != nil {
		<-l.slots
		return nil, nil, err
	}
	return response, func() {
		_ = response.Body.Close() // it is read, or given up
		<-l.slots
	}, nil
}

// attempt sends the request on the lane's connection. A connection that turns out to be dead before it has taken anything of
// the request is replaced, once.
func (c *callers) attempt(ctx context.Context, l *lane, method string, request []byte) (*http.Response, error) {
	for retried := false; ; retried = true {
		conn, err := l.connect(ctx, c)
		if err != nil {
			return nil, notSent(ctx, err)
		}
		body := newRequestBody(request)
		r := &http.Request{
			Method: http.MethodPost, Header: make(http.Header), Body: body, ContentLength: int64(len(request)) + 1,
			URL: &url.URL{Scheme: "http", Host: cmp.Or(l.key.node, "any"), Path: "/" + method},
		}
		if deadline, bounded := ctx.Deadline(); bounded {
			r.Header.Set(headerTimeout, encodeTimeout(time.Until(deadline)))
		}
		c.generations.sign(r.Header)
		response, err := conn.RoundTrip(r.WithContext(ctx))
		switch {
		case err == nil:
			return response, nil
		case !body.withdraw():
			return nil, maybeSent(ctx, err)
		case ctx.Err() != nil || retried:
			return nil, notSent(ctx, err)
		}
		l.forget(conn)
	}
}

func (c *callers) lane(key laneKey) *lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lanes[key]
	if l == nil {
		// Where the node has moved, its former lane is left to what is under way there. Its connection goes when either end
		// closes, or when the other end has found it idle for some minutes.
		for other := range c.lanes {
			if other.node == key.node && other.stream == key.stream {
				delete(c.lanes, other)
			}
		}
		limit := callsPerPeerMax
		if key.stream {
			limit = streamsPerNodeMax
		}
		l = &lane{key: key, slots: make(chan struct{}, limit), dialing: make(chan struct{}, 1)}
		c.lanes[key] = l
	}
	return l
}

// close breaks every connection, and with it every request under way.
func (c *callers) close() { c.end() }

// connect returns the lane's connection, and makes one where there is none that works.
func (l *lane) connect(ctx context.Context, c *callers) (*http.ClientConn, error) {
	select {
	case l.dialing <- struct{}{}:
		defer func() { <-l.dialing }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if c.life.Err() != nil {
		return nil, ErrClosed
	}
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	if conn != nil && conn.Err() == nil {
		return conn, nil
	}
	dialContext, cancel := context.WithCancel(context.WithValue(ctx, nodeKey{}, l.key.node))
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	conn, err := c.transport.NewClientConn(dialContext, "http", l.key.addr)
	if err != nil {
		return nil, err
	}
	unhook := context.AfterFunc(c.life, func() { _ = conn.Close() }) // it is being given up
	conn.SetStateHook(func(conn *http.ClientConn) {
		if conn.Err() != nil {
			unhook()
		}
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = conn
	return conn, nil
}

// forget makes the next request dial anew. What else is under way on the connection goes on or fails by itself.
func (l *lane) forget(conn *http.ClientConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == conn {
		l.conn = nil
	}
}

// notSent and maybeSent wrap what went wrong, with the context's own reason where it has ended.
func notSent(ctx context.Context, err error) error { return wrapCause(ctx, ErrNotSent, err) }

func maybeSent(ctx context.Context, err error) error { return wrapCause(ctx, ErrMaybeSent, err) }

func wrapCause(ctx context.Context, kind, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w (%w)", kind, err, cause)
	}
	return fmt.Errorf("%w: %w", kind, err)
}

// remoteError is the answer of a node that is no result. Where that is of a later generation, this one heeds it.
func (c *callers) remoteError(to string, response *http.Response, message []byte) error {
	err := remoteError(response, message)
	c.generations.refused(to, response.Header, err)
	return err
}

func remoteError(response *http.Response, message []byte) error {
	code := response.Header.Get(headerCode)
	if code == "" {
		// Not from a handler: the HTTP layer's own refusal, of which nothing is known.
		return fmt.Errorf("%w: HTTP status %d", ErrMaybeSent, response.StatusCode)
	}
	return &RemoteError{Code: code, Message: string(message)}
}

// streamReader turns the trailers into the error at the end.
type streamReader struct {
	ctx      context.Context
	response *http.Response
	done     func()
}

func (s *streamReader) Read(b []byte) (int, error) {
	n, err := s.response.Body.Read(b)
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		return n, maybeSent(s.ctx, err)
	}
	switch code := s.response.Trailer.Get(headerCode); code {
	case codeOK:
		return n, io.EOF
	case "":
		return n, maybeSent(s.ctx, io.ErrUnexpectedEOF)
	default:
		message, err := strconv.Unquote(s.response.Trailer.Get(headerMessage))
		if err != nil {
			message = "the message could not be read"
		}
		return n, &RemoteError{Code: code, Message: message}
	}
}

// Close gives up what has not been read.
func (s *streamReader) Close() error {
	s.done()
	return nil
}
