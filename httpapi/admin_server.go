package httpapi

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"parley/fsm/meta"
	"parley/httpapi/openapi"
)

// AdminConfig is what an operator says about the admin listener.
type AdminConfig struct {
	// TLS, with RequireAndVerifyClientCert, guards a listener that is not on loopback. nil serves plaintext, to loopback only.
	TLS      *tls.Config
	Timeouts Timeouts
}

// AdminServer is the operators' door: health, metrics, profiles, and what `parley` commands ask.
type AdminServer struct {
	listener
	admin Admin
}

// adminBodyBytesMax bounds a request; the longest is a peer with its certificates.
const adminBodyBytesMax = 1 << 20

// NewAdminServer makes the listener; Serve runs it. The metrics of the gatherer are served at /metrics.
func NewAdminServer(cfg AdminConfig, admin Admin, gatherer prometheus.Gatherer, metrics *RequestMetrics, log *slog.Logger) *AdminServer {
	// A profile may be taken for minutes.
	for _, limit := range []*time.Duration{&cfg.Timeouts.Read, &cfg.Timeouts.Write} {
		if *limit == 0 {
			*limit = 5 * time.Minute
		}
	}
	s := &AdminServer{
		listener: listener{
			name:     "admin",
			echo:     newEcho(log),
			timeouts: cfg.Timeouts.withDefaults(),
			log:      log,
			stopping: make(chan struct{}),
			tls:      cfg.TLS,
		},
		admin: admin,
	}
	s.routes(gatherer, metrics)
	return s
}

func (s *AdminServer) routes(gatherer prometheus.Gatherer, metrics *RequestMetrics) {
	e, short := s.echo, deadline(s.timeouts.Request)
	e.Use(metrics.observe(s.name), s.guard, s.audit)
	e.GET("/openapi.json", openapiHandler(openapi.Admin))
	e.GET("/healthz", s.healthz)
	e.GET("/readyz", s.readyz, short)
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{})))
	e.GET("/debug/pprof/", echo.WrapHandler(http.HandlerFunc(pprof.Index)))
	e.GET("/debug/pprof/cmdline", echo.WrapHandler(http.HandlerFunc(pprof.Cmdline)))
	e.GET("/debug/pprof/profile", echo.WrapHandler(http.HandlerFunc(pprof.Profile)))
	e.GET("/debug/pprof/symbol", echo.WrapHandler(http.HandlerFunc(pprof.Symbol)))
	e.GET("/debug/pprof/trace", echo.WrapHandler(http.HandlerFunc(pprof.Trace)))
	e.GET("/debug/pprof/:profile", echo.WrapHandler(http.HandlerFunc(pprof.Index)))

	e.GET("/v1/cluster/status", s.clusterStatus, short)
	e.POST("/v1/cluster/init", s.clusterInit, deadline(clusterChangeMax))
	e.POST("/v1/backups", s.createBackup, short)
	e.POST("/v1/cluster/restore", s.restoreCluster, deadline(clusterChangeMax))
	e.GET("/v1/cluster/settings", s.clusterSettings, short)
	e.PATCH("/v1/cluster/settings", s.changeClusterSettings, short)
	e.POST("/v1/node/join", s.nodeJoin, deadline(clusterChangeMax))
	e.POST("/v1/cluster/reseal", s.reseal, short)
	e.POST("/v1/node/invite", s.invite, short)
	e.GET("/v1/invitations", s.listInvitations, short)
	e.DELETE("/v1/invitations/:id", s.revokeInvitation, short)
	e.GET("/v1/certificates", s.listCertificates, short)
	e.DELETE("/v1/nodes/:node/certificates", s.revokeCertificates, short)
	e.GET("/v1/hub-keys", s.hubKeys, short)
	e.POST("/v1/hub-keys/rotate", s.rotateHubKeys, short)
	e.GET("/v1/keyring", s.keyring, short)
	e.POST("/v1/keyring/rotate", s.rotateKeyring, short)
	e.GET("/v1/peers", s.listPeers, short)
	e.PUT("/v1/peers/:domain", s.putPeer, short)
	e.DELETE("/v1/peers/:domain", s.removePeer, short)
	e.POST("/v1/peers/:domain/pause", s.pausePeer, short)
	e.POST("/v1/peers/:domain/resume", s.resumePeer, short)
	e.POST("/v1/peers/:domain/replay", s.replayPeer, short)
	e.GET("/v1/backlog", s.backlog, short)
	e.GET("/v1/tokens", s.listTokens, short)
	e.POST("/v1/tokens", s.createToken, short)
	e.DELETE("/v1/tokens/:id", s.revokeToken, short)
	e.GET("/v1/shards/:shard/digests", s.shardDigests, short)
	e.POST("/v1/shards/:shard/transfer-leadership", s.transferLeadership, short)
	e.GET("/v1/nodes", s.listNodes, short)
	e.POST("/v1/nodes/:node/drain", s.assignNode(meta.Draining), short)
	e.POST("/v1/nodes/:node/recommission", s.assignNode(meta.Serving), short)
	e.POST("/v1/nodes/:node/decommission", s.decommission, short)
	e.POST("/v1/nodes/:node/replace", s.replaceNode, short)
	e.POST("/v1/nodes/:node/forget", s.forgetNode, short)
	e.POST("/v1/shards/:shard/move", s.moveReplica, short)
	e.GET("/v1/cluster/placement", s.showPlacement, short)
	e.PATCH("/v1/cluster/placement", s.changePlacement, short)
	e.GET("/v1/jobs", s.listJobs, short)
	e.GET("/v1/jobs/:id", s.showJob, short)
	e.POST("/v1/jobs/:id/cancel", s.steerJob(JobCancel), short)
	e.POST("/v1/jobs/:id/pause", s.steerJob(JobPause), short)
	e.POST("/v1/jobs/:id/resume", s.steerJob(JobResume), short)
	e.GET("/v1/audit", s.listAudit, short)
	e.POST("/v1/plans", s.makePlan, short)
	e.GET("/v1/plans/:id", s.showPlan, short)
	e.POST("/v1/plans/:id/apply", s.applyPlan, short)
	s.careRoutes(e, short)
	e.POST("/v1/shards/:shard/split", s.splitShard, short)
	e.POST("/v1/shards/:shard/merge", s.mergeShard, short)
	e.POST("/v1/slots/move", s.moveSlots, short)
}

// guard keeps web pages out of a plaintext listener, which has no other authentication than being on this machine: a request
// must be addressed to loopback by its Host (no page's own name, also not one that resolves to 127.0.0.1) and must not come
// from a page of another origin.
func (s *AdminServer) guard(next echo.HandlerFunc) echo.HandlerFunc {
	pages := http.NewCrossOriginProtection()
	return func(c echo.Context) error {
		r := c.Request()
		if s.tls == nil && !loopbackHost(r.Host) {
			return newProblem(http.StatusForbidden, problemUnauthorized, "Host", "The listener answers to loopback addresses only.")
		}
		if err := pages.Check(r); err != nil {
			return newProblem(http.StatusForbidden, problemUnauthorized, "Origin", "Requests of web pages are not taken.")
		}
		return next(c)
	}
}

func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// healthz says that the process runs.
func (s *AdminServer) healthz(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

// readyz says whether requests should be sent to this node.
func (s *AdminServer) readyz(c echo.Context) error {
	readiness := s.admin.Ready(c.Request().Context())
	if readiness.Reasons == nil {
		readiness.Reasons = []string{}
	}
	if !readiness.Ready {
		return c.JSON(http.StatusServiceUnavailable, readiness)
	}
	return c.JSON(http.StatusOK, readiness)
}
