package httpapi

import (
	"context"
	"crypto/rand"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm/meta"
	"parley/mls"
)

// AuditAdmin is what the admin listener asks of the audit log.
type AuditAdmin interface {
	// Audit are entries with a sequence below before, or from the last one on where that is 0, the newest first.
	Audit(ctx context.Context, before uint64, most int) ([]AuditEntry, error)
	// RecordAction records what the context's operator has done without a change of the cluster's map, where that can be. failed says why
	// nothing came of it.
	RecordAction(ctx context.Context, failed string) error
}

// AuditEntry says what an operator did.
type AuditEntry struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"` // of the clock that the cluster keeps
	By       string    `json:"by"`   // as he called himself
	Verb     string    `json:"verb"`
	What     string    `json:"what"`
	Done     bool      `json:"done"`
	Came     string    `json:"came,omitempty"` // what came of it, where it was not done
}

// The headers by which `parley` says for whom it asks, and what for.
const (
	ByHeader   = "Parley-By"
	VerbHeader = "Parley-Verb"
)

// auditMost bounds one page.
const (
	auditDefault = 100
	auditMost    = 1000
)

// recordMax bounds how long an answer waits for its entry in the audit log.
const recordMax = 2 * time.Second

type auditPage struct {
	Entries []AuditEntry `json:"entries"`
}

// listAudit is GET /v1/audit: a page of the log, the newest first; before is the sequence of the last one that is known already.
func (s *AdminServer) listAudit(c echo.Context) error {
	before, most := uint64(0), auditDefault
	var err error
	if text := c.QueryParam("before"); text != "" {
		if before, err = strconv.ParseUint(text, 10, 64); err != nil {
			return &mls.MalformedError{Field: "before", Reason: "it is no sequence"}
		}
	}
	if text := c.QueryParam("limit"); text != "" {
		if most, err = strconv.Atoi(text); err != nil || most < 1 || most > auditMost {
			return &mls.MalformedError{Field: "limit", Reason: "it is not between 1 and 1000"}
		}
	}
	entries, err := s.admin.Audit(c.Request().Context(), before, most)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, auditPage{append([]AuditEntry{}, entries...)})
}

// audit is the one place that makes a request that may change something an operator's: each change of the map that it comes to is recorded
// with it, and what comes to none is recorded when it is over. Who he is he says himself: whoever reaches the listener may do all of this.
func (s *AdminServer) audit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return next(c)
		}
		operator := &meta.Operator{By: r.Header.Get(ByHeader), Verb: r.Header.Get(VerbHeader)}
		if operator.Verb == "" {
			operator.Verb = r.Method + " " + c.Path()
		}
		if _, err := rand.Read(operator.Key[:]); err != nil {
			return err
		}
		c.SetRequest(r.WithContext(meta.WithOperator(r.Context(), operator)))
		err := next(c)
		if operator.Changes() == 0 {
			s.record(c, operator, err)
		}
		return err
	}
}

// record puts into the log what was done without a change of the map. That it cannot is no reason to call what was done undone.
func (s *AdminServer) record(c echo.Context, operator *meta.Operator, err error) {
	ctx, cancel := context.WithTimeout(meta.WithOperator(context.WithoutCancel(c.Request().Context()), operator), recordMax)
	defer cancel()
	operator.SaysAtLeast(c.Request().URL.Path)
	failed := ""
	if err != nil {
		failed = err.Error()
	}
	if err := s.admin.RecordAction(ctx, failed); err != nil {
		s.log.Error("an operator's action is not in the audit log", "by", operator.By, "verb", operator.Verb, "path", c.Request().URL.Path, "error", err)
	}
}
