package fsm

import (
	"fmt"
	"slices"

	"parley/mimi"
)

// clientsVerifier checks that the logs for clients, their indexes and their windows belong together.
type clientsVerifier struct {
	logs    map[string]clientLog
	events  map[string][]uint64
	index   map[string]map[uint64]eventIndex
	windows map[string][]window
	leaves  map[string]map[uint32]leafWindow
}

func newClientsVerifier() *clientsVerifier {
	return &clientsVerifier{
		logs: map[string]clientLog{}, events: map[string][]uint64{}, index: map[string]map[uint64]eventIndex{},
		windows: map[string][]window{}, leaves: map[string]map[uint32]leafWindow{},
	}
}

func (v *clientsVerifier) visit(kind keyKind, rest, value []byte) (err error) {
	if kind == keyRoster {
		switch rest[0] {
		case rosterOfRoom:
			_, err = decode("roster", value, readRoster)
		case rosterProposal:
			_, err = decode("Proposal of a roster", value, readRosterChange)
		case memberRooms:
			_, err = decode("room of a member", value, readUserRoom)
		}
		return err
	}
	room := string(rest[:hashBytes])
	switch kind {
	case keyClientLog:
		v.logs[room], err = decode("log", value, readClientLog)
	case keyClientEvent:
		v.events[room] = append(v.events[room], numberOf(rest[hashBytes:]))
		var e clientEvent
		if e, err = decode("event", value, readClientEvent); err == nil && len(e.notes) == 0 {
			_, err = mimi.ParseFanoutMessage(e.message)
		}
	case keyClientEventIndex:
		if v.index[room] == nil {
			v.index[room] = map[uint64]eventIndex{}
		}
		v.index[room][numberOf(rest[hashBytes:])], err = decode("index", value, readEventIndex)
	case keyWindow:
		var w window
		w, err = decode("window", value, readClientWindow)
		v.windows[room] = append(v.windows[room], w)
	case keyLeafWindow:
		if v.leaves[room] == nil {
			v.leaves[room] = map[uint32]leafWindow{}
		}
		leaf := rest[hashBytes:]
		v.leaves[room][uint32(leaf[0])<<24|uint32(leaf[1])<<16|uint32(leaf[2])<<8|uint32(leaf[3])], err = decode("leaf", value, readLeafWindow)
	}
	return err
}

func (v *clientsVerifier) verify() error {
	for _, have := range []int{len(v.events), len(v.index), len(v.windows), len(v.leaves)} {
		if have > len(v.logs) {
			return fmt.Errorf("%d rooms have something for clients, and %d have logs", have, len(v.logs))
		}
	}
	for room, l := range v.logs {
		if err := v.verifyRoom(room, l); err != nil {
			return fmt.Errorf("%s for clients: %w", l.room, err)
		}
	}
	return nil
}

func (v *clientsVerifier) verifyRoom(room string, l clientLog) error {
	if len(v.events[room]) != len(v.index[room]) {
		return fmt.Errorf("%d events and %d in the index", len(v.events[room]), len(v.index[room]))
	}
	if len(v.index[room]) > 0 && l.due == 0 {
		return fmt.Errorf("events wait, and nobody is to look")
	}
	open, known := uint32(0), 0
	for _, w := range v.windows[room] {
		if w.over() {
			return fmt.Errorf("a window of %s is over and there", w.name)
		}
		if w.until != 0 {
			continue
		}
		open++
		if w.leaf == unknownLeaf {
			continue
		}
		known++
		if at := v.leaves[room][uint32(w.leaf)]; at != (leafWindow{w.name, w.from}) {
			return fmt.Errorf("leaf %d has %+v, and the window is of %s from %d", w.leaf, at, w.name, w.from)
		}
	}
	if open != l.open || known != len(v.leaves[room]) {
		return fmt.Errorf("%d windows are open of %d counted, %d of %d leaves", open, l.open, known, len(v.leaves[room]))
	}
	for position, x := range v.index[room] {
		if position >= l.next || !slices.Contains(v.events[room], position) {
			return fmt.Errorf("an index at %d has no event", position)
		}
		needed := uint32(0)
		for _, w := range v.windows[room] {
			if w.needs(position, x.class) {
				needed++
			}
		}
		if x.waiting < needed || x.waiting == 0 {
			return fmt.Errorf("%d windows need event %d, and %d are counted", needed, position, x.waiting)
		}
	}
	return nil
}
