package httpapi

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// Joining codes are made here, at random, and shown once. What goes on to the cluster is a hash of the code and, where it needs a
// passphrase, a key that was derived from that: neither the state nor its backups admit anybody to a room.

const (
	joiningCodeBytes = 18 // 144 bits, 24 characters
	codeUsesMax      = 1_000_000
	codeSecondsMax   = 366 * 24 * 60 * 60
	passphraseMin    = 4
	passphraseMax    = 256
)

// createCodeRequest is the body of POST /v1/rooms/{room}/joiningCodes.
type createCodeRequest struct {
	Creator         mimi.UserURI `json:"creator"`         // in whose name; a participant with canCreateJoinCode
	Role            uint32       `json:"role"`            // that whoever joins by the code gets
	Uses            uint32       `json:"uses"`            // how many users may join by it; 0 or absent: any number
	LifetimeSeconds uint64       `json:"lifetimeSeconds"` // 0 or absent: until it is revoked
	Passphrase      string       `json:"passphrase"`      // that a joiner has to know besides; empty or absent: none
}

// joiningCode is a code as the local API tells of it.
type joiningCode struct {
	ID            string       `json:"id"`             // names it, and admits nobody
	Code          string       `json:"code,omitempty"` // in the answer to its creation only
	Creator       mimi.UserURI `json:"creator"`
	Role          uint32       `json:"role"`
	Uses          uint32       `json:"uses"`
	Used          uint32       `json:"used"`
	CreatedMillis uint64       `json:"createdMillis"`
	ExpiresMillis uint64       `json:"expiresMillis"` // 0: when the room ends
	Passphrase    bool         `json:"passphrase"`
	State         string       `json:"state"` // open, usedUp or revoked
}

type joiningCodeList struct {
	Codes []joiningCode `json:"codes"`
}

// createJoiningCode is POST /v1/rooms/{room}/joiningCodes. A retry makes another code: that of an answer which got lost is in the
// list, and can be revoked.
func (s *LocalServer) createJoiningCode(c echo.Context) error {
	room, err := s.hostedRoom(c)
	if err != nil {
		return err
	}
	var r createCodeRequest
	if err := readJSON(c, s.bodyBytesMax, &r); err != nil {
		return err
	}
	if err := s.checkCodeRequest(r); err != nil {
		return err
	}
	random := make([]byte, joiningCodeBytes)
	if _, err := rand.Read(random); err != nil {
		return fmt.Errorf("make a joining code: %w", err)
	}
	code := base64.RawURLEncoding.EncodeToString(random)
	terms := judge.CodeTerms{Role: r.Role, Uses: r.Uses, LifetimeMillis: r.LifetimeSeconds * 1000}
	if r.Passphrase != "" {
		salt := make([]byte, 16)
		if _, err := rand.Read(salt); err != nil {
			return fmt.Errorf("make a salt: %w", err)
		}
		if terms.Lock, err = judge.LockPassphrase([]byte(r.Passphrase), salt); err != nil {
			return err
		}
	}
	request, err := judge.NewCreateJoiningCode(room, r.Creator, fsm.CodeIDOf([]byte(code)), terms)
	if err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.JoiningCodeMade:
		made := describeCode(o.Code)
		made.Code = code
		return c.JSON(http.StatusCreated, made)
	default:
		return codeProblem("a new joining code", outcome)
	}
}

// checkCodeRequest refuses what a code cannot be.
func (s *LocalServer) checkCodeRequest(r createCodeRequest) error {
	switch n := len(r.Passphrase); {
	case r.Creator.IsZero():
		return missing("creator")
	case r.Role == mimi.RoleNone:
		return &mls.MalformedError{Field: "role", Reason: "role 0 is that of who is not in the room"}
	case r.Uses > codeUsesMax:
		return &mls.MalformedError{Field: "uses", Reason: fmt.Sprintf("more than %d", codeUsesMax)}
	case r.LifetimeSeconds > codeSecondsMax:
		return &mls.MalformedError{Field: "lifetimeSeconds", Reason: fmt.Sprintf("more than %d", codeSecondsMax)}
	case n > 0 && n < passphraseMin || n > passphraseMax:
		return &mls.MalformedError{Field: "passphrase", Reason: fmt.Sprintf("it has %d to %d octets", passphraseMin, passphraseMax)}
	}
	return s.checkLocalUser("creator", r.Creator.Provider())
}

// listJoiningCodes is GET /v1/rooms/{room}/joiningCodes.
func (s *LocalServer) listJoiningCodes(c echo.Context) error {
	room, err := s.hostedRoom(c)
	if err != nil {
		return err
	}
	request, err := judge.NewListJoiningCodes(room)
	if err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.JoiningCodes:
		list := joiningCodeList{Codes: []joiningCode{}}
		for _, code := range o.Codes {
			list.Codes = append(list.Codes, describeCode(code))
		}
		return c.JSON(http.StatusOK, list)
	default:
		return codeProblem("a list of joining codes", outcome)
	}
}

// revokeJoiningCode is DELETE /v1/rooms/{room}/joiningCodes/{code}?by={user}. A code that is not there any more is revoked already, so
// that a retry is told so.
func (s *LocalServer) revokeJoiningCode(c echo.Context) error {
	room, err := s.hostedRoom(c)
	if err != nil {
		return err
	}
	id, ok := fsm.ParseCodeID(c.Param("code"))
	if !ok {
		return &mls.MalformedError{Field: "code", Reason: "it is not the id of a joining code: 32 hexadecimal digits"}
	}
	by, err := mimi.ParseUserURI(c.QueryParam("by"))
	if err != nil {
		return &mls.MalformedError{Field: "by", Reason: "it is the URI of the user who revokes the code"}
	}
	if err := s.checkLocalUser("by", by.Provider()); err != nil {
		return err
	}
	request, err := judge.NewRevokeJoiningCode(room, by, id)
	if err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	if _, done := outcome.(fsm.Done); done {
		return c.NoContent(http.StatusNoContent)
	}
	return codeProblem("a revoked joining code", outcome)
}

// codeProblem is what else a request about codes may come to.
func codeProblem(request string, outcome fsm.Outcome) error {
	switch o := outcome.(type) {
	case fsm.NotAllowed:
		return newProblem(http.StatusConflict, problemConflict, "", o.Reason)
	case fsm.StaleRoom:
		return staleProblem(o)
	case fsm.RoomEnded:
		return gone(o)
	case fsm.NoSuchRoom:
		return newProblem(http.StatusNotFound, problemNotFound, "room", "There is no such room.")
	default:
		return unexpected(request, outcome)
	}
}

var codeStates = map[fsm.CodeState]string{fsm.CodeOpen: "open", fsm.CodeUsedUp: "usedUp", fsm.CodeRevoked: "revoked"}

func describeCode(code fsm.JoiningCode) joiningCode {
	return joiningCode{
		ID: code.ID.String(), Creator: code.Creator, Role: code.Role, Uses: code.Uses, Used: code.Used,
		CreatedMillis: code.CreatedMillis, ExpiresMillis: code.ExpiresMillis, Passphrase: len(code.Lock.Salt) > 0, State: codeStates[code.State],
	}
}
