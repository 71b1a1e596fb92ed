package judge

import (
	"testing"

	"parley/fsm"
	"parley/mimi"
)

// olderMaker is a maker whose shard is of a format before bulk.
func olderMaker(t *testing.T) *maker {
	t.Helper()
	m := &maker{hub: newHubOf(t, fsm.FormatExclusive), entropy: openMaker(t).entropy}
	m.open()
	return m
}

// A shard of an older format knows no rooms that depend on others, and none whose set of participants is reserved: they are created there as any
// other, and become what they like.
func TestRoomsOfAnOlderFormat(t *testing.T) {
	m := olderMaker(t)
	want[fsm.Done](t, m.do(constructed(NewConsiderParent(houseURI, []mimi.UserURI{user("alice")})))) // there is no such room
	want[fsm.Accepted](t, dependentHouse("mimi://b.example/r/theirs").found(m))
	if _, depends, err := fsm.ReadDependence(m.store, houseURI); err != nil || depends {
		t.Errorf("it depends on another: %v, %v", depends, err)
	}

	m = olderMaker(t)
	h := fixedHouse()
	h.unreserved = true
	want[fsm.Accepted](t, h.found(m))

	for name, becomes := range map[string]mimi.BaseRoomPolicy{
		"dependent": dependingOn(m.recording.Room.URI.String()), "of fixed membership": {MultiDevice: true, FixedMembership: true},
	} {
		m, h := olderMaker(t), freeHouse()
		h.roles[roleAdmin].Capabilities = []mimi.Capability{mimi.CanChangeRoomMembershipStyle}
		want[fsm.Accepted](t, h.found(m))
		m.recording.Room.URI = houseURI
		t.Log(name)
		m.accepted("a.example", byAlice(update(mimi.ComponentBaseRoomPolicy, becomes))(m))
	}
}

// What came with the format for bulk is refused before the log, with the format that it needs: what it would propose an older program could not read.
func TestBulkIsRefusedBeforeItsFormat(t *testing.T) {
	m := olderMaker(t)
	asked := 0
	for _, encoded := range openMaker(t).samples() {
		r, err := DecodeRequest(encoded)
		m.ok(err)
		switch of := r.(type) {
		case *Queue, *SubmitBatch, *RecordVerdicts:
		case *ReceiveBodies:
			if !of.room.IsZero() {
				continue // it is refused for another reason
			}
		default:
			continue
		}
		asked++
		verdict, err := r.Judge(m.store)
		refused, yes := verdict.(Refuse)
		if err != nil || !yes || refused.Outcome != (fsm.FormatNotReached{Needs: fsm.FormatBulk, Has: fsm.FormatExclusive}) {
			t.Errorf("%T: %+v, %v", r, verdict, err)
		}
	}
	if asked < 4 {
		t.Errorf("%d requests were asked", asked)
	}
}
