package httpapi

import (
	"context"
	"net/http"

	"parley/fsm"
	"parley/fsm/judge"
)

// membersRoundsMax is how often the participants of a room are asked for while others want the same ones.
const membersRoundsMax = 5

// reserveMembers makes sure that a new room of fixed membership is the only one of its participants, and returns the request to create it
// with; of any other room the one that it was given. In a shard of an older format nobody knows.
func (d *Desk) reserveMembers(ctx context.Context, created *judge.CreateRoom) (*judge.CreateRoom, error) {
	set, fixed := created.FixedMembers()
	if !fixed {
		return created, nil
	}
	instead := uint64(0)
	for range membersRoundsMax {
		request, err := judge.NewReserveMembers(set, created.Room(), instead)
		if err != nil {
			return nil, err
		}
		outcome, err := d.hub.Do(ctx, request)
		if err != nil {
			return nil, err
		}
		switch o := outcome.(type) {
		case fsm.FormatNotReached:
			return created, nil
		case fsm.MembersReserved:
			if o.Room == created.Room() {
				return created.WithMembers(o.Number), nil
			}
			if err := d.askToForgo(ctx, created, set, o); err != nil {
				return nil, err
			}
			instead = o.Number
		default:
			return nil, unexpected("a reservation of participants", outcome)
		}
	}
	return nil, newProblem(http.StatusConflict, problemConflict, "groupInfo", "Others ask for a room of these participants at this moment; ask again.")
}

// askToForgo asks the room for which participants are reserved whether it has them; nil where it does not, and will not.
func (d *Desk) askToForgo(ctx context.Context, created *judge.CreateRoom, set fsm.MemberSet, reserved fsm.MembersReserved) error {
	request, err := judge.NewForgoMembers(reserved.Room, set, reserved.Number, created.Creator())
	if err != nil {
		return err
	}
	outcome, err := d.hub.Do(ctx, request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.Done:
		return nil
	case fsm.MembersHeld:
		detail := "A room of fixed membership is the only one of its participants, and there is one of these."
		if !o.Room.IsZero() {
			detail = "A room of fixed membership is the only one of its participants, and " + o.Room.String() + " is of these."
		}
		return newProblem(http.StatusConflict, problemConflict, "groupInfo", detail)
	case fsm.FormatNotReached:
		return olderFormat()
	default:
		return unexpected("a look at a room of the same participants", outcome)
	}
}
