package httpapi

import (
	"encoding/hex"

	"parley/mimi"
	"parley/mls"
)

// noticeFields are what the notices of mimi have to say, in an event of the inbox. The event's kind says which are there.
type noticeFields struct {
	// Of a verdict: what became of something that the provider submitted.
	Receipt        string     `json:"receipt,omitempty"` // hexadecimal
	Verdict        string     `json:"verdict,omitempty"`
	Reason         string     `json:"reason,omitempty"`
	CurrentEpoch   *mls.Epoch `json:"currentEpoch,omitempty"`
	VerdictMillis  uint64     `json:"verdictMillis,omitempty"` // when it was accepted
	ProposalRef    []byte     `json:"proposalRef,omitempty"`   // of a proposalFate
	Committed      *bool      `json:"committed,omitempty"`     // of a proposalFate
	Changes        []string   `json:"changes,omitempty"`       // of a policyChanged: characteristics, preauthorization, roles
	GainedVoice    []string   `json:"gainedVoice,omitempty"`   // users, of a voiceChanged
	LostVoice      []string   `json:"lostVoice,omitempty"`     // likewise
	DroppedItems   uint64     `json:"droppedItems,omitempty"`  // of a streamGap
	DroppedFrom    uint64     `json:"droppedFrom,omitempty"`   // hub time
	DroppedThrough uint64     `json:"droppedThrough,omitempty"`
}

var policyChangeNames = []struct {
	change mimi.PolicyChange
	name   string
}{
	{mimi.CharacteristicsChanged, "characteristics"},
	{mimi.PreauthorizationChanged, "preauthorization"},
	{mimi.RolesChanged, "roles"},
}

// noticeEvent is a notice as an event. What is told of the whole item is none, nor is a notice that this program does not know.
func noticeEvent(notice mimi.Notice, millis uint64) (event inboxEvent, shown bool) {
	event = inboxEvent{AcceptedMillis: millis, noticeFields: &noticeFields{}}
	switch n := notice.(type) {
	case mimi.Verdict:
		event.Kind = "verdict"
		event.Receipt, event.Verdict, event.Reason = hex.EncodeToString(n.Receipt[:]), n.Code.String(), n.Reason
		event.CurrentEpoch, event.VerdictMillis = &n.Current, n.AcceptedMillis
	case mimi.ProposalFate:
		event.Kind = "proposalFate"
		committed := n.End == mimi.ProposalCommitted
		event.ProposalRef, event.Committed, event.Epoch = []byte(n.Ref), &committed, &n.Epoch
	case mimi.RoomDestroyed:
		event.Kind = "roomDestroyed"
	case mimi.PolicyChanged:
		event.Kind, event.Epoch = "policyChanged", &n.Epoch
		for _, named := range policyChangeNames {
			if n.Changes&named.change != 0 {
				event.Changes = append(event.Changes, named.name)
			}
		}
	case mimi.VoiceChanged:
		event.Kind, event.Epoch = "voiceChanged", &n.Epoch
		event.GainedVoice, event.LostVoice = namesOf(n.Gained), namesOf(n.Lost)
	case mimi.UserDeleted:
		event.Kind, event.User = "userDeleted", n.User
	case mimi.StreamGap:
		event.Kind = "streamGap"
		event.DroppedItems, event.DroppedFrom, event.DroppedThrough = n.Items, n.FirstMillis, n.LastMillis
	default:
		return inboxEvent{}, false
	}
	return event, true
}

func namesOf(users []mimi.UserURI) []string {
	names := make([]string, len(users))
	for i, u := range users {
		names[i] = u.String()
	}
	return names
}
