package httpapi

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"parley/fsm/meta"
	"parley/mimi"
)

// PeerConfig is what an operator says about the peer listener.
type PeerConfig struct {
	// PublicURL is where other providers reach this node, "https://mimi.example.com:8443"; the directory document is made of it.
	PublicURL string
	// PublicRoots verify peers without a pinned CA; nil takes the system's.
	PublicRoots *x509.CertPool
	// BodyBytesMax bounds a request's body; 0 means RequestBytesMax.
	BodyBytesMax int64
	Limit        RateLimit // of one peer; the zero value means DefaultRateLimit
	Timeouts     Timeouts
}

// PeerServer is the front door for other providers: HTTPS with mutual TLS, the endpoints of mimi-protocol-06 §5.
type PeerServer struct {
	listener
	desk         *Desk
	doorkeeper   doorkeeper
	limits       *peerLimits
	sessions     Sessions
	intake       *intakeRoom
	metrics      *RequestMetrics
	bodyBytesMax int64
	directory    []byte // the document, which is the same for everybody
}

// NewPeerServer makes the listener; Serve runs it. The error is a wrong PublicURL.
func NewPeerServer(cfg PeerConfig, desk *Desk, peers Peers, sessions Sessions, certificates Certificates, metrics *RequestMetrics, log *slog.Logger) (*PeerServer, error) {
	base, err := publicBase(cfg.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("public URL %q: %w", cfg.PublicURL, err)
	}
	document, err := directoryDocument(base)
	if err != nil {
		return nil, err
	}
	cfg.Limit = cfg.Limit.withDefaults()
	if cfg.BodyBytesMax == 0 {
		cfg.BodyBytesMax = RequestBytesMax
	}
	s := &PeerServer{
		desk:         desk,
		doorkeeper:   doorkeeper{peers: peers, public: cfg.PublicRoots},
		limits:       newPeerLimits(cfg.Limit),
		sessions:     sessions,
		intake:       newIntakeRoom(),
		metrics:      metrics,
		bodyBytesMax: cfg.BodyBytesMax,
		directory:    document,
	}
	s.listener = listener{
		name:     "peer",
		echo:     newEcho(log),
		timeouts: cfg.Timeouts.withDefaults(),
		log:      log,
		stopping: make(chan struct{}),
		context:  s.session,
		tls: &tls.Config{
			MinVersion:       tls.VersionTLS12,
			ClientAuth:       tls.RequireAnyClientCert,
			VerifyConnection: s.doorkeeper.verifyConnection,
			GetCertificate:   func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificates() },
			NextProtos:       []string{"h2", "http/1.1"},
		},
	}
	s.routes(metrics)
	return s, nil
}

func (s *PeerServer) routes(metrics *RequestMetrics) {
	s.echo.Use(metrics.observe(s.name), unlessLeaving(s.sessions), s.welcome, s.limited, deadline(s.timeouts.Request))
	s.echo.GET(mimi.DirectoryPath, s.getDirectory)
	s.echo.POST("/v1/keyMaterial/*", s.keyMaterial)
	s.echo.POST(bulkKeyMaterialPath, s.bulkKeyMaterial)
	s.echo.POST(bulkSubmitPath, s.bulkSubmit)
	s.echo.POST(submissionsPath, s.submissions)
	s.echo.POST("/v1/update/*", s.update)
	s.echo.POST("/v1/submitMessage/*", s.submitMessage)
	s.echo.POST("/v1/groupInfo/*", s.groupInfo)
	s.echo.POST("/v1/notify/*", s.notify)
	s.echo.POST(bulkNotifyPath, s.bulkNotify)
	s.echo.POST(roomEpochPath, s.roomEpoch)
}

// limited lets a request of a known peer in, if the peer has not too many already.
func (s *PeerServer) limited(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		from, err := s.doorkeeper.identify(c, c.Path() != mimi.DirectoryPath)
		if err != nil {
			return err
		}
		leave, err := s.limits.enter(from.domain)
		if err != nil {
			return err
		}
		defer leave()
		c.Set(callerKey, from)
		c.SetRequest(c.Request().WithContext(meta.WithCaller(c.Request().Context(), meta.Caller{Peer: from.domain})))
		return next(c)
	}
}

const callerKey = "caller"

// caller is who sends the request, as the middleware found out.
func (s *PeerServer) caller(c echo.Context) (caller, error) {
	from, ok := c.Get(callerKey).(caller)
	if !ok {
		return caller{}, errors.New("the route does not identify its caller")
	}
	return from, nil
}

// lastInPath is what stands behind the endpoint's name, as it was sent. The router's own parameter is sometimes unescaped and
// sometimes not, so that a URI with percent-encoding of its own could be unescaped twice.
func lastInPath(c echo.Context) string {
	return strings.TrimPrefix(c.Request().URL.EscapedPath(), strings.TrimSuffix(c.Path(), "*"))
}

// roomRequest reads what the endpoints of a room have in common: who sends, which room the path names, and the body.
func (s *PeerServer) roomRequest(c echo.Context) (from caller, room mimi.RoomURI, body []byte, err error) {
	if from, err = s.caller(c); err != nil {
		return caller{}, mimi.RoomURI{}, nil, err
	}
	if room, err = mimi.RoomURIFromPath(lastInPath(c)); err != nil {
		return caller{}, mimi.RoomURI{}, nil, err
	}
	if body, err = readBody(c, s.bodyBytesMax); err != nil {
		return caller{}, mimi.RoomURI{}, nil, err
	}
	return from, room, body, nil
}

// publicBase checks an operator's URL: https, a host, nothing behind it.
func publicBase(address string) (*url.URL, error) {
	base, err := checkURL(strings.TrimSuffix(address, "/"))
	if err != nil {
		return nil, err
	}
	if base.Path != "" || base.RawQuery != "" {
		return nil, errors.New("it has a path or a query")
	}
	return base, nil
}
