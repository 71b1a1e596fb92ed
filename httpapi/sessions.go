package httpapi

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// retryElsewhere is told to a peer that should come to another node: about as long as a balancer takes to notice.
const retryElsewhere = 5 * time.Second

type sessionKey struct{}

// session remembers whether a connection began while the node took new ones.
func (s *PeerServer) session(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(remember(ctx, conn), sessionKey{}, s.sessions.TakesPeers())
}

// welcome sends requests away that came on a connection which began while the node took none, unless it does now. Who was here before
// goes on: what such a peer asks for is decided by the shards.
func (s *PeerServer) welcome(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if began, _ := c.Request().Context().Value(sessionKey{}).(bool); !began && !s.sessions.TakesPeers() {
			return sentElsewhere(c, "This node is out of contact with its cluster and takes no new sessions.")
		}
		return next(c)
	}
}

// unlessLeaving sends everybody away while the node leaves its cluster and has nothing left.
func unlessLeaving(s Sessions) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if s.Leaves() {
				return sentElsewhere(c, "This node leaves its cluster.")
			}
			return next(c)
		}
	}
}

// sentElsewhere is the answer to who has to come to another node, on another connection.
func sentElsewhere(c echo.Context, why string) error {
	c.Response().Header().Set(echo.HeaderConnection, "close") // under HTTP/2 too this ends the connection when its requests are answered
	return newProblem(http.StatusServiceUnavailable, problemNotProposed, "", why+" Nothing was written; come to another node.").after(retryElsewhere)
}
