package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// rpcServer serves the RPC connections that the port has let in.
type rpcServer struct {
	log         *slog.Logger
	generations generations
	addr        net.Addr
	server      *http.Server
	conns       chan net.Conn
	life        context.Context // ended by close; every handler's context descends from it
	end         context.CancelFunc
	budget      *semaphore.Weighted // bytes of requests in memory

	mu      sync.Mutex
	methods map[string]method
	running map[peerLane]int
	open    map[string]int // connections by peer
	closed  bool

	handlers sync.WaitGroup
	serving  sync.WaitGroup
}

// method is one of the two kinds of handler.
type method struct {
	call   Handler
	stream StreamHandler
}

// peerLane counts what one node has running.
type peerLane struct {
	peer   string
	stream bool
}

// peerKey finds the peer's node ID in the context of a connection.
type peerKey struct{}

func newRPCServer(addr net.Addr, generations generations, log *slog.Logger) *rpcServer {
	s := &rpcServer{
		log: log, generations: generations, addr: addr, conns: make(chan net.Conn), budget: semaphore.NewWeighted(requestBudget),
		methods: make(map[string]method), running: make(map[peerLane]int), open: make(map[string]int),
	}
	s.life, s.end = context.WithCancel(context.Background())
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true) // as far as net/http can see
	s.server = &http.Server{
		Handler:           s,
		Protocols:         &protocols,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return s.life },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, conn.(rpcConn).peer)
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: http2StreamsMax,
			SendPingTimeout:      15 * time.Second,
			PingTimeout:          10 * time.Second,
			WriteByteTimeout:     30 * time.Second,
		},
	}
	s.serving.Go(func() {
		if err := s.server.Serve(s); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			log.Error("cluster port: the RPC server has stopped", "error", err)
		}
	})
	return s
}

// Accept, Close and Addr make the server its own net.Listener.
func (s *rpcServer) Accept() (net.Conn, error) {
	select {
	case conn := <-s.conns:
		return conn, nil
	case <-s.life.Done():
		return nil, net.ErrClosed
	}
}

// Close is for net/http, which closes its listener; close ends the server.
func (s *rpcServer) Close() error { return nil }

func (s *rpcServer) Addr() net.Addr { return s.addr }

// admit takes an authenticated connection. On an error the caller closes it.
func (s *rpcServer) admit(conn net.Conn, peer string) error {
	s.mu.Lock()
	if s.open[peer] >= rpcConnsPerPeerMax {
		s.mu.Unlock()
		return fmt.Errorf("%d RPC connections of the node are open already", rpcConnsPerPeerMax)
	}
	s.open[peer]++
	s.mu.Unlock()
	leave := sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open[peer]--; s.open[peer] == 0 {
			delete(s.open, peer)
		}
	})
	select {
	case s.conns <- rpcConn{conn, peer, leave}:
		return nil
	case <-s.life.Done():
		leave()
		return ErrClosed
	}
}

// close ends all connections and waits for the handlers.
func (s *rpcServer) close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	err := s.server.Close()
	s.handlers.Wait()
	s.serving.Wait()
	return err
}

func (s *rpcServer) register(name string, m method) {
	if err := checkMethod(name); err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.methods[name]; taken {
		panic(fmt.Sprintf("transport: the method %q has a handler already", name))
	}
	s.methods[name] = m
}

// Handle registers the handler of a method (lower-case letters, digits, '_', '.', '-'). It panics when the method has one:
// two packages that claim one name is a mistake in the program.
func (p *Port) Handle(name string, h Handler) { p.rpc.register(name, method{call: h}) }

// HandleStream registers the handler of a method that answers with a stream.
func (p *Port) HandleStream(name string, h StreamHandler) { p.rpc.register(name, method{stream: h}) }

// begin finds the method and takes one of the peer's places. end gives it back.
func (s *rpcServer) begin(name, peer string) (m method, end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, known := s.methods[name]
	if s.closed || !known {
		return method{}, nil, &RemoteError{CodeUnknownMethod, "no handler for " + strconv.Quote(name)}
	}
	lane, limit := peerLane{peer, m.stream != nil}, callsPerPeerMax
	if lane.stream {
		limit = streamsPerNodeMax
	}
	if s.running[lane] >= limit {
		return method{}, nil, &RemoteError{CodeOverloaded, fmt.Sprintf("%d requests of node %s are running", limit, peer)}
	}
	s.running[lane]++
	s.handlers.Add(1) // under mu and before closed, so never beside close's Wait
	return m, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.running[lane]--; s.running[lane] == 0 {
			delete(s.running, lane)
		}
		s.handlers.Done()
	}, nil
}

