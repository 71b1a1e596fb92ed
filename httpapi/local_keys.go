package httpapi

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// uploadRequest is the body of POST /v1/users/{user}/clients/{client}/keyPackages.
type uploadRequest struct {
	KeyPackages [][]byte `json:"keyPackages"` // bare or as MLSMessage, in the order in which they are to be given out
}

// uploadResult says what became of them.
type uploadResult struct {
	Stored  uint32   `json:"stored"`
	Known   uint32   `json:"known"`   // uploaded by the client before, claimed since or not
	Refused [][]byte `json:"refused"` // references of those of another client, over the limit, or with a lifetime that is not taken
	Left    uint32   `json:"left"`    // single-use KeyPackages of the client now in store
}

// uploadKeyPackages is POST /v1/users/{user}/clients/{client}/keyPackages.
func (s *LocalServer) uploadKeyPackages(c echo.Context) error {
	user, client, err := s.localClient(c)
	if err != nil {
		return err
	}
	var r uploadRequest
	if err := readJSON(c, s.bodyBytesMax, &r); err != nil {
		return err
	}
	if len(r.KeyPackages) == 0 {
		return missing("keyPackages")
	}
	request, err := judge.NewUpload(user, client, r.KeyPackages)
	if err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.Uploaded:
		result := uploadResult{Stored: o.Stored, Known: o.Known, Refused: [][]byte{}, Left: o.Left}
		for _, ref := range o.Refused {
			result.Refused = append(result.Refused, []byte(ref))
		}
		return c.JSON(http.StatusOK, result)
	case fsm.NotAllowed:
		return newProblem(http.StatusConflict, problemConflict, "keyPackages", o.Reason)
	default:
		return unexpected("an upload", outcome)
	}
}

// localClient reads the user and the client of a path, who are local.
func (s *LocalServer) localClient(c echo.Context) (user mimi.UserURI, client mimi.ClientURI, err error) {
	if user, err = mimi.UserURIFromPath(c.Param("user")); err != nil {
		return user, client, err
	}
	if client, err = mimi.ClientURIFromPath(c.Param("client")); err != nil {
		return user, client, err
	}
	if err = s.checkLocalUser("user", user.Provider()); err != nil {
		return user, client, err
	}
	return user, client, s.checkLocalUser("client", client.Provider())
}

// hubKey is an external-sender key for the creators of rooms, who must put it into external_senders.
type hubKey struct {
	SignatureScheme string            `json:"signatureScheme"`
	CipherSuites    []mls.CipherSuite `json:"cipherSuites"`
	PublicKey       []byte            `json:"publicKey"`
	ExternalSender  []byte            `json:"externalSender"` // the encoded ExternalSender
}

type hubKeyList struct {
	Keys []hubKey `json:"keys"`
	// Suites are what else a room of a suite may list of the hub.
	Suites []hubSuite `json:"suites"`
}

// hubSuite is what the hub has for rooms of a cipher suite, beside its external-sender key.
type hubSuite struct {
	CipherSuite      mls.CipherSuite `json:"cipherSuite"`
	FrankingAgent    []byte          `json:"frankingAgent"`    // the encoded FrankingAgentData, for the component 0x0021
	ExternalReceiver []byte          `json:"externalReceiver"` // the encoded ExternalReceiver, for external_receivers
}

// schemeNames are the names of the schemes in JSON.
var schemeNames = map[mls.SignatureScheme]string{
	mls.Ed25519: "Ed25519", mls.Ed448: "Ed448",
	mls.ECDSAWithP256: "ECDSA-P256-SHA256", mls.ECDSAWithP384: "ECDSA-P384-SHA384", mls.ECDSAWithP521: "ECDSA-P521-SHA512",
}

// SchemeName is what a signature scheme is called in JSON; empty where it has no name.
func SchemeName(scheme mls.SignatureScheme) string { return schemeNames[scheme] }

// SchemeNamed finds a signature scheme by its name in JSON.
func SchemeNamed(name string) (mls.SignatureScheme, bool) {
	for scheme := mls.Ed25519; scheme <= mls.ECDSAWithP521; scheme++ {
		if schemeNames[scheme] == name {
			return scheme, true
		}
	}
	return 0, false
}

// hubKeys is GET /v1/hub-keys.
func (s *LocalServer) hubKeys(c echo.Context) error {
	list := hubKeyList{Keys: []hubKey{}}
	suites := suitesByScheme()
	for scheme := mls.Ed25519; scheme <= mls.ECDSAWithP521; scheme++ {
		key, sender, found := s.desk.keys.HubSigner(scheme)
		if !found {
			continue
		}
		name, known := schemeNames[scheme]
		if !known {
			return fmt.Errorf("signature scheme %d has no name", scheme)
		}
		list.Keys = append(list.Keys, hubKey{
			SignatureScheme: name, CipherSuites: suites[scheme], PublicKey: key.Public(), ExternalSender: sender.Marshal(),
		})
	}
	list.Suites = s.hubSuites()
	return c.JSON(http.StatusOK, list)
}

// hubSuites are those for which the hub has both keys.
func (s *LocalServer) hubSuites() []hubSuite {
	list := []hubSuite{}
	for id := mls.CipherSuite(1); id <= 7; id++ {
		agent, franks := s.desk.keys.FrankingAgent(id)
		public, credential, receives := s.desk.keys.ExternalReceiver(id)
		if franks && receives {
			receiver := mimi.ExternalReceiver{Key: public, Credential: credential}
			list = append(list, hubSuite{CipherSuite: id, FrankingAgent: agent.Marshal(), ExternalReceiver: receiver.Marshal()})
		}
	}
	return list
}

// suitesByScheme finds the suites that each scheme signs for among those that the hub can verify (RFC 9420 §17.1: 1 to 7).
func suitesByScheme() map[mls.SignatureScheme][]mls.CipherSuite {
	suites := map[mls.SignatureScheme][]mls.CipherSuite{}
	for id := mls.CipherSuite(1); id <= 7; id++ {
		if suite, err := id.Suite(); err == nil {
			suites[suite.Scheme] = append(suites[suite.Scheme], id)
		}
	}
	return suites
}
