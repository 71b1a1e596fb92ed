package httpapi

import (
	"log/slog"

	"github.com/labstack/echo/v4"

	"parley/mimi"
)

// Where messages and Proposals are submitted in bulk, and asked for, at the peer and at the local listener alike (docs/extensions.md).
const (
	bulkSubmitPath  = "/v1/bulkSubmit"
	submissionsPath = "/v1/submissions"
)

// submitter is who submits in bulk.
type submitter struct {
	name      string        // for metrics
	domain    mimi.Provider // in whose name Proposals are submitted: theirs does not stand in the body
	speaksFor func(mimi.Provider) bool
	domains   []mimi.Provider // all that it speaks for
	local     bool
}

func (s *PeerServer) submitterOf(from caller) submitter {
	domains := []mimi.Provider{from.domain}
	for _, domain := range from.peer.Domains {
		if domain != from.domain {
			domains = append(domains, domain)
		}
	}
	return submitter{name: from.domain.String(), domain: from.domain, speaksFor: from.speaksFor, domains: domains}
}

// localSubmitter is what the origin of the provider's own submissions is called in metrics, and to the limits.
const localSubmitter = "local"

func (s *LocalServer) submitter() (submitter, error) {
	self, err := s.desk.self()
	if err != nil {
		return submitter{}, err
	}
	return submitter{name: localSubmitter, domain: self, speaksFor: s.desk.isOurs, domains: s.desk.config.Settings().Domains, local: true}, nil
}

// bulkSubmit is POST /v1/bulkSubmit of the peer listener, an extension.
func (s *PeerServer) bulkSubmit(c echo.Context) error {
	from, err := s.caller(c)
	if err != nil {
		return err
	}
	request, size, release, err := readBulkSubmit(c, s.intake, from.domain.String())
	if err != nil {
		return err
	}
	defer release()
	if err := s.limits.admit(from.domain, len(request.Submissions), size); err != nil {
		return err
	}
	return s.desk.answerSubmit(c, s.submitterOf(from), request, s.metrics, s.log)
}

// submissions is POST /v1/submissions of the peer listener, an extension.
func (s *PeerServer) submissions(c echo.Context) error {
	from, err := s.caller(c)
	if err != nil {
		return err
	}
	return s.desk.answerSubmissions(c, s.bodyBytesMax, s.submitterOf(from))
}

// bulkSubmit is POST /v1/bulkSubmit, for messages and Proposals of local users.
func (s *LocalServer) bulkSubmit(c echo.Context) error {
	from, err := s.submitter()
	if err != nil {
		return err
	}
	request, _, release, err := readBulkSubmit(c, s.intake, from.name)
	if err != nil {
		return err
	}
	defer release()
	return s.desk.answerSubmit(c, from, request, s.metrics, s.log)
}

// submissions is POST /v1/submissions.
func (s *LocalServer) submissions(c echo.Context) error {
	from, err := s.submitter()
	if err != nil {
		return err
	}
	return s.desk.answerSubmissions(c, s.bodyBytesMax, from)
}

// readBulkSubmit reads the frame of a request, for whose bytes there must be room. The returned function gives the room back.
func readBulkSubmit(c echo.Context, room *intakeRoom, origin string) (request mimi.BulkSubmitRequest, size int, release func(), err error) {
	if release, err = room.enter(origin, c.Request().ContentLength); err != nil {
		return request, 0, nil, err
	}
	body, err := readBody(c, mimi.BulkSubmitBytesMax)
	if err == nil {
		request, err = mimi.ParseBulkSubmitRequest(body)
	}
	if err != nil {
		release()
	}
	return request, len(body), release, err
}

// answerSubmit decides a request and answers it. One of which nothing was taken is answered as a whole, as every request of which nothing
// was taken is.
func (d *Desk) answerSubmit(c echo.Context, from submitter, request mimi.BulkSubmitRequest, metrics *RequestMetrics, log *slog.Logger) error {
	in := d.intake(c.Request().Context(), from, request)
	metrics.submitted(from.name, in.answers)
	if in.faults != nil {
		log.Error("parts of a bulk submission failed", "error", in.faults)
	}
	if in.nothingTaken() {
		return in.refusal
	}
	return coded(mimi.BulkSubmitResponse{Answers: in.answers}).send(c)
}
