package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// departure answers DELETE /v1/users/{user} and DELETE /v1/users/{user}/clients/{client}; a repetition gets the same.
type departure struct {
	User           mimi.UserURI    `json:"user"`
	Client         *mimi.ClientURI `json:"client,omitempty"`
	DepartedMillis uint64          `json:"departedMillis"` // hub time of the first such request
}

// deleteUser is DELETE /v1/users/{user}: the user is gone for good. Its KeyPackages go, claims are told so, and in every room of this
// provider the hub proposes to remove it.
func (s *LocalServer) deleteUser(c echo.Context) error {
	user, err := mimi.UserURIFromPath(c.Param("user"))
	if err != nil {
		return err
	}
	return s.depart(c, user, mimi.ClientURI{})
}

// removeClient is DELETE /v1/users/{user}/clients/{client}: a client is lost for good, and the same for it alone.
func (s *LocalServer) removeClient(c echo.Context) error {
	user, err := mimi.UserURIFromPath(c.Param("user"))
	if err != nil {
		return err
	}
	client, err := mimi.ClientURIFromPath(c.Param("client"))
	if err != nil {
		return err
	}
	if err := s.checkLocalUser("client", client.Provider()); err != nil {
		return err
	}
	return s.depart(c, user, client)
}

func (s *LocalServer) depart(c echo.Context, user mimi.UserURI, client mimi.ClientURI) error {
	if err := s.checkLocalUser("user", user.Provider()); err != nil {
		return err
	}
	request, err := judge.NewDepart(user.Provider(), user, client)
	if err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.Accepted:
		answer := departure{User: user, DepartedMillis: o.Millis}
		if !client.IsZero() {
			answer.Client = &client
		}
		return c.JSON(http.StatusOK, answer)
	case fsm.NotAllowed:
		return newProblem(http.StatusConflict, problemConflict, "", o.Reason)
	case fsm.FormatNotReached:
		return olderFormat()
	default:
		return unexpected("a departure", outcome)
	}
}

// olderFormat: not every node of the cluster runs a program that knows the request.
func olderFormat() *Problem {
	return newProblem(http.StatusConflict, problemConflict, "",
		"The cluster has to be raised to the format of this version first: every node has to run it.")
}
