package fsm

import (
	"slices"

	"parley/mimi"
	"parley/mls"
)

// ReceiveBodies takes what another hub delivers of one of its rooms into the local inbox, in the order of its room. It takes the place of
// ReceiveFanout from FormatBulk on.
type ReceiveBodies struct {
	Room   mimi.RoomURI // none where the bodies are notices of the hub's users
	Hub    mimi.Provider
	Bodies []HubBody     // in the order in which they came
	Groups []mls.GroupID // of those that the messages name, which FollowGroup has found to be the room's
}

// HubBody is what one decision of a hub made: FanoutMessages and notices.
type HubBody struct {
	Hash     [32]byte // SHA-256 of the notify body; where there are notices, of body and notices
	Messages []HubMessage
	Notices  []mimi.Notice
}

// HubMessage is one FanoutMessage with what its place in the room depends on.
type HubMessage struct {
	Hash  [32]byte // SHA-256 of its MLSMessages and what goes with them, without the timestamp
	Bytes []byte   // FanoutMessage
	HubMessageFacts
}

// HubMessageKind is what a FanoutMessage carries; append only.
type HubMessageKind uint8

const (
	HubApplication HubMessageKind = 1
	HubProposals   HubMessageKind = 2
	HubCommit      HubMessageKind = 3
	HubWelcome     HubMessageKind = 4
)

// HubMessageFacts are read from a FanoutMessage before the log. A Welcome tells neither group nor epoch.
type HubMessageFacts struct {
	Kind     HubMessageKind
	Group    mls.GroupID
	Epoch    mls.Epoch
	Joins    bool                // a Commit by which its sender comes in
	Needs    []mls.ProposalRef   // of a Commit: the Proposals that it names
	Offers   []mls.ProposalRef   // of the Proposals that it carries, under each hash that the group's suite may have
	Next     mls.GroupID         // of the group that a ReInit in it announces; empty without one
	Welcomed []mls.KeyPackageRef // of a Welcome
	Alone    bool                // of a Welcome: of this provider nobody is in its tree but whom it welcomes
}

// FactsOf reads what apply has to know of a FanoutMessage. local are the domains of this provider.
func FactsOf(m mimi.FanoutMessage, local []mimi.Provider) HubMessageFacts {
	switch e := m.Event.(type) {
	case mimi.FanoutApplication:
		return HubMessageFacts{Kind: HubApplication, Group: e.Message.GroupID, Epoch: e.Message.Epoch}
	case mimi.FanoutWelcome:
		return HubMessageFacts{Kind: HubWelcome, Welcomed: e.Welcome.Refs(), Alone: alone(e, local)}
	case mimi.FanoutProposals:
		f := HubMessageFacts{Kind: HubProposals}
		f.frame(e.Proposals[0])
		f.offer(e.Proposals)
		return f
	case mimi.FanoutCommit:
		f := HubMessageFacts{Kind: HubCommit}
		f.frame(e.Commit)
		f.offer(e.ExternalProposals)
		return f
	default:
		return HubMessageFacts{}
	}
}

// alone reports whether a Welcome's tree shows nobody of the local provider but those whom it welcomes. It says no where that cannot be told.
func alone(w mimi.FanoutWelcome, local []mimi.Provider) bool {
	full, ok := w.Tree.(mimi.FullTree)
	if !ok {
		return false
	}
	tree, err := full.ParseTree()
	if err != nil {
		return false
	}
	ours := 0
	for _, leaf := range tree.Leaves() {
		basic, ok := leaf.Credential.(mls.BasicCredential)
		if !ok {
			return false
		}
		who, err := mimi.ParseIdentityURI(basic.Identity)
		if err != nil {
			return false
		}
		if slices.Contains(local, who.Provider()) {
			ours++
		}
	}
	return ours <= len(w.Welcome.Refs())
}

// frame reads group and epoch, and of a Commit what it rests on.
func (f *HubMessageFacts) frame(message mls.MLSMessage) {
	public, ok := message.Body.(*mls.PublicMessage)
	if !ok {
		return
	}
	f.Group, f.Epoch = public.Content.GroupID, public.Content.Epoch
	_, f.Joins = public.Content.Sender.(mls.NewMemberCommit)
	commit, ok := public.Content.Body.(mls.Commit)
	if !ok {
		return
	}
	for _, p := range commit.Proposals {
		switch p := p.(type) {
		case mls.ProposalRef:
			f.Needs = append(f.Needs, p)
		case mls.InlineProposal:
			if end, yes := p.Proposal.(mls.ReInit); yes {
				f.Next = end.GroupID
			}
		}
	}
}

// hashSuites are one suite for each hash that a ProposalRef is made with. Who follows a room does not know its suite.
var hashSuites = []mls.CipherSuite{1, 7, 4}

// offer names Proposals as a Commit would.
func (f *HubMessageFacts) offer(proposals []mls.MLSMessage) {
	for _, p := range proposals {
		public, ok := p.Body.(*mls.PublicMessage)
		if !ok {
			continue
		}
		if end, yes := public.Content.Body.(mls.ReInit); yes && f.Kind == HubProposals {
			f.Next = end.GroupID
		}
		for _, id := range hashSuites {
			if suite, err := id.Suite(); err == nil {
				f.Offers = append(f.Offers, suite.ProposalRef(public.Authenticated()))
			}
		}
	}
}

