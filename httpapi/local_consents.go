package httpapi

import (
	"encoding/base64"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// consentEntry is what a user (the target) lets another (the requester) claim KeyPackages for: one room, or any.
type consentEntry struct {
	Requester   mimi.UserURI `json:"requester"`
	Room        mimi.RoomURI `json:"room,omitzero"` // none: any room
	Consent     string       `json:"consent"`       // granted, revoked or, in a request, none
	SinceMillis uint64       `json:"sinceMillis,omitempty"`
}

// consentNames are fsm's values in JSON.
var consentNames = map[string]fsm.Consent{"none": fsm.ConsentForgotten, "granted": fsm.ConsentGranted, "revoked": fsm.ConsentRevoked}

// consentList answers GET /v1/users/{user}/consents.
type consentList struct {
	Policy  string         `json:"policy"`  // the user's own: cluster, ask, allow, provider or nobody
	InForce string         `json:"inForce"` // what it comes to
	Count   uint32         `json:"count"`   // of all entries
	Entries []consentEntry `json:"entries"`
	Next    string         `json:"next,omitempty"` // for `from` of the next page
}

// consentChanges is the body of POST /v1/users/{user}/consents.
type consentChanges struct {
	Entries []consentEntry `json:"entries"` // applied in order, all or none
}

// consentDecision is the body of PUT /v1/users/{user}/consents/{requester}.
type consentDecision struct {
	Consent string `json:"consent"` // granted or revoked
}

// consentPolicy is the body of PUT /v1/users/{user}/consents.
type consentPolicy struct {
	Policy string `json:"policy"`
}

const consentsPageDefault = 100

// consentScope reads the requester in the path and the room in the query.
func consentScope(c echo.Context) (entry fsm.ConsentEntry, err error) {
	if entry.Requester, err = mimi.UserURIFromPath(c.Param("requester")); err != nil {
		return entry, err
	}
	entry.Room, err = uriParam(c, "room", mimi.ParseRoomURI)
	return entry, err
}

// readConsents is GET /v1/users/{user}/consents.
func (s *LocalServer) readConsents(c echo.Context) error {
	user, err := s.localUser(c)
	if err != nil {
		return err
	}
	requester, err := uriParam(c, "requester", mimi.ParseUserURI)
	if err != nil {
		return err
	}
	from, err := base64.RawURLEncoding.DecodeString(c.QueryParam("from"))
	if err != nil {
		return &mls.MalformedError{Field: "from", Reason: "it is not one that an earlier answer gave"}
	}
	max := uint64(consentsPageDefault)
	if text := c.QueryParam("max"); text != "" {
		if max, err = strconv.ParseUint(text, 10, 16); err != nil {
			return &mls.MalformedError{Field: "max", Reason: "it is no number from 1 to 1000"}
		}
	}
	request, err := judge.NewReadConsents(user, requester, from, uint16(max))
	if err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.ConsentsRead:
		return c.JSON(http.StatusOK, presentConsents(o))
	case fsm.NotAllowed:
		return newProblem(http.StatusForbidden, problemNotYours, "user", o.Reason)
	default:
		return unexpected("a look at consent", outcome)
	}
}

func presentConsents(o fsm.ConsentsRead) consentList {
	list := consentList{
		Policy: o.Policy.String(), InForce: o.InForce.String(), Count: o.Count, Entries: []consentEntry{},
		Next: base64.RawURLEncoding.EncodeToString(o.Continue),
	}
	for _, e := range o.Entries {
		entry := consentEntry{Requester: e.Requester, Room: e.Room, Consent: "granted", SinceMillis: e.Millis}
		if e.Consent == fsm.ConsentRevoked {
			entry.Consent = "revoked"
		}
		list.Entries = append(list.Entries, entry)
	}
	return list
}

// setConsents is POST /v1/users/{user}/consents: many entries at once.
func (s *LocalServer) setConsents(c echo.Context) error {
	var r consentChanges
	if err := readJSON(c, s.bodyBytesMax, &r); err != nil {
		return err
	}
	var entries []fsm.ConsentEntry
	for _, e := range r.Entries {
		consent, known := consentNames[e.Consent]
		if !known {
			return &mls.MalformedError{Field: "entries.consent", Reason: "it is neither granted nor revoked nor none"}
		}
		entries = append(entries, fsm.ConsentEntry{Requester: e.Requester, Room: e.Room, Consent: consent})
	}
	return s.changeConsents(c, entries)
}

// putConsent is PUT /v1/users/{user}/consents/{requester}, for any room or that of the query.
func (s *LocalServer) putConsent(c echo.Context) error {
	entry, err := consentScope(c)
	if err != nil {
		return err
	}
	var r consentDecision
	if err := readJSON(c, s.bodyBytesMax, &r); err != nil {
		return err
	}
	consent, known := consentNames[r.Consent]
	if !known || consent == fsm.ConsentForgotten {
		return &mls.MalformedError{Field: "consent", Reason: "it is neither granted nor revoked"}
	}
	entry.Consent = consent
	return s.changeConsents(c, []fsm.ConsentEntry{entry})
}

// deleteConsent is DELETE /v1/users/{user}/consents/{requester}: the entry is as if it had never been.
func (s *LocalServer) deleteConsent(c echo.Context) error {
	entry, err := consentScope(c)
	if err != nil {
		return err
	}
	return s.changeConsents(c, []fsm.ConsentEntry{entry})
}

func (s *LocalServer) changeConsents(c echo.Context, entries []fsm.ConsentEntry) error {
	user, err := s.localUser(c)
	if err != nil {
		return err
	}
	request, err := judge.NewSetConsents(user, entries)
	if err != nil {
		return err
	}
	return s.changed(c, request, "entries")
}

// putConsentPolicy is PUT /v1/users/{user}/consents: who may claim without an entry.
func (s *LocalServer) putConsentPolicy(c echo.Context) error {
	user, err := s.localUser(c)
	if err != nil {
		return err
	}
	var r consentPolicy
	if err := readJSON(c, s.bodyBytesMax, &r); err != nil {
		return err
	}
	policy, err := fsm.ParseConsentPolicy(r.Policy)
	if err != nil {
		return err
	}
	request, err := judge.NewSetConsentPolicy(user, policy)
	if err != nil {
		return err
	}
	return s.changed(c, request, "policy")
}

// changed answers a change that has no more to tell than that it was made.
func (s *LocalServer) changed(c echo.Context, request judge.Request, field string) error {
	outcome, err := s.desk.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.Done:
		return c.NoContent(http.StatusNoContent)
	case fsm.NotAllowed:
		return newProblem(http.StatusConflict, problemConflict, field, o.Reason)
	default:
		return unexpected("a change of a user", outcome)
	}
}
