package httpapi

import (
	"errors"
	"fmt"

	"parley/mimi"
)

// Target is an endpoint of another provider together with the value of its path's variable.
type Target struct {
	endpoint mimi.Endpoint
	value    interface{ String() string }
}

// NotifyTarget is where a hub delivers the events of a room (mimi-protocol-06 §5.5).
func NotifyTarget(room mimi.RoomURI) Target { return Target{mimi.EndpointNotify, room} }

// BulkNotifyTarget is where a hub delivers the events of many rooms at once, if the provider offers that (docs/extensions.md).
func BulkNotifyTarget() Target { return Target{mimi.EndpointBulkNotify, noVariable{}} }

// KeyMaterialTarget is where KeyPackages of a user are claimed (mimi-protocol-06 §5.2).
func KeyMaterialTarget(user mimi.UserURI) Target { return Target{mimi.EndpointKeyMaterial, user} }

// BulkKeyMaterialTarget is where KeyPackages of many users are claimed at once, if the provider offers that (docs/extensions.md).
func BulkKeyMaterialTarget() Target { return Target{mimi.EndpointBulkKeyMaterial, noVariable{}} }

// UpdateTarget is where Commits and Proposals of a room are handed in (mimi-protocol-06 §5.3).
func UpdateTarget(room mimi.RoomURI) Target { return Target{mimi.EndpointUpdate, room} }

// SubmitMessageTarget is where application messages of a room are handed in (mimi-protocol-06 §5.4).
func SubmitMessageTarget(room mimi.RoomURI) Target { return Target{mimi.EndpointSubmitMessage, room} }

// BulkSubmitTarget is where messages and Proposals of many rooms are handed in, if the provider offers that (docs/extensions.md).
func BulkSubmitTarget() Target { return Target{mimi.EndpointBulkSubmit, noVariable{}} }

// SubmissionsTarget is where the provider tells what became of submissions, likewise.
func SubmissionsTarget() Target { return Target{mimi.EndpointSubmissions, noVariable{}} }

// GroupInfoTarget is where the GroupInfo of a room is asked for (mimi-protocol-06 §5.6).
func GroupInfoTarget(room mimi.RoomURI) Target { return Target{mimi.EndpointGroupInfo, room} }

// String names the endpoint for logs and metrics.
func (t Target) String() string { return string(t.endpoint) }

// expand fills in the peer's template.
func (t Target) expand(directory mimi.Directory) (string, error) {
	expanded, listed := directory.URL(t.endpoint, t.value)
	if !listed {
		return "", fmt.Errorf("%s: %w", t.endpoint, errNotOffered)
	}
	return expanded, nil
}

// errNotOffered: the provider's directory does not list the endpoint, so that nothing of the request was sent.
var errNotOffered = errors.New("the directory lists no such endpoint")

// noVariable stands where a template has none.
type noVariable struct{}

func (noVariable) String() string { return "" }
