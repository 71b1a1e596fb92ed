package httpapi

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm/meta"
	"parley/httpapi/openapi"
)

// LocalConfig is what an operator says about the local listener.
type LocalConfig struct {
	BodyBytesMax int64 // of a request; 0 means RequestBytesMax
	Timeouts     Timeouts
	// InboxPoll is how often a waiting inbox reader looks although nothing woke it, for what other nodes have; default 500 ms.
	InboxPoll time.Duration
}

// LocalServer is the door for the provider's own backend and clients: HTTPS with bearer tokens. It speaks for local users, in
// rooms hosted here and in rooms of other providers.
type LocalServer struct {
	listener
	desk         *Desk
	inbox        Inbox
	tokens       Tokens
	sessions     Sessions
	pulse        *Pulse
	intake       *intakeRoom
	metrics      *RequestMetrics
	bodyBytesMax int64
	inboxPoll    time.Duration
}

// NewLocalServer makes the listener; Serve runs it. The pulse wakes readers of the inbox.
func NewLocalServer(cfg LocalConfig, desk *Desk, inbox Inbox, pulse *Pulse, tokens Tokens, sessions Sessions, certificates Certificates,
	metrics *RequestMetrics, log *slog.Logger) *LocalServer {
	if cfg.BodyBytesMax == 0 {
		cfg.BodyBytesMax = RequestBytesMax
	}
	if cfg.InboxPoll == 0 {
		cfg.InboxPoll = 500 * time.Millisecond
	}
	s := &LocalServer{
		listener: listener{
			name:     "local",
			echo:     newEcho(log),
			timeouts: cfg.Timeouts.withDefaults(),
			log:      log,
			stopping: make(chan struct{}),
			tls:      tlsForAnyone(certificates),
		},
		desk:         desk,
		inbox:        inbox,
		tokens:       tokens,
		pulse:        pulse,
		sessions:     sessions,
		intake:       newIntakeRoom(),
		metrics:      metrics,
		bodyBytesMax: cfg.BodyBytesMax,
		inboxPoll:    cfg.InboxPoll,
	}
	s.routes(metrics)
	return s
}

// tlsForAnyone asks for no certificate of the client.
func tlsForAnyone(certificates Certificates) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificates() },
		NextProtos:     []string{"h2", "http/1.1"},
	}
}

func (s *LocalServer) routes(metrics *RequestMetrics) {
	e, short := s.echo, deadline(s.timeouts.Request)
	e.Use(metrics.observe(s.name), unlessLeaving(s.sessions))
	e.GET("/openapi.json", openapiHandler(openapi.Local))
	e.POST("/v1/users/:user/clients/:client/keyPackages", s.uploadKeyPackages, s.needs(meta.ScopeKeyPackagesWrite), short)
	e.DELETE("/v1/users/:user/clients/:client/keyPackages", s.deleteAllKeyPackages, s.needs(meta.ScopeKeyPackagesWrite), short)
	e.POST("/v1/users/:user/clients/:client/keyPackages/delete", s.deleteSomeKeyPackages, s.needs(meta.ScopeKeyPackagesWrite), short)
	e.GET("/v1/users/:user/keyPackages", s.readInventory, s.needs(meta.ScopeKeyPackagesWrite), short)
	e.GET("/v1/users/:user/consents", s.readConsents, s.needs(meta.ScopeKeyPackagesWrite), short)
	e.POST("/v1/users/:user/consents", s.setConsents, s.needs(meta.ScopeKeyPackagesWrite), short)
	e.PUT("/v1/users/:user/consents", s.putConsentPolicy, s.needs(meta.ScopeKeyPackagesWrite), short)
	e.PUT("/v1/users/:user/consents/:requester", s.putConsent, s.needs(meta.ScopeKeyPackagesWrite), short)
	e.DELETE("/v1/users/:user/consents/:requester", s.deleteConsent, s.needs(meta.ScopeKeyPackagesWrite), short)
	e.DELETE("/v1/users/:user", s.deleteUser, s.needs(meta.ScopeAdmin), short)
	e.DELETE("/v1/users/:user/clients/:client", s.removeClient, s.needs(meta.ScopeAdmin), short)
	e.POST("/v1/rooms", s.createRoom, s.needs(meta.ScopeRoomsWrite), short)
	e.GET("/v1/rooms/:room", s.describeRoom, s.needs(meta.ScopeRoomsRead), short)
	e.DELETE("/v1/rooms/:room", s.destroyRoom, s.needs(meta.ScopeRoomsWrite), short)
	e.POST("/v1/rooms/:room/fastForward", s.fastForward, s.needs(meta.ScopeRoomsWrite), short)
	e.GET("/v1/staleRooms", s.listStaleRooms, s.needs(meta.ScopeRoomsRead), short)
	e.POST("/v1/rooms/:room/joiningCodes", s.createJoiningCode, s.needs(meta.ScopeRoomsWrite), short)
	e.GET("/v1/rooms/:room/joiningCodes", s.listJoiningCodes, s.needs(meta.ScopeRoomsRead), short)
	e.DELETE("/v1/rooms/:room/joiningCodes/:code", s.revokeJoiningCode, s.needs(meta.ScopeRoomsWrite), short)
	e.POST("/v1/rooms/:room/update", s.update, s.needs(meta.ScopeMessagesWrite), short)
	e.POST("/v1/rooms/:room/submitMessage", s.submitMessage, s.needs(meta.ScopeMessagesWrite), short)
	e.POST("/v1/rooms/:room/groupInfo", s.groupInfo, s.needs(meta.ScopeMessagesWrite), short)
	e.POST("/v1/keyMaterial/:targetUser", s.keyMaterial, s.needs(meta.ScopeMessagesWrite), short)
	e.POST(bulkKeyMaterialPath, s.bulkKeyMaterial, s.needs(meta.ScopeMessagesWrite), short)
	e.POST(bulkSubmitPath, s.bulkSubmit, s.needs(meta.ScopeMessagesWrite), short)
	e.POST(submissionsPath, s.submissions, s.needs(meta.ScopeMessagesWrite), short)
	e.GET("/v1/inbox", s.readInbox, s.needs(meta.ScopeInboxRead)) // bounds its wait itself
	e.POST("/v1/inbox/acknowledge", s.acknowledgeInbox, s.needs(meta.ScopeInboxRead), short)
	e.GET("/v1/clients/:client/inbox", s.readClientInbox, s.needs(meta.ScopeInboxRead)) // bounds its wait itself
	e.POST("/v1/clients/:client/inbox/acknowledge", s.acknowledgeClientInbox, s.needs(meta.ScopeInboxRead), short)
	e.GET("/v1/hub-keys", s.hubKeys, s.needs(anyScope), short)
}

// openapiHandler serves a document that is the same for everybody and holds no secret.
func openapiHandler(document []byte) echo.HandlerFunc {
	return func(c echo.Context) error { return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, document) }
}
