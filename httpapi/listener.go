package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Timeouts bound how long a connection may take over each part of a request. The zero value of a field means its default.
type Timeouts struct {
	Header   time.Duration // reading a request's header; default 5 s
	Read     time.Duration // reading a whole request; default 30 s
	Write    time.Duration // from the end of a request's header to the end of its answer; default 1 min
	Idle     time.Duration // between requests; default 2 min
	Request  time.Duration // working on a request, until the outcome is given up as unknown; default 20 s
	Shutdown time.Duration // finishing requests when the listener stops; default 5 s
}

func (t Timeouts) withDefaults() Timeouts {
	set := func(d *time.Duration, standard time.Duration) {
		if *d == 0 {
			*d = standard
		}
	}
	set(&t.Header, 5*time.Second)
	set(&t.Read, 30*time.Second)
	set(&t.Write, time.Minute)
	set(&t.Idle, 2*time.Minute)
	set(&t.Request, 20*time.Second)
	set(&t.Shutdown, 5*time.Second)
	return t
}

// headerBytesMax bounds a request's header. A room's URI may take three times its 1,024 bytes in the path.
const headerBytesMax = 32 << 10

// listener is one of the doors: a handler behind HTTP/1.1 and, under TLS, HTTP/2.
type listener struct {
	name     string
	echo     *echo.Echo
	tls      *tls.Config // nil: plaintext
	timeouts Timeouts
	log      *slog.Logger
	context  func(context.Context, net.Conn) context.Context // may be nil
	stopping chan struct{}                                   // closed when Serve ends: what waits for news must not hold it up
}

// newEcho makes a router whose every error becomes a Problem.
func newEcho(log *slog.Logger) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = problemHandler(log)
	e.IPExtractor = echo.ExtractIPDirect()
	e.Pre(takingUnwanted(log))
	return e
}

// Serve, which may be called once, answers on the socket until the context ends, then lets requests finish for Timeouts.Shutdown and cuts the rest. It
// returns nil after such an end. The socket is closed in any case.
func (l *listener) Serve(ctx context.Context, socket net.Listener) error {
	// Requests outlive ctx by the shutdown time; what ends them early is the server closing their connections.
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	server := &http.Server{
		Handler:           headAsGet(l.echo),
		TLSConfig:         l.tls,
		ReadHeaderTimeout: l.timeouts.Header,
		ReadTimeout:       l.timeouts.Read,
		WriteTimeout:      l.timeouts.Write,
		IdleTimeout:       l.timeouts.Idle,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          slog.NewLogLogger(l.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       l.context,
	}
	failed := make(chan error, 1)
	go func() {
		if l.tls == nil {
			failed <- server.Serve(socket)
		} else {
			failed <- server.ServeTLS(socket, "", "")
		}
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("%s listener: %w", l.name, errors.Join(err, server.Close()))
	case <-ctx.Done():
	}
	close(l.stopping)
	grace, done := context.WithTimeout(base, l.timeouts.Shutdown)
	defer done()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		cut()
		err = server.Close()
	}
	if serving := <-failed; !errors.Is(serving, http.ErrServerClosed) {
		err = errors.Join(err, serving)
	}
	if err != nil {
		return fmt.Errorf("stop %s listener: %w", l.name, err)
	}
	return nil
}

// headAsGet answers HEAD wherever GET is answered (RFC 9110 §9.3.2). The server, which knows what was asked, leaves the content out.
func headAsGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			r = r.WithContext(r.Context()) // the server's own must go on saying HEAD
			r.Method = http.MethodGet
		}
		next.ServeHTTP(w, r)
	})
}

// deadline bounds the work on each request.
func deadline(limit time.Duration) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			ctx, cancel := context.WithTimeout(c.Request().Context(), limit)
			defer cancel()
			c.SetRequest(c.Request().WithContext(ctx))
			return next(c)
		}
	}
}