func (c ReceiveBodies) Slot() SlotID    { return SlotOfRoom(c.Room) }
func (ReceiveBodies) Lane() Lane        { return Bulk }
func (ReceiveBodies) kind() CommandKind { return KindReceiveBodies }

//	struct {
//	    opaque room<V>; // empty: none
//	    opaque hub<V>;
//	    HubBody bodies<V>;
//	    opaque groups<V><V>;
//	} ReceiveBodies;
func (c ReceiveBodies) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	c.Hub.AppendTo(w)
	appendList(w, c.Bodies, appendHubBody)
	appendTexts(w, c.Groups)
}

func readReceiveBodies(r *mls.Reader) ReceiveBodies {
	return ReceiveBodies{
		Room:   mimi.ReadOptionalRoomURI(r, "room"),
		Hub:    mimi.ReadProvider(r, "hub"),
		Bodies: readList(r, "bodies", readHubBody),
		Groups: readTexts[mls.GroupID](r, "groups"),
	}
}

//	struct {
//	    opaque hash[32];
//	    HubMessage messages<V>;
//	    Notice notices<V>;
//	} HubBody;
func appendHubBody(w *mls.Writer, b HubBody) {
	w.Fixed(b.Hash[:])
	appendList(w, b.Messages, appendHubMessage)
	appendList(w, b.Notices, mimi.AppendNotice)
}

func readHubBody(r *mls.Reader) HubBody {
	return HubBody{
		Hash:     readHash(r, "hash"),
		Messages: readList(r, "messages", readHubMessage),
		Notices:  readList(r, "notices", mimi.ReadNotice),
	}
}

//	struct {
//	    opaque hash[32];
//	    opaque bytes<V>;
//	    uint8 kind;
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    uint8 joins; // 0 or 1
//	    opaque needs<V><V>;
//	    opaque offers<V><V>;
//	    opaque next_group_id<V>;
//	    opaque welcomed<V><V>;
//	    uint8 alone;
//	} HubMessage;
func appendHubMessage(w *mls.Writer, m HubMessage) {
	w.Fixed(m.Hash[:])
	w.Opaque(m.Bytes)
	w.Uint8(uint8(m.Kind))
	appendText(w, m.Group)
	w.Uint64(uint64(m.Epoch))
	w.Bool(m.Joins)
	appendTexts(w, m.Needs)
	appendTexts(w, m.Offers)
	appendText(w, m.Next)
	appendTexts(w, m.Welcomed)
	w.Bool(m.Alone)
}

func readHubMessage(r *mls.Reader) HubMessage {
	m := HubMessage{Hash: readHash(r, "hash"), Bytes: r.Opaque("bytes")}
	m.Kind = HubMessageKind(r.Uint8("kind"))
	if !r.Failed() && m.Kind > HubWelcome {
		r.Fail("kind", "it is not known to this program")
	}
	m.Group = readText[mls.GroupID](r, "group_id")
	m.Epoch = mls.Epoch(r.Uint64("epoch"))
	m.Joins = r.Bool("joins")
	m.Needs = readTexts[mls.ProposalRef](r, "needs")
	m.Offers = readTexts[mls.ProposalRef](r, "offers")
	m.Next = readText[mls.GroupID](r, "next_group_id")
	m.Welcomed = readTexts[mls.KeyPackageRef](r, "welcomed")
	m.Alone = r.Bool("alone")
	return m
}

// BodiesReceived tells how far what a hub brought was taken: it is in the inbox, or waits in the state for what comes before it.
type BodiesReceived struct {
	Taken  uint32        // bodies from the first
	Stop   BodyStop      // why the next one was not, and those behind it
	Groups []mls.GroupID // with StopGroups
}

// BodyStop is why a body was not taken; append only.
type BodyStop uint8

const (
	StopNone   BodyStop = 0 // all were taken
	StopFull   BodyStop = 1 // it is to wait for what comes before it, and as much of the room as may wait waits already
	StopGroups BodyStop = 2 // the body names groups of which it is not known that they are the room's: FollowGroup finds out
)

func (BodiesReceived) outcomeKind() OutcomeKind { return OutcomeBodiesReceived }

//	struct {
//	    uint32 taken;
//	    uint8 stop;
//	    opaque groups<V><V>;
//	} BodiesReceived;
func (o BodiesReceived) appendTo(w *mls.Writer) {
	w.Uint32(o.Taken)
	w.Uint8(uint8(o.Stop))
	appendTexts(w, o.Groups)
}

func readBodiesReceived(r *mls.Reader) BodiesReceived {
	o := BodiesReceived{Taken: r.Uint32("taken"), Stop: BodyStop(r.Uint8("stop"))}
	if !r.Failed() && o.Stop > StopGroups {
		r.Fail("stop", "it is not known to this program")
	}
	o.Groups = readTexts[mls.GroupID](r, "groups")
	return o
}
