package judge

import (
	"crypto/sha256"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// CreateRoom opens a room of the local provider at any epoch of its group.
type CreateRoom struct {
	asDecided
	room      mimi.RoomURI
	creator   mimi.UserURI
	groupInfo []byte
	tree      []byte
	info      mls.GroupInfo
	group     *mls.PublicGroup
	members   uint64 // the number under which the participants are reserved; 0 without

	generation fsm.Generation // for which it is made; 0 for the first
}

// NewCreateRoom reads a GroupInfo, bare or as an MLSMessage, and the tree beside it (optional<Node> ratchet_tree<V>), and checks
// that they belong together: tree hash, signature, external_pub, no embedded ratchet_tree.
func NewCreateRoom(room mimi.RoomURI, creator mimi.UserURI, groupInfo, ratchetTree []byte) (*CreateRoom, error) {
	info, err := parseGroupInfo(groupInfo)
	if err != nil {
		return nil, err
	}
	tree, err := mls.ParseRatchetTree(ratchetTree)
	if err != nil {
		return nil, err
	}
	group, err := mls.NewPublicGroup(info, tree)
	if err == nil {
		err = group.CheckGroupInfo(info)
	}
	if err != nil {
		return nil, &mls.MalformedError{Field: "groupInfo", Reason: err.Error()}
	}
	return &CreateRoom{
		room: room, creator: creator, groupInfo: slices.Clone(groupInfo), tree: slices.Clone(ratchetTree), info: info, group: group,
	}, nil
}

func parseGroupInfo(raw []byte) (mls.GroupInfo, error) {
	if message, err := mls.ParseMLSMessage(raw); err == nil {
		info, ok := message.Body.(*mls.GroupInfo)
		if !ok {
			return mls.GroupInfo{}, &mls.MalformedError{Field: "groupInfo", Reason: "the MLSMessage is not a GroupInfo"}
		}
		return *info, nil
	}
	return mls.ParseGroupInfo(raw)
}

// Reservation is the request that goes before it, so that no other room of the hub has the group.
func (c *CreateRoom) Reservation() (*ReserveGroup, error) {
	return NewReserveGroup(c.group.GroupID(), c.room)
}

func (c *CreateRoom) Slot() fsm.SlotID { return fsm.SlotOfRoom(c.room) }

func (c *CreateRoom) kind() requestKind {
	switch {
	case c.generation != 0:
		return kindCreateRoomAnew
	case c.members != 0:
		return kindCreateFixedRoom
	default:
		return kindCreateRoom
	}
}

func (c *CreateRoom) appendArguments(w *mls.Writer) {
	c.appendRequest(w)
	if c.members != 0 || c.generation != 0 {
		w.Uint64(c.members)
	}
	if c.generation != 0 {
		w.Uint64(uint64(c.generation))
	}
}

func (c *CreateRoom) appendRequest(w *mls.Writer) {
	appendURIs(w, c.room, c.creator)
	w.Opaque(c.groupInfo)
	w.Opaque(c.tree)
}

func readCreateRoom(r *mls.Reader) (*CreateRoom, error) {
	return NewCreateRoom(readURI(r, "room", mimi.ParseRoomURI), readURI(r, "creator", mimi.ParseUserURI), r.Opaque("groupInfo"), r.Opaque("ratchetTree"))
}

// Judge checks what a room needs beside a valid group: this hub among the external senders, its creator in the participant
// list, and a participant behind every leaf.
func (c *CreateRoom) Judge(replica fsm.Reader) (Verdict, error) { return concluded(c.judge(replica)) }

func (c *CreateRoom) judge(replica fsm.Reader) (Verdict, error) {
	settings, _, err := fsm.ReadSettings(replica)
	if err != nil {
		return nil, err
	}
	context := c.group.Context()
	participants, err := participantsOf(context)
	if err != nil {
		return nil, err
	}
	if err := c.checkOwnership(settings, participants); err != nil {
		return nil, err
	}
	if err := checkHubListed(context.Extensions, settings); err != nil {
		return nil, err
	}
	if err := checkHubRole(replica, context, settings); err != nil {
		return nil, err
	}
	clients, err := c.clients(replica, settings, participants)
	if err != nil {
		return nil, err
	}
	rules, err := c.checkPolicy(replica, clients)
	if err != nil {
		return nil, err
	}
	command := fsm.CreateRoom{
		Room: c.room, Creator: c.creator, GroupID: context.GroupID, Suite: context.Suite, Clients: clients, RequestHash: c.hash(),
		Facts: factsOf(c.group, c.info, wholeTree(c.group.Tree()), participants, settings),
		Rules: rules, Generation: c.generation,
	}
	if command.Members, err = c.reserved(replica); err != nil {
		return nil, err
	}
	if command.Parent, err = c.dependsOn(replica, settings); err != nil {
		return nil, err
	}
	before, err := c.successorOf(replica)
	if err != nil {
		return nil, err
	}
	if before != nil {
		return Propose{fsm.ContinueRoom{Ended: before.GroupID, Create: command}}, nil
	}
	return Propose{command}, nil
}

func (c *CreateRoom) checkOwnership(settings fsm.Settings, participants []fsm.Participant) error {
	switch {
	case !slices.Contains(settings.Domains, c.room.Provider()):
		return deny("the room's URI is not of this provider")
	case !slices.Contains(settings.Domains, c.creator.Provider()):
		return deny("the creator is not a user of this provider")
	case !slices.ContainsFunc(participants, func(p fsm.Participant) bool { return p.User == c.creator }):
		return deny("the creator is not in the participant_list")
	}
	return nil
}

// clients maps every leaf to a participant. While the creator is alone in the room, a client of its provider that no claim has
// mapped is taken for the creator's: the local provider vouches for its own. It cannot do so for another provider's user, of whom
// the room must have claimed the client.
func (c *CreateRoom) clients(replica fsm.Reader, settings fsm.Settings, participants []fsm.Participant) ([]fsm.ClientOfUser, error) {
	var clients []fsm.ClientOfUser
	for _, leaf := range c.group.Members() {
		user, known, err := userOf(replica, c.room, leaf.Credential)
		if err != nil {
			return nil, err
		}
		client := clientOf(leaf.Credential)
		if !known && len(participants) == 1 && client.Provider() == c.creator.Provider() {
			user, known = c.creator, true
			clients = append(clients, fsm.ClientOfUser{Client: client, User: user})
		}
		switch {
		case !known || !slices.ContainsFunc(participants, func(p fsm.Participant) bool { return p.User == user }):
			return nil, deny("the member %q belongs to no participant", nameOf(leaf.Credential))
		case client.IsZero() && !slices.Contains(settings.Domains, user.Provider()):
			return nil, deny("the member %q is of another provider, and no claim knows it", nameOf(leaf.Credential))
		}
	}
	return clients, nil
}

// hash is of what was asked for: a retry may come with another number.
func (c *CreateRoom) hash() [32]byte {
	var w mls.Writer
	c.appendRequest(&w)
	return sha256.Sum256(w.Bytes())
}

func wholeTree(tree *mls.RatchetTree) []fsm.TreeChange {
	changed := make(map[mls.NodeIndex][]byte)
	for i, node := range tree.Nodes() {
		if node != nil {
			changed[mls.NodeIndex(i)] = node
		}
	}
	return treeChanges(changed)
}
