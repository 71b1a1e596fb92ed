package fsm

import (
	"slices"

	"parley/mimi"
)

// What happens in a room that no FanoutMessage tells goes out as a notice in the same item: what became of a Proposal, that policy or
// voice has changed, that the room is no more. And who is deleted is told to the providers that the settings name.

// tellFate tells the provider of a Proposal's sender what became of it.
func (t *tx) tellFate(head roomHead, p pendingRecord, fate ProposalFate) {
	if p.from.IsZero() {
		return
	}
	end := mimi.ProposalDropped
	if fate == ProposalAccepted {
		end = mimi.ProposalCommitted
	}
	t.tell(head.room, p.from, mimi.ProposalFate{Ref: p.proposal.Ref, End: end, Epoch: head.epoch})
}

// voices is who may speak in a room as it stands.
type voices struct {
	participants []Participant
	silent       []uint32 // roles
}

func (t *tx) voicesOf(room mimi.RoomURI) voices {
	return voices{t.participants(room), t.roomRules(room).Silent}
}

// voicesBefore is who may speak before a Commit, where that can change.
func (t *tx) voicesBefore(c AcceptCommit) voices {
	if c.PolicyChanges&mimi.RolesChanged == 0 {
		return voices{}
	}
	return t.voicesOf(c.Room)
}

func (v voices) has(p Participant) bool { return !slices.Contains(v.silent, p.Role) }

// voiceUsersMax bounds the users of one notice.
const voiceUsersMax = 1000

// tellPolicy tells all who get a Commit which kinds of policy it has changed, and whose voice; of those who are participants before
// and after it, for who comes or goes stands in the Commit.
func (t *tx) tellPolicy(c AcceptCommit, before voices) {
	if c.PolicyChanges == 0 {
		return
	}
	notices := []mimi.Notice{mimi.PolicyChanged{Epoch: c.Facts.Epoch, Changes: c.PolicyChanges}}
	if c.PolicyChanges&mimi.RolesChanged != 0 {
		notices = append(notices, changedVoices(c, before, t.voicesOf(c.Room))...)
	}
	t.tellAll(c.Room, c.Notified, notices...)
}

func changedVoices(c AcceptCommit, before, after voices) (notices []mimi.Notice) {
	had := make(map[mimi.UserURI]bool, len(before.participants))
	for _, p := range before.participants {
		had[p.User] = before.has(p)
	}
	notice := mimi.VoiceChanged{Epoch: c.Facts.Epoch}
	flush := func(least int) {
		if len(notice.Gained)+len(notice.Lost) >= least {
			notices = append(notices, notice)
			notice.Gained, notice.Lost = nil, nil
		}
	}
	for _, p := range after.participants {
		switch had, was := had[p.User]; {
		case !was || had == after.has(p):
			continue
		case had:
			notice.Lost = append(notice.Lost, p.User)
		default:
			notice.Gained = append(notice.Gained, p.User)
		}
		flush(voiceUsersMax)
	}
	flush(1)
	return notices
}

// tellAll tells each of some destinations, one under two of its names once.
func (t *tx) tellAll(room mimi.RoomURI, destinations []mimi.Provider, notices ...mimi.Notice) {
	var told []mimi.Provider
	for _, destination := range destinations {
		destination = t.destination(destination)
		if !slices.Contains(told, destination) {
			told = append(told, destination)
			t.tell(room, destination, notices...)
		}
	}
}

// tellDestroyed tells the other providers that follow a room that it is no more; the local one has a note of its own.
func (t *tx) tellDestroyed(head roomHead) {
	for _, destination := range head.destinations {
		if !t.isLocal(destination) {
			t.tell(head.room, destination, mimi.RoomDestroyed{})
		}
	}
}

// tellDeleted tells the providers that the settings name of a user of this provider that is gone. The item is of no room.
func (t *tx) tellDeleted(user mimi.UserURI) {
	if t.format < FormatBulk || !t.isLocal(user.Provider()) {
		return
	}
	for _, peer := range t.settings.Bulk.DeletionsTo {
		body := t.body(outboxBodyName{slot: SlotOfUser(user), hub: t.settings.Domains[0], destination: peer})
		body.notes = append(body.notes, Noticed{mimi.UserDeleted{User: user, Millis: t.now}})
	}
}
