package fsm

import (
	"slices"

	"parley/mimi"
)

// ReadRoomRules returns what apply knows of a room's policy; none where the room has no policy, or is of before the format that
// brought them and has had no Commit since.
func ReadRoomRules(r Reader, room mimi.RoomURI) (RoomRules, error) {
	rules, _, err := readRecord(r, roomKey(keyRoomRules, room), "room's rules", readRoomRules)
	return rules, err
}

func (t *tx) roomRules(room mimi.RoomURI) RoomRules {
	rules, err := ReadRoomRules(t.store, room)
	t.check(err)
	return rules
}

func (t *tx) setRoomRules(room mimi.RoomURI, rules RoomRules) {
	k := roomKey(keyRoomRules, room)
	if !rules.isZero() {
		t.set(k, record(rules.appendTo))
	} else if t.has(k) {
		t.delete(k)
	}
}

// epochWindow is for how many older epochs a room takes messages: as its own policy says, or the settings.
func (t *tx) epochWindow(rules RoomRules) uint64 { return epochWindow(t.settings, rules) }

func epochWindow(settings Settings, rules RoomRules) uint64 {
	if rules.EpochTolerance != nil {
		return uint64(*rules.EpochTolerance)
	}
	return uint64(settings.EpochWindow)
}

// silenced says why a participant may not send a message, or nothing. The role that it has now counts, not the one that it had in
// the message's epoch: whose voice is revoked is heard no more (mimi-protocol-06 §5.3).
func (t *tx) silenced(room mimi.RoomURI, user mimi.UserURI, rules RoomRules) (reason string) {
	if _, leaving := t.leavingUser(room, user); leaving {
		return "the sender is leaving the room, or is banned"
	}
	if len(rules.Silent) > 0 && slices.Contains(rules.Silent, t.roleOf(room, user)) {
		return "the sender's role does not have canSendMessage"
	}
	return ""
}

// roleOf is a participant's role. Memberships of before the format for exclusive resources do not have it; the list does.
func (t *tx) roleOf(room mimi.RoomURI, user mimi.UserURI) uint32 {
	m, found := t.membership(room, user)
	if !found || m.hasRole {
		return m.role
	}
	list, _ := get(t, func(r Reader) ([]Participant, bool, error) {
		return readRecord(r, roomKey(keyParticipants, room), "participants", readParticipants)
	})
	for _, p := range list {
		if p.User == user {
			return p.Role
		}
	}
	return 0
}
