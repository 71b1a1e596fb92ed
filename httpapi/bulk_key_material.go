package httpapi

import (
	"time"

	"github.com/labstack/echo/v4"

	"parley/mimi"
)

// bulkKeyMaterialPath is where many users' KeyPackages are claimed at once, at the peer and at the local listener alike.
const bulkKeyMaterialPath = "/v1/bulkKeyMaterial"

// bulkKeyMaterial is POST /v1/bulkKeyMaterial of the peer listener, an extension (docs/extensions.md). As the provider of some of the
// targets it claims; as the hub of the request's room it passes on what is for other providers.
func (s *PeerServer) bulkKeyMaterial(c echo.Context) error {
	caller, err := s.caller(c)
	if err != nil {
		return err
	}
	bulk, err := readBulk(c, s.bodyBytesMax)
	if err != nil {
		return err
	}
	from, err := claimant(caller, bulk.request.Requester(), bulk.request.ForRoom(), "BulkKeyMaterialRequest.requestingUser")
	if err != nil {
		return err
	}
	a, faults, err := s.desk.claimMany(c.Request().Context(), from, bulk, s.desk.isOurs(bulk.request.ForRoom().Provider()))
	if faults != nil {
		s.log.Error("parts of a bulk claim failed", "error", faults)
	}
	if err != nil {
		return err
	}
	return a.send(c)
}

// bulkKeyMaterial is POST /v1/bulkKeyMaterial, with a BulkKeyMaterialRequest of a local user. It goes through the hub of its room, even
// for local users; one for no room straight to the targets' providers.
func (s *LocalServer) bulkKeyMaterial(c echo.Context) error {
	bulk, err := readBulk(c, s.bodyBytesMax)
	if err != nil {
		return err
	}
	requester := bulk.request.Requester().Provider()
	if err := s.checkLocalUser("BulkKeyMaterialRequest.requestingUser", requester); err != nil {
		return err
	}
	ctx, hub := c.Request().Context(), bulk.request.ForRoom().Provider()
	if !hub.IsZero() && !s.desk.isOurs(hub) {
		return s.desk.claimThrough(ctx, hub, bulk).send(c)
	}
	a, faults, err := s.desk.claimMany(ctx, requester, bulk, true)
	if faults != nil {
		s.log.Error("parts of a bulk claim failed", "error", faults)
	}
	if err != nil {
		return err
	}
	return a.send(c)
}

// bulk is a BulkKeyMaterialRequest as it came.
type bulk struct {
	request        mimi.BulkKeyMaterialRequest
	body           []byte // forwarded byte for byte where it is signed once
	idempotencyKey string
}

func readBulk(c echo.Context, limit int64) (bulk, error) {
	key, err := idempotencyKey(c)
	if err != nil {
		return bulk{}, err
	}
	body, err := readBody(c, limit)
	if err != nil {
		return bulk{}, err
	}
	request, err := mimi.ParseBulkKeyMaterialRequest(body)
	if err != nil {
		return bulk{}, err
	}
	return bulk{request: request, body: body, idempotencyKey: key}, nil
}

// bulkPatience is how long the parts of a bulk claim are waited for. What is not decided by then is answered as such, beside what is. Each
// leaves time for the one that waits for it: a hub for its peers', a requester's provider for the hub's.
type bulkPatience struct {
	decide  time.Duration // the users here: enough for a shard to change its leader
	forward time.Duration // another provider's users
	through time.Duration // the hub of the room
}

var defaultBulkPatience = bulkPatience{decide: 4 * time.Second, forward: 7 * time.Second, through: 12 * time.Second}

// bulkAnswerBytesMax bounds the answer.
const bulkAnswerBytesMax = 4 << 20

// bulkAnswer is the answer to a bulk claim as it comes together: one part for each target, in the request's order. Several goroutines
// may write, each to its own parts.
type bulkAnswer struct {
	index map[mimi.UserURI]int
	parts []mimi.BulkUserMaterial
}

func newBulkAnswer(targets []mimi.UserURI) *bulkAnswer {
	a := &bulkAnswer{index: make(map[mimi.UserURI]int, len(targets)), parts: make([]mimi.BulkUserMaterial, len(targets))}
	for i, target := range targets {
		a.index[target] = i
		a.parts[i].User = target
	}
	return a
}

// put settles the part of one target.
func (a *bulkAnswer) put(target mimi.UserURI, part mimi.BulkUserMaterial) {
	part.User = target
	a.parts[a.index[target]] = part
}

// putAll settles the parts of several targets alike.
func (a *bulkAnswer) putAll(targets []mimi.UserURI, part mimi.BulkUserMaterial) {
	for _, target := range targets {
		a.put(target, part)
	}
}

// within leaves out the KeyPackages that would make the answer longer than it may be.
func (a *bulkAnswer) within(bytesMax int) mimi.BulkKeyMaterialResponse {
	response := mimi.BulkKeyMaterialResponse{Users: make([]mimi.BulkUserMaterial, len(a.parts))}
	left := bytesMax - 16 // what stands around the parts
	for _, part := range a.parts {
		left -= len(mimi.BulkUserMaterial{Status: mimi.BulkAnswerFull, User: part.User}.Marshal())
	}
	for i, part := range a.parts {
		full := mimi.BulkUserMaterial{Status: mimi.BulkAnswerFull, User: part.User}
		more := len(part.Marshal()) - len(full.Marshal())
		if more > left && len(part.Clients) > 0 {
			part, more = full, 0
		}
		left -= more
		response.Users[i] = part
	}
	return response
}

func unavailablePart() mimi.BulkUserMaterial {
	return mimi.BulkUserMaterial{Status: mimi.BulkUnavailable, RetryAfterSeconds: seconds(retrySoon)}
}

func undecidedPart() mimi.BulkUserMaterial {
	return mimi.BulkUserMaterial{Status: mimi.BulkUndecided, RetryAfterSeconds: seconds(retrySoon)}
}

// seconds rounds up, within what the answer can hold.
func seconds(wait time.Duration) uint32 {
	return uint32(min((wait+time.Second-1)/time.Second, 1<<31))
}
