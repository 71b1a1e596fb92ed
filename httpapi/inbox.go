package httpapi

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// inboxItem is what one entry of a hub's log brought for the local provider in one room, or, without a room, what it has to tell of
// the provider's own users. Items of a room come in order and are acknowledged whole.
type inboxItem struct {
	ID             string        `json:"id"` // for acknowledging; "slot-sequence"
	Room           mimi.RoomURI  `json:"room,omitzero"`
	Hub            mimi.Provider `json:"hub"`
	Sequence       uint64        `json:"sequence"`       // rises within a room, with gaps
	AcceptedMillis uint64        `json:"acceptedMillis"` // hub time
	Events         []inboxEvent  `json:"events,omitempty"`
	Body           []byte        `json:"body,omitempty"` // concatenated FanoutMessages of a room, where the reader asked for them raw

	// WelcomeFor are the local users and clients whose KeyPackages the Welcomes of the item name.
	WelcomeFor []welcomeFor `json:"welcomeFor,omitempty"`
	// RoomDestroyed says that nothing comes of the room any more.
	RoomDestroyed bool `json:"roomDestroyed,omitempty"`

	// Cursor is behind this item and all that were sent before it; on a stream, of the last item of each batch.
	Cursor string `json:"cursor,omitempty"`
}

// welcomeFor says to whom a Welcome goes.
type welcomeFor struct {
	KeyPackageRef []byte          `json:"keyPackageRef"`
	User          mimi.UserURI    `json:"user"`
	Client        *mimi.ClientURI `json:"client,omitempty"` // not known where the claim named none
}

// inboxEvent is one FanoutMessage (mimi-protocol-06 §5.5) or a notice. Its kind says which fields it has.
type inboxEvent struct {
	Kind           string     `json:"kind"` // application, proposal, commit or welcome, in a room; keyPackagesLow
	AcceptedMillis uint64     `json:"acceptedMillis"`
	GroupID        []byte     `json:"groupId,omitempty"` // a Welcome tells neither group nor epoch to those outside
	Epoch          *mls.Epoch `json:"epoch,omitempty"`
	Message        []byte     `json:"message,omitempty"`        // MLSMessage
	MoreProposals  [][]byte   `json:"moreProposals,omitempty"`  // MLSMessages that belong to a Proposal, or follow a Commit
	RatchetTree    []byte     `json:"ratchetTree,omitempty"`    // RatchetTreeOption, with a Welcome
	KeyPackageRefs [][]byte   `json:"keyPackageRefs,omitempty"` // whom a Welcome is for
	ServerFrank    []byte     `json:"serverFrank,omitempty"`    // Frank, where the hub franked the message

	// Of a notice. ProposalRef and Epoch are of a proposalFate, Epoch of the changes of a policy as well.
	*noticeFields

	User   mimi.UserURI   `json:"user,omitzero"`
	Client mimi.ClientURI `json:"client,omitzero"`
	Left   *uint32        `json:"left,omitempty"` // single-use KeyPackages of the client in store

	Generation fsm.Generation `json:"generation,omitempty"` // of a roomStale: the cluster's
}

// itemID names an item for its acknowledgement.
func itemID(item fsm.OutboxItem) string {
	return fmt.Sprintf("%03x-%d", uint16(item.Slot), item.Sequence)
}

// parseItemID reads what itemID wrote.
func parseItemID(id string) (slot fsm.SlotID, sequence uint64, err error) {
	high, low, found := strings.Cut(id, "-")
	octets, slotErr := hex.DecodeString("0" + high)
	sequence, sequenceErr := strconv.ParseUint(low, 10, 64)
	if !found || len(high) != 3 || slotErr != nil || sequenceErr != nil {
		return 0, 0, &mls.MalformedError{Field: "ids", Reason: "an ID is not one that the inbox gave"}
	}
	return fsm.SlotID(uint16(octets[0])<<8 | uint16(octets[1])), sequence, nil
}

