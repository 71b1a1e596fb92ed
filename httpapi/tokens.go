package httpapi

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"parley/fsm/meta"
)

// anyScope lets every known token pass.
const anyScope meta.Scope = 0

// secretBytesMax bounds a bearer token; what is longer is none of ours.
const secretBytesMax = 512

// needs lets a request pass that has a token with the scope; anyScope means any token. Secrets are never compared: the
// request's is hashed and the hash is looked up, so that the time taken tells nothing of other secrets.
func (s *LocalServer) needs(scope meta.Scope) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			secret, err := bearer(c.Request())
			if err != nil {
				return err
			}
			hash := sha256.Sum256([]byte(secret))
			token, known := s.tokens.Token(hash)
			if !known {
				return newProblem(http.StatusUnauthorized, problemUnauthorized, echo.HeaderAuthorization, "The token is not known.")
			}
			if scope != anyScope && !token.Allows(scope) {
				return newProblem(http.StatusForbidden, problemScope, echo.HeaderAuthorization,
					fmt.Sprintf("The endpoint needs the scope %s.", scope))
			}
			c.SetRequest(c.Request().WithContext(meta.WithCaller(c.Request().Context(), meta.Caller{TokenHash: hash})))
			return next(c)
		}
	}
}

func bearer(r *http.Request) (string, error) {
	values := r.Header.Values(echo.HeaderAuthorization)
	if len(values) == 1 {
		scheme, secret, found := strings.Cut(values[0], " ")
		if found && strings.EqualFold(scheme, "Bearer") && secret != "" && len(secret) <= secretBytesMax {
			return secret, nil
		}
	}
	return "", newProblem(http.StatusUnauthorized, problemUnauthorized, echo.HeaderAuthorization,
		"One Authorization header with a bearer token is needed.")
}
