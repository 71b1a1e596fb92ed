package judge

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// GroupInfo asks for what an external join needs (mimi-protocol-06 §5.6).
type GroupInfo struct {
	from    mimi.Provider
	room    mimi.RoomURI
	request mimi.GroupInfoRequest
	body    []byte
}

// NewGroupInfo reads a GroupInfoRequest from a provider.
func NewGroupInfo(from mimi.Provider, room mimi.RoomURI, body []byte) (*GroupInfo, error) {
	body = slices.Clone(body)
	request, err := mimi.ParseGroupInfoRequest(body)
	if err != nil {
		return nil, err
	}
	if _, err := request.Suite.Suite(); err != nil {
		return nil, &mls.MalformedError{Field: "GroupInfoRequest.cipher_suite", Reason: err.Error()}
	}
	return &GroupInfo{from: from, room: room, request: request, body: body}, nil
}

// Request is what was parsed; the answer is encrypted to its key.
func (g *GroupInfo) Request() mimi.GroupInfoRequest { return g.request }

func (g *GroupInfo) Slot() fsm.SlotID { return fsm.SlotOfRoom(g.room) }
func (*GroupInfo) kind() requestKind  { return kindGroupInfo }

// Judge verifies the request and finds out for whom it is and by which right that user asks. Apply lends on that right.
func (g *GroupInfo) Judge(replica fsm.Reader) (Verdict, error) {
	command, err := g.command(replica)
	return concluded(Propose{command}, err)
}

func (g *GroupInfo) command(replica fsm.Reader) (fsm.TakeLease, error) {
	user, err := g.requester(replica)
	command := fsm.TakeLease{Room: g.room, Requester: user, Client: g.holder()}
	if err != nil {
		return command, err
	}
	format, err := fsm.ReadFormat(replica)
	if err != nil || format < fsm.FormatExclusive {
		return command, err
	}
	state, err := readState(replica, g.room)
	if err != nil {
		return command, err
	}
	command.LeaseGrounds, err = g.grounds(replica, state, user)
	return command, err
}

func (g *GroupInfo) requester(replica fsm.Reader) (mimi.UserURI, error) {
	none := mimi.UserURI{}
	if _, found, err := fsm.ReadRoom(replica, g.room); err != nil {
		return none, err
	} else if !found {
		return none, &denied{fsm.NoSuchRoom{}}
	}
	if !g.request.VerifySignature() {
		return none, deny("the signature is wrong")
	}
	settings, _, err := fsm.ReadSettings(replica)
	if err != nil {
		return none, err
	}
	user, known, err := userOf(replica, g.room, g.request.Credential)
	switch {
	case err != nil:
		return none, err
	case !known:
		return none, deny("requestingCredential names no user that the room knows")
	case !sameProvider(settings, g.from, user.Provider()):
		return none, deny("requestingCredential belongs to another provider")
	}
	return user, nil
}

// Complete reads what the lease discloses, if it is still the requester's in the state that is read. A Commit ends every lease,
// and its time does: then the GroupInfo there may be another's to use, and the requester is told to ask again. Where the same
// requester holds a newer lease by then, as after a retry, that one is answered with the epoch it is for.
func (g *GroupInfo) Complete(replica fsm.Reader, outcome fsm.Outcome) (fsm.Outcome, error) {
	if _, granted := outcome.(fsm.LeaseGranted); !granted {
		return outcome, nil
	}
	room, err := readState(replica, g.room)
	if err != nil {
		return refusedOr(err)
	}
	user, _, err := userOf(replica, g.room, g.request.Credential)
	if err != nil {
		return nil, err
	}
	if _, err := joinRights(replica, room, user, g.request.Credential); err != nil {
		return refusedOr(err)
	}
	lease, held, err := fsm.ReadLease(replica, g.room)
	if err != nil {
		return nil, err
	}
	if !held || lease.Requester != user || lease.Client != g.holder() {
		return heldBy(replica, lease)
	}
	pending, err := fsm.ReadAllPending(replica, g.room)
	if err != nil {
		return nil, err
	}
	return fsm.Disclosed{
		Lease: lease.LeaseGranted, Suite: room.Suite, GroupInfo: room.GroupInfo, RatchetTree: room.group.Tree().Marshal(),
		Pending: pending, Epoch: room.Epoch,
	}, nil
}

// holder is the client that the lease is for. A credential may name only the user, so that it takes the signature key to tell
// the user's devices apart.
func (g *GroupInfo) holder() string {
	key := sha256.Sum256(g.request.SignatureKey)
	return nameOf(g.request.Credential) + " " + hex.EncodeToString(key[:])
}

// heldBy tells when another's lease ends: now, where there is none.
func heldBy(replica fsm.Reader, lease fsm.Lease) (fsm.Outcome, error) {
	now, err := fsm.ReadClock(replica)
	if err != nil {
		return nil, err
	}
	return fsm.LeaseHeld{UntilMillis: max(lease.UntilMillis, now), NowMillis: now}, nil
}

func (g *GroupInfo) appendArguments(w *mls.Writer) {
	appendURIs(w, g.from, g.room)
	w.Opaque(g.body)
}
