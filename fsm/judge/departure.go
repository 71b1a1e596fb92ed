package judge

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// ErrNoVoice: somebody has to leave a room whose external_senders list no key with which this node could propose that.
var ErrNoVoice = errors.New("no key of the hub that is here stands in the room's external_senders")

// departuresPerBundle bounds the Proposals of one bundle that the hub makes.
const departuresPerBundle = 200

// Depart says that a user is deleted, or that one of its clients is lost. It comes from the user's own provider.
type Depart struct {
	asDecided
	from mimi.Provider
	who  fsm.Departing
}

// NewDepart makes the request; it may be repeated. Without a client it is the whole user. It answers fsm.Accepted.
func NewDepart(from mimi.Provider, user mimi.UserURI, client mimi.ClientURI) (*Depart, error) {
	if !client.IsZero() && client.Provider() != user.Provider() {
		return nil, &mls.MalformedError{Field: "client", Reason: "it belongs to another provider than the user"}
	}
	return &Depart{from: from, who: fsm.Departing{User: user, Client: client}}, nil
}

func (d *Depart) Slot() fsm.SlotID { return fsm.SlotOfUser(d.who.User) }
func (*Depart) kind() requestKind  { return kindDepart }

// Judge refuses a provider that speaks of another's user.
func (d *Depart) Judge(replica fsm.Reader) (Verdict, error) {
	settings, _, err := fsm.ReadSettings(replica)
	if err != nil {
		return nil, err
	}
	if !sameProvider(settings, d.from, d.who.User.Provider()) {
		return Refuse{fsm.NotAllowed{Reason: "the user belongs to another provider"}}, nil
	}
	return Propose{fsm.RecordDeparture(d.who)}, nil
}

func (d *Depart) appendArguments(w *mls.Writer) {
	appendURIs(w, d.from, d.who.User)
	w.Opaque([]byte(d.who.Client.String()))
}

func readDepart(r *mls.Reader) (Request, error) {
	from, user := readURI(r, "from", mimi.ParseProvider), readURI(r, "user", mimi.ParseUserURI)
	return constructed(NewDepart(from, user, readOptionalURI(r, "client", mimi.ParseClientURI)))
}

// Departures says what the hub has to propose in a room that somebody has to leave, and of whom nothing is left. What it says depends on
// the replica alone, so it may be said, and proposed, any number of times: the Proposals of an epoch are known by their references. With
// ErrNoVoice come the commands that need no key.
func Departures(replica fsm.Reader, uri mimi.RoomURI) ([]fsm.Command, error) {
	state, err := readState(replica, uri)
	if d := (*denied)(nil); errors.As(err, &d) {
		return nil, nil // nobody is in the room any more, or in its group
	}
	if err != nil || state.Departing == 0 {
		return nil, err
	}
	due, gone, err := departing(replica, uri, state.group, state.Participants)
	if err != nil {
		return nil, err
	}
	var commands []fsm.Command
	if len(gone) > 0 {
		commands = append(commands, fsm.SettleDepartures{Room: uri, GroupContextHash: state.GroupContextHash, Gone: gone})
	}
	if due, err = notWaiting(replica, uri, due); err != nil || len(due) == 0 {
		return commands, err
	}
	proposals, err := proposeAll(replica, state.group, due)
	if err != nil {
		return commands, err
	}
	for bundle := range slices.Chunk(proposals, departuresPerBundle) {
		commands = append(commands, fsm.Bind(fsm.SubmitProposals{
			Room: uri, GroupID: state.GroupID, Epoch: state.Epoch, Proposals: bundle, BundleHash: bundleHash(bundle),
			Leaves: hubLeaves(bundle, due, state.Participants),
		}, state.version))
		due = due[len(bundle):]
	}
	return commands, nil
}

func bundleHash(bundle []fsm.PendingProposal) [32]byte {
	var w mls.Writer
	for _, p := range bundle {
		w.Opaque(p.Message)
	}
	return sha256.Sum256(w.Bytes())
}

// renewed makes, for the epoch that an external Commit begins, the hub's Proposals for those who have to leave: the ones that waited
// are void with the epoch before (mimi-protocol-06 §5.5). Where this node cannot sign, the room's leader makes them by themselves.
func renewed(replica fsm.Reader, state *roomState, staged *mls.Staged, participants []fsm.Participant) ([]fsm.PendingProposal, []fsm.Leave, error) {
	if !staged.External || state.Departing == 0 {
		return nil, nil, nil
	}
	due, _, err := departing(replica, state.URI, staged.After, participants)
	if err != nil || len(due) == 0 {
		return nil, nil, err
	}
	proposals, err := proposeAll(replica, staged.After, due)
	if errors.Is(err, ErrNoVoice) {
		return nil, nil, nil
	}
	proposals = proposals[:min(len(proposals), departuresPerBundle)]
	return proposals, hubLeaves(proposals, due, participants), err
}

// hubLeaves is who leaves by Proposals of the hub, each made of what is due in the same place.
func hubLeaves(proposals []fsm.PendingProposal, due []mls.Proposal, participants []fsm.Participant) (leaves []fsm.Leave) {
	for i, made := range proposals {
		switch p := due[i].(type) {
		case mls.Remove:
			leaves = append(leaves, fsm.Leave{Ref: made.Ref, Client: true, Leaf: p.Removed, Due: true})
		case mls.AppDataUpdate:
			for _, place := range removedPlaces(p) {
				leaves = append(leaves, fsm.Leave{Ref: made.Ref, User: participants[place].User, Due: true})
			}
		}
	}
	return leaves
}

