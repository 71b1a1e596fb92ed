package httpapi

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"parley/fsm/meta"
	"parley/mls"
)

type tokenList struct {
	Tokens []TokenEntry `json:"tokens"`
}

func (s *AdminServer) listTokens(c echo.Context) error {
	tokens, err := s.admin.Tokens(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, tokenList{Tokens: append([]TokenEntry{}, tokens...)})
}

// createToken is POST /v1/tokens. Its answer alone has the secret.
func (s *AdminServer) createToken(c echo.Context) error {
	var r TokenRequest
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	if len(r.Scopes) == 0 {
		return missing("scopes")
	}
	for i, name := range r.Scopes {
		if _, err := meta.ParseScope(name); err != nil {
			return &mls.MalformedError{Field: fmt.Sprintf("scopes[%d]", i), Reason: "there is no such scope"}
		}
	}
	token, err := s.admin.CreateToken(c.Request().Context(), r)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusCreated, token)
}

func (s *AdminServer) revokeToken(c echo.Context) error {
	if err := s.admin.RevokeToken(c.Request().Context(), c.Param("id")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
