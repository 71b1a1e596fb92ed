package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"parley/fsm/meta"
	"parley/mls"
)

// invite is POST /v1/node/invite. Its answer alone has the token.
func (s *AdminServer) invite(c echo.Context) error {
	var r InviteRequest
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	if r.TTLSeconds < 0 {
		return &mls.MalformedError{Field: "ttlSeconds", Reason: "it is negative"}
	}
	invitation, err := s.admin.Invite(c.Request().Context(), r)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusCreated, invitation)
}

type invitationList struct {
	Invitations []InvitationEntry `json:"invitations"`
}

func (s *AdminServer) listInvitations(c echo.Context) error {
	invitations, err := s.admin.Invitations(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, invitationList{append([]InvitationEntry{}, invitations...)})
}

// revokeInvitation is DELETE /v1/invitations/{id}. It may be repeated.
func (s *AdminServer) revokeInvitation(c echo.Context) error {
	if err := s.admin.RevokeInvitation(c.Request().Context(), c.Param("id")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

type certificateList struct {
	Certificates []CertificateEntry `json:"certificates"`
}

func (s *AdminServer) listCertificates(c echo.Context) error {
	certificates, err := s.admin.Certificates(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, certificateList{append([]CertificateEntry{}, certificates...)})
}

// revokeCertificates is DELETE /v1/nodes/{node}/certificates.
func (s *AdminServer) revokeCertificates(c echo.Context) error {
	if err := s.admin.RevokeCertificates(c.Request().Context(), c.Param("node")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (s *AdminServer) keyring(c echo.Context) error {
	ring, err := s.admin.Keyring(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, ring)
}

// rotateKeyring is POST /v1/keyring/rotate: 202, since the steps go on by themselves.
func (s *AdminServer) rotateKeyring(c echo.Context) error {
	if err := s.admin.RotateKeyring(c.Request().Context(), c.QueryParam("from")); err != nil {
		return err
	}
	return c.NoContent(http.StatusAccepted)
}

func (s *AdminServer) reseal(c echo.Context) error {
	report, err := s.admin.Reseal(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, report)
}

// PurposeExternalSender is the purpose of the keys with which the hub signs Proposals, in JSON. The others are those of meta.KeyPurpose.
const PurposeExternalSender = "external-sender"

type hubKeyEntries struct {
	Keys []HubKeyEntry `json:"keys"`
}

// hubKeys is GET /v1/hub-keys of the admin listener: those that are not used for new rooms any more, too.
func (s *AdminServer) hubKeys(c echo.Context) error {
	keys, err := s.admin.HubKeys(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, hubKeyEntries{append([]HubKeyEntry{}, keys...)})
}

// rotateHubKeys is POST /v1/hub-keys/rotate. A repetition rotates again.
func (s *AdminServer) rotateHubKeys(c echo.Context) error {
	var r HubKeyRotation
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	if r.Purpose != "" && r.Purpose != PurposeExternalSender {
		purpose, known := meta.ParsePurpose(r.Purpose)
		switch {
		case !known:
			return &mls.MalformedError{Field: "purpose", Reason: "it is none of external-sender, franking, frank-mac and external-receiver"}
		case r.SignatureScheme != "":
			return &mls.MalformedError{Field: "signatureScheme", Reason: "the keys for this purpose are replaced all at once"}
		}
		if err := s.admin.RotateServiceKeys(c.Request().Context(), purpose); err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}
	scheme, known := SchemeNamed(r.SignatureScheme)
	if r.SignatureScheme != "" && !known {
		return &mls.MalformedError{Field: "signatureScheme", Reason: "there is no such scheme"}
	}
	if err := s.admin.RotateHubKeys(c.Request().Context(), scheme); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