func proposeAll(replica fsm.Reader, group *mls.PublicGroup, due []mls.Proposal) ([]fsm.PendingProposal, error) {
	voice, can, err := voiceIn(replica, group)
	if err != nil {
		return nil, err
	}
	if !can {
		return nil, ErrNoVoice
	}
	made := make([]fsm.PendingProposal, len(due))
	for i, p := range due {
		if made[i], err = voice.propose(p); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// departing looks for what is left of those who have to leave: due are a Remove for each leaf, and for each user in the list an update
// that takes it out; gone is of whom nothing is left.
func departing(replica fsm.Reader, room mimi.RoomURI, group *mls.PublicGroup, participants []fsm.Participant) (due []mls.Proposal, gone []fsm.Departing, err error) {
	departures, err := fsm.ReadDepartures(replica, room)
	if err != nil {
		return nil, nil, err
	}
	left := make(map[fsm.Departing]bool, len(departures)) // whether something is
	for _, d := range departures {
		left[d.Who] = false
	}
	for leaf, node := range group.Members() {
		who, leaves, err := departingLeaf(replica, room, node.Credential, left)
		if err != nil {
			return nil, nil, err
		}
		if leaves {
			left[who] = true
			due = append(due, mls.Remove{Removed: leaf})
		}
	}
	for i, p := range participants {
		who := fsm.Departing{User: p.User}
		if _, leaves := left[who]; leaves {
			left[who] = true
			due = append(due, mls.AppDataUpdate{
				Component: mimi.ComponentParticipantList,
				Operation: mls.ComponentUpdate{Update: mimi.ParticipantListUpdate{Removed: []uint32{uint32(i)}}.Marshal()},
			})
		}
	}
	for _, d := range departures {
		if !left[d.Who] {
			gone = append(gone, d.Who)
		}
	}
	return due, gone, nil
}

// departingLeaf tells to whom of those who have to leave a leaf belongs. A credential that names the user alone is of any of its
// clients, and goes only with the user.
func departingLeaf(replica fsm.Reader, room mimi.RoomURI, credential mls.Credential, left map[fsm.Departing]bool) (fsm.Departing, bool, error) {
	user, known, err := userOf(replica, room, credential)
	if err != nil || !known {
		return fsm.Departing{}, false, err
	}
	all := fsm.Departing{User: user}
	if _, leaves := left[all]; leaves {
		return all, true, nil
	}
	one := fsm.Departing{User: user, Client: clientOf(credential)}
	_, leaves := left[one]
	return one, leaves && !one.Client.IsZero(), nil
}

// notWaiting leaves out what a Proposal asks for already that waits for a Commit, whoever made it: two of the same would make a Commit
// of both invalid (RFC 9420 §12.2).
func notWaiting(replica fsm.Reader, room mimi.RoomURI, due []mls.Proposal) (fresh []mls.Proposal, err error) {
	pending, err := fsm.ReadAllPending(replica, room)
	if err != nil {
		return nil, err
	}
	leaves, places := make(map[mls.LeafIndex]bool), make(map[uint32]bool)
	for _, p := range pending {
		m, err := mls.ParseMLSMessage(p.Message)
		if err != nil {
			return nil, fmt.Errorf("stored Proposal: %v", err)
		}
		content := publicOf(m).Content
		switch p := content.Body.(type) {
		case mls.SelfRemove:
			leaves[content.Sender.(mls.MemberSender).Leaf] = true // VerifyProposal let no other sender through
		case mls.Remove:
			leaves[p.Removed] = true
		case mls.AppDataUpdate:
			for _, i := range removedPlaces(p) {
				places[i] = true
			}
		}
	}
	return slices.DeleteFunc(due, func(p mls.Proposal) bool {
		switch p := p.(type) {
		case mls.Remove:
			return leaves[p.Removed]
		case mls.AppDataUpdate:
			return slices.ContainsFunc(removedPlaces(p), func(i uint32) bool { return places[i] })
		default:
			return false
		}
	}), nil
}

// removedPlaces are the places of the participant list that an update clears; none for any other update.
func removedPlaces(p mls.AppDataUpdate) []uint32 {
	update, ok := p.Operation.(mls.ComponentUpdate)
	if !ok || p.Component != mimi.ComponentParticipantList {
		return nil
	}
	list, err := mimi.ParseParticipantListUpdate(update.Update)
	if err != nil {
		return nil
	}
	return list.Removed
}

// checkNotDeparted refuses those whom the room knows to be gone: as a sender, as an added client, as a new participant.
func checkNotDeparted(replica fsm.Reader, state *roomState, user mimi.UserURI, credential mls.Credential) error {
	if state.Departures == 0 {
		return nil
	}
	for _, who := range []fsm.Departing{{User: user}, {User: user, Client: clientOf(credential)}} {
		d, gone, err := fsm.ReadDeparture(replica, state.URI, who)
		switch {
		case err != nil:
			return err
		case gone && d.Cause == fsm.LeftParent:
			return deny("%s is not in the room on which this one depends", user)
		case gone && who.Client.IsZero():
			return deny("%s was deleted", user)
		case gone:
			return deny("the client %s was removed by its provider", who.Client)
		}
	}
	return nil
}

// checkNewcomers refuses a list in which somebody stands anew who was deleted, or is not in the room on which this one depends.
func checkNewcomers(replica fsm.Reader, state *roomState, after []fsm.Participant) error {
	if err := checkInParent(replica, state.URI, state.Participants, after); err != nil || state.Departures == 0 {
		return err
	}
	for _, p := range after {
		if slices.ContainsFunc(state.Participants, func(before fsm.Participant) bool { return before.User == p.User }) {
			continue
		}
		if err := checkNotDeparted(replica, state, p.User, nil); err != nil {
			return err
		}
	}
	return nil
}