// ServeHTTP implements http.Handler.
func (s *rpcServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	peer, _ := r.Context().Value(peerKey{}).(string)
	if err := s.generations.admits(peer, strings.TrimPrefix(r.URL.Path, "/"), r.Header); err != nil {
		s.generations.sign(w.Header())
		writeError(w, err)
		return
	}
	m, end, err := s.begin(strings.TrimPrefix(r.URL.Path, "/"), peer)
	if err != nil {
		writeError(w, err)
		return
	}
	defer end()
	ctx, cancel, err := requestContext(r)
	if err != nil {
		writeError(w, err)
		return
	}
	defer cancel()
	// The peer's certificate was good when it connected; a request is bounded by memory before a byte of it is read.
	if r.ContentLength < 1 || r.ContentLength > MessageBytesMax+1 {
		writeError(w, &RemoteError{CodeTooLarge, fmt.Sprintf("a request of %d bytes, not 1 to %d", r.ContentLength, MessageBytesMax+1)})
		return
	}
	if err := s.budget.Acquire(ctx, r.ContentLength); err != nil {
		writeError(w, &RemoteError{CodeOverloaded, "no room for the request within its deadline"})
		return
	}
	defer s.budget.Release(r.ContentLength)
	body := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return // the caller has gone in the middle of it; nobody reads an answer
	}
	if body[0] != rpcVersion {
		writeError(w, &RemoteError{CodeUnknownMethod, fmt.Sprintf("version %d of the call format", body[0])})
		return
	}
	if m.stream != nil {
		s.answerStream(ctx, w, m.stream, peer, body[1:])
	} else {
		answer(ctx, w, m.call, peer, body[1:])
	}
}

func requestContext(r *http.Request) (context.Context, context.CancelFunc, error) {
	timeout, err := decodeTimeout(r.Header.Get(headerTimeout))
	if err != nil {
		return nil, nil, &RemoteError{CodeTooLarge, err.Error()}
	}
	if timeout == 0 {
		ctx, cancel := context.WithCancel(r.Context())
		return ctx, cancel, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	return ctx, cancel, nil
}

func answer(ctx context.Context, w http.ResponseWriter, h Handler, peer string, request []byte) {
	response, err := h(ctx, peer, request)
	if err == nil && len(response) > MessageBytesMax {
		err = &RemoteError{CodeResponseTooLarge, fmt.Sprintf("%d bytes, more than %d", len(response), MessageBytesMax)}
	}
	if err != nil {
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(response)))
	// A failed write is the caller's loss of the connection, and it knows as much.
	_, _ = w.Write(response)
}

func (s *rpcServer) answerStream(ctx context.Context, w http.ResponseWriter, h StreamHandler, peer string, request []byte) {
	w.WriteHeader(http.StatusOK)
	out := &flushWriter{w, http.NewResponseController(w)}
	err := out.control.Flush() // the caller learns that the stream has begun
	if err == nil {
		err = h(ctx, peer, request, out)
	}
	code := codeOK
	if err != nil {
		remote := asRemote(err)
		code = remote.Code
		w.Header().Set(http.TrailerPrefix+headerMessage, strconv.QuoteToASCII(remote.Message))
	}
	w.Header().Set(http.TrailerPrefix+headerCode, code)
}

type flushWriter struct {
	w       io.Writer
	control *http.ResponseController
}

func (f *flushWriter) Write(b []byte) (int, error) {
	n, err := f.w.Write(b)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}

// asRemote gives every handler's error a code and a bounded message.
func asRemote(err error) *RemoteError {
	var remote *RemoteError
	switch {
	case errors.As(err, &remote):
		remote = &RemoteError{remote.Code, remote.Message}
		if checkMethod(strings.ToLower(remote.Code)) != nil || remote.Code == codeOK {
			remote.Code = CodeInternal
		}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		remote = &RemoteError{CodeDeadline, err.Error()}
	default:
		remote = &RemoteError{CodeInternal, err.Error()}
	}
	remote.Message = remote.Message[:min(len(remote.Message), errorMessageBytesMax)]
	return remote
}

func writeError(w http.ResponseWriter, err error) {
	remote := asRemote(err)
	w.Header().Set(headerCode, remote.Code)
	w.Header().Set("Content-Length", strconv.Itoa(len(remote.Message)))
	w.WriteHeader(statusError)
	_, _ = io.WriteString(w, remote.Message) // as in answer
}
