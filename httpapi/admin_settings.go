package httpapi

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"parley/fsm/meta"
)

// ClusterSettings are the limits that an operator may change.
type ClusterSettings struct {
	Version  uint64    `json:"version"` // rises with every change, and with some others
	Settings []Setting `json:"settings"`
}

// Setting is one limit. Its value is a text, in the form that its meaning suggests: "2", "10s", "92d", "yes", "ask".
type Setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Changed bool   `json:"changed"` // the value is not the default
	Meaning string `json:"meaning"`
}

// SettingsChange sets limits by their names; those that it does not name stay as they are.
type SettingsChange struct {
	Set map[string]string `json:"set"` // "default" brings one back to its default
	// Version makes the change depend on what was read: it is refused where the settings are of another version by then.
	Version uint64 `json:"version,omitempty"` // 0: any
}

// clusterSettings is GET /v1/cluster/settings.
func (s *AdminServer) clusterSettings(c echo.Context) error {
	settings, err := s.admin.Settings(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, settings)
}

// changeClusterSettings is PATCH /v1/cluster/settings. It may be repeated. The answer has what is in force then.
func (s *AdminServer) changeClusterSettings(c echo.Context) error {
	var change SettingsChange
	if err := readJSON(c, adminBodyBytesMax, &change); err != nil {
		return err
	}
	if len(change.Set) == 0 {
		return missing("set")
	}
	said := make([]string, 0, len(change.Set))
	for _, name := range slices.Sorted(maps.Keys(change.Set)) {
		said = append(said, name+"="+change.Set[name])
	}
	meta.OperatorOf(c.Request().Context()).Says(strings.Join(said, " "))
	settings, err := s.admin.ChangeSettings(c.Request().Context(), change)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, settings)
}