// present makes an item readable, or hands out its body as it is. What stands in the inbox was parsed before it was let in, so
// an error is a fault of this node.
func present(item fsm.OutboxItem, raw bool) (inboxItem, error) {
	out := inboxItem{ID: itemID(item), Room: item.Room, Hub: item.Hub, Sequence: item.Sequence, AcceptedMillis: item.Millis}
	if err := out.take(item); err != nil {
		return inboxItem{}, fmt.Errorf("inbox item %s: %w", out.ID, err)
	}
	if raw || len(item.Body) == 0 {
		out.Body = item.Body
		return out, nil
	}
	messages, err := mimi.ParseFanout(item.Body)
	if err != nil {
		return inboxItem{}, fmt.Errorf("inbox item %s: %s", out.ID, err)
	}
	for _, message := range messages {
		event, err := eventOf(message)
		if err != nil {
			return inboxItem{}, fmt.Errorf("inbox item %s: %w", out.ID, err)
		}
		out.Events = append(out.Events, event)
	}
	return out, nil
}

// take adds what the local provider alone is told.
func (i *inboxItem) take(item fsm.OutboxItem) error {
	for _, note := range item.Notes {
		switch n := note.(type) {
		case fsm.WelcomeFor:
			named := welcomeFor{KeyPackageRef: []byte(n.Ref), User: n.User}
			if !n.Client.IsZero() {
				named.Client = &n.Client
			}
			i.WelcomeFor = append(i.WelcomeFor, named)
		case fsm.RoomWasDestroyed:
			i.RoomDestroyed = true
		case fsm.KeyPackagesLow:
			i.Events = append(i.Events, inboxEvent{Kind: "keyPackagesLow", AcceptedMillis: item.Millis, User: n.User, Client: n.Client, Left: &n.Left})
		case fsm.RoomIsStale:
			i.Events = append(i.Events, inboxEvent{Kind: "roomStale", AcceptedMillis: item.Millis, Epoch: &n.Epoch, Generation: n.Generation})
		case fsm.RoomForwarded:
			i.Events = append(i.Events, inboxEvent{Kind: "roomForwarded", AcceptedMillis: item.Millis, Epoch: &n.Epoch})
		case fsm.Noticed:
			if event, shown := noticeEvent(n.Notice, item.Millis); shown {
				i.Events = append(i.Events, event)
			}
		default:
			return fmt.Errorf("note of unknown kind %T", note)
		}
	}
	return nil
}

func eventOf(message mimi.FanoutMessage) (inboxEvent, error) {
	parts := message.Event.MLSMessages()
	event := inboxEvent{AcceptedMillis: message.Millis, Message: parts[0].Marshal()}
	for _, more := range parts[1:] {
		event.MoreProposals = append(event.MoreProposals, more.Marshal())
	}
	switch e := message.Event.(type) {
	case mimi.FanoutApplication:
		event.Kind = "application"
		event.in(e.Message.GroupID, e.Message.Epoch)
		if e.Frank != nil {
			event.ServerFrank = e.Frank.Marshal()
		}
	case mimi.FanoutWelcome:
		event.Kind = "welcome"
		event.RatchetTree = e.Tree.Marshal()
		for _, ref := range e.Welcome.Refs() {
			event.KeyPackageRefs = append(event.KeyPackageRefs, []byte(ref))
		}
	case mimi.FanoutProposals, mimi.FanoutCommit:
		event.Kind = "proposal"
		if _, commit := e.(mimi.FanoutCommit); commit {
			event.Kind = "commit"
		}
		public, ok := parts[0].Body.(*mls.PublicMessage)
		if !ok {
			return inboxEvent{}, fmt.Errorf("a handshake as %T", parts[0].Body)
		}
		event.in(public.Content.GroupID, public.Content.Epoch)
	default:
		return inboxEvent{}, fmt.Errorf("event of unknown kind %T", message.Event)
	}
	return event, nil
}

func (e *inboxEvent) in(group mls.GroupID, epoch mls.Epoch) {
	e.GroupID, e.Epoch = []byte(group), &epoch
}
