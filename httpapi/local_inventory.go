package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// inventory answers GET /v1/users/{user}/keyPackages.
type inventory struct {
	Clients []clientInventory `json:"clients"` // in order of their first upload
}

// clientInventory is what one client has in store, without what has expired.
type clientInventory struct {
	Client     mimi.ClientURI `json:"client"`
	SingleUse  uint32         `json:"singleUse"`
	LastResort uint32         `json:"lastResort"`
	Reserved   uint32         `json:"reserved"` // claimed, and not named by a Welcome yet
	Suites     []suiteStock   `json:"suites"`
}

type suiteStock struct {
	CipherSuite mls.CipherSuite `json:"cipherSuite"`
	LastResort  bool            `json:"lastResort"`
	Count       uint32          `json:"count"`
	FirstExpiry uint64          `json:"firstExpiry"` // seconds since 1970
	LastExpiry  uint64          `json:"lastExpiry"`
}

// readInventory is GET /v1/users/{user}/keyPackages.
func (s *LocalServer) readInventory(c echo.Context) error {
	user, err := s.localUser(c)
	if err != nil {
		return err
	}
	request, err := judge.NewReadInventory(user)
	if err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.InventoryRead:
		if !o.Known {
			return newProblem(http.StatusNotFound, problemNotFound, "user", "No client of the user has uploaded KeyPackages.")
		}
		return c.JSON(http.StatusOK, presentInventory(o))
	case fsm.NotAllowed:
		return newProblem(http.StatusForbidden, problemNotYours, "user", o.Reason)
	default:
		return unexpected("a look at an inventory", outcome)
	}
}

func presentInventory(o fsm.InventoryRead) inventory {
	shown := inventory{Clients: []clientInventory{}}
	for _, c := range o.Clients {
		of := clientInventory{Client: c.Client, Reserved: c.Reserved, Suites: []suiteStock{}}
		for _, s := range c.Stocks {
			if s.LastResort {
				of.LastResort += s.Count
			} else {
				of.SingleUse += s.Count
			}
			of.Suites = append(of.Suites, suiteStock{CipherSuite: s.Suite, LastResort: s.LastResort, Count: s.Count, FirstExpiry: s.Earliest, LastExpiry: s.Latest})
		}
		shown.Clients = append(shown.Clients, of)
	}
	return shown
}

// deletionRequest is the body of POST /v1/users/{user}/clients/{client}/keyPackages/delete.
type deletionRequest struct {
	References [][]byte `json:"references"` // KeyPackageRefs (RFC 9420 §5.2)
}

// deletionResult says what became of a deletion.
type deletionResult struct {
	Deleted uint32   `json:"deleted"`
	Claimed [][]byte `json:"claimed"` // references of those that somebody has been given: a Welcome may name them yet
	Left    uint32   `json:"left"`    // single-use KeyPackages of the client now in store
}

// deleteSomeKeyPackages is POST /v1/users/{user}/clients/{client}/keyPackages/delete.
func (s *LocalServer) deleteSomeKeyPackages(c echo.Context) error {
	var r deletionRequest
	if err := readJSON(c, s.bodyBytesMax, &r); err != nil {
		return err
	}
	if len(r.References) == 0 {
		return missing("references")
	}
	refs := make([]mls.KeyPackageRef, len(r.References))
	for i, ref := range r.References {
		refs[i] = mls.KeyPackageRef(ref)
	}
	return s.deleteKeyPackages(c, refs)
}

// deleteAllKeyPackages is DELETE /v1/users/{user}/clients/{client}/keyPackages.
func (s *LocalServer) deleteAllKeyPackages(c echo.Context) error { return s.deleteKeyPackages(c, nil) }

func (s *LocalServer) deleteKeyPackages(c echo.Context, refs []mls.KeyPackageRef) error {
	user, client, err := s.localClient(c)
	if err != nil {
		return err
	}
	request, err := judge.NewDeleteKeyPackages(user, client, refs)
	if err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.KeyPackagesDeleted:
		result := deletionResult{Deleted: o.Deleted, Claimed: [][]byte{}, Left: o.Left}
		for _, ref := range o.Claimed {
			result.Claimed = append(result.Claimed, []byte(ref))
		}
		return c.JSON(http.StatusOK, result)
	case fsm.NotAllowed:
		return newProblem(http.StatusConflict, problemConflict, "user", o.Reason)
	default:
		return unexpected("a deletion of KeyPackages", outcome)
	}
}
