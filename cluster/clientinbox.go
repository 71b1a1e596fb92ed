package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

// memberRoomsMax bounds the rooms of one answer.
const memberRoomsMax = 1000

// ReadEvents returns a page of a client's inbox, over all shards that have rooms of it. Each is read at its leader, where an
// acknowledgement is seen as soon as it is answered. A shard that has none, or whose does not answer within inboxPatience, is left out,
// unless there is nothing from the others either. What a room has told the slot of the client's name only just now may be in a later page.
func (n *Node) ReadEvents(ctx context.Context, query fsm.EventQuery) (fsm.EventPage, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return fsm.EventPage{}, err
	}
	defer done()
	query = boundedEvents(query)
	byShard, err := n.roomsOfMember(ctx, query.Name)
	if err != nil {
		return fsm.EventPage{}, fmt.Errorf("%w: rooms of a client: %w", fsm.ErrNotProposed, err)
	}
	pages, failed := make([]fsm.EventPage, len(byShard)), make([]error, len(byShard))
	var wait sync.WaitGroup
	for i, part := range byShard {
		wait.Go(func() { pages[i], failed[i] = n.eventsOf(ctx, part.shard, part.rooms, query) })
	}
	wait.Wait()
	page := joinedEvents(pages, query)
	if err := errors.Join(failed...); err != nil {
		page.Whole = false
		if len(page.Events) == 0 {
			return fsm.EventPage{}, fmt.Errorf("%w: inbox of a client: %w", fsm.ErrNotProposed, err)
		}
	}
	return page, nil
}

func boundedEvents(query fsm.EventQuery) fsm.EventQuery {
	query.Items = max(0, min(query.Items, inboxItemsMax))
	if query.Bytes <= 0 || query.Bytes > inboxBytesMax {
		query.Bytes = inboxBytesMax
	}
	return query
}

// joinedEvents makes one page of several.
func joinedEvents(pages []fsm.EventPage, query fsm.EventQuery) fsm.EventPage {
	joined := fsm.EventPage{Whole: true}
	for _, page := range pages {
		joined.Events = append(joined.Events, page.Events...)
		joined.Whole = joined.Whole && page.Whole
	}
	slices.SortStableFunc(joined.Events, func(a, b fsm.ClientEvent) int { return query.Compare(a.ClientEventRef, b.ClientEventRef) })
	bytes := 0
	for i, e := range joined.Events {
		if bytes += e.Bytes(); i == query.Items || i > 0 && bytes > query.Bytes {
			return fsm.EventPage{Events: joined.Events[:i]}
		}
	}
	return joined
}

// shardRooms are rooms that one shard has.
type shardRooms struct {
	shard meta.Shard
	rooms []mimi.RoomURI
}

// roomsOfMember finds the rooms in which a name has windows.
func (n *Node) roomsOfMember(ctx context.Context, name fsm.MemberName) (parts []shardRooms, err error) {
	ctx, cancel := context.WithTimeout(ctx, inboxPatience)
	defer cancel()
	for after := (fsm.RoomHash{}); ; {
		rooms, err := n.roomsBehind(ctx, name, after)
		if err != nil {
			return nil, err
		}
		for _, room := range rooms {
			shard, ok := n.servingSlot(fsm.SlotOfRoom(room))
			if !ok {
				continue
			}
			i := slices.IndexFunc(parts, func(p shardRooms) bool { return p.shard.ID == shard.ID })
			if i < 0 {
				i, parts = len(parts), append(parts, shardRooms{shard: shard})
			}
			parts[i].rooms = append(parts[i].rooms, room)
			after = fsm.HashOfRoom(room)
		}
		if len(rooms) < memberRoomsMax {
			return parts, nil
		}
	}
}

// roomsBehind reads a page of a name's rooms. Where the slot of the name is on its way from one shard to another, that waits until it is there.
func (n *Node) roomsBehind(ctx context.Context, name fsm.MemberName, after fsm.RoomHash) (rooms []mimi.RoomURI, err error) {
	slot := fsm.SlotOfMember(name)
	var pause backoff
	for {
		home, ok := n.servingSlot(slot)
		if !ok {
			return nil, errors.New("the shard of the client's name is not placed yet")
		}
		rooms, err = n.roomsAt(ctx, home, name, after)
		if current, found := n.servingSlot(slot); err == nil || found && current.ID == home.ID && !errors.Is(err, errElsewhere) {
			return rooms, err
		}
		if wrong := n.awaitPlace(ctx, &pause); wrong != nil {
			return nil, errors.Join(err, wrong)
		}
	}
}

// roomsAt asks one shard, here if there is a replica that serves the slot: it is a little late wherever it is read.
func (n *Node) roomsAt(ctx context.Context, home meta.Shard, name fsm.MemberName, after fsm.RoomHash) ([]mimi.RoomURI, error) {
	if local := n.replica(home.ID); local != nil {
		rooms, err := local.memberRooms(name, after)
		if !errors.Is(err, errBehind) {
			return rooms, err
		}
	}
	var w mls.Writer
	appendEventsHead(&w, home.ID, asksRooms)
	w.Opaque([]byte(name))
	w.Fixed(after[:])
	raw, err := n.askLeading(ctx, home, methodEvents, w.Bytes())
	if err != nil {
		return nil, err
	}
	r := mls.NewReader("MemberRooms", raw)
	rooms := mls.ReadList(r, "rooms", func(r *mls.Reader) mimi.RoomURI { return mimi.ReadRoomURI(r, "") })
	return rooms, r.Close()
}

func (r *replica) memberRooms(name fsm.MemberName, after fsm.RoomHash) (rooms []mimi.RoomURI, err error) {
	view, err := r.view()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	if _, serves, err := r.elsewhere(view, fsm.SlotOfMember(name)); err != nil || !serves {
		return nil, cmp.Or(err, errElsewhere)
	}
	err = fsm.VisitMemberRooms(view, name, after, func(room mimi.RoomURI) (bool, error) {
		rooms = append(rooms, room)
		return len(rooms) < memberRoomsMax, nil
	})
	return rooms, err
}

func (n *Node) eventsOf(ctx context.Context, shard meta.Shard, rooms []mimi.RoomURI, query fsm.EventQuery) (fsm.EventPage, error) {
	ctx, cancel := context.WithTimeout(ctx, inboxPatience)
	defer cancel()
	if local := n.replica(shard.ID); local != nil && local.serving(ctx) == nil {
		return local.events(rooms, query)
	}
	return n.fetchEvents(ctx, shard, rooms, query)
}

// events reads what one replica has of a page.
func (r *replica) events(rooms []mimi.RoomURI, query fsm.EventQuery) (page fsm.EventPage, err error) {
	view, err := r.view()
	if err != nil {
		return fsm.EventPage{}, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	page.Whole = true
	var refs []fsm.ClientEventRef
	served := r.servedBy(view)
	for _, room := range rooms {
		if serves, err := served.has(fsm.SlotOfRoom(room)); err != nil {
			return fsm.EventPage{}, err
		} else if !serves { // its slot is on its way: its events are in a later page
			page.Whole = false
			continue
		}
		found, whole, err := fsm.ReadEventRefs(view, room, query)
		if err != nil {
			return fsm.EventPage{}, err
		}
		kept, cut := query.Cut(append(refs, found...))
		refs, page.Whole = kept, page.Whole && whole && !cut
	}
	bytes := 0
	for _, ref := range refs {
		event, found, err := fsm.ReadClientEvent(view, ref)
		if err != nil {
			return fsm.EventPage{}, err
		}
		if !found {
			return fsm.EventPage{}, fmt.Errorf("event %d of %s is in the index and not there", ref.Position, ref.Room)
		}
		if bytes += event.Bytes(); bytes > query.Bytes && len(page.Events) > 0 {
			page.Whole = false
			break
		}
		page.Events = append(page.Events, event)
	}
	return page, nil
}

const (
	eventsVersion = 1

	asksRooms  uint8 = 1
	asksEvents uint8 = 2
)

// appendEventsHead begins a request for a client's inbox.
//
//	struct {
//	    uint8 version = 1;
//	    uint32 shard;
//	    uint8 asks; // rooms(1), events(2)
//	    select (asks) {
//	        case rooms:  opaque name<V>; opaque after[32];
//	        case events: EventQuery query; opaque rooms<V><V>;
//	    };
//	} EventsRequest;
//
// It is answered with the rooms, or with an EventsAnswer:
//
//	struct {
//	    ClientEvent events<V>;
//	    uint8 whole; // 0 or 1
//	} EventsAnswer;
func appendEventsHead(w *mls.Writer, shard fsm.ShardID, asks uint8) {
	w.Uint8(eventsVersion)
	w.Uint32(uint32(shard))
	w.Uint8(asks)
}

func (n *Node) fetchEvents(ctx context.Context, shard meta.Shard, rooms []mimi.RoomURI, query fsm.EventQuery) (fsm.EventPage, error) {
	var w mls.Writer
	appendEventsHead(&w, shard.ID, asksEvents)
	query.AppendTo(&w)
	appendRooms(&w, rooms)
	raw, err := n.askLeading(ctx, shard, methodEvents, w.Bytes())
	if err != nil {
		return fsm.EventPage{}, err
	}
	r := mls.NewReader("EventsAnswer", raw)
	page := fsm.EventPage{Events: mls.ReadList(r, "events", fsm.ReadClientEventFrom), Whole: r.Bool("whole")}
	return page, r.Close()
}

func appendRooms(w *mls.Writer, rooms []mimi.RoomURI) {
	w.Vector(func(w *mls.Writer) {
		for _, room := range rooms {
			room.AppendTo(w)
		}
	})
}

func (n *Node) serveEvents(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("EventsRequest", payload)
	if version := r.Uint8("version"); version != eventsVersion {
		r.Fail("version", "is not known")
	}
	replica := n.replica(fsm.ShardID(r.Uint32("shard")))
	if replica == nil {
		return nil, errors.New("the shard is not here")
	}
	if err := replica.serving(ctx); err != nil {
		return nil, err
	}
	var w mls.Writer
	switch asks := r.Uint8("asks"); asks {
	case asksRooms:
		name := fsm.MemberName(r.Opaque("name"))
		var after fsm.RoomHash
		copy(after[:], r.Fixed("after", len(after)))
		if err := r.Close(); err != nil {
			return nil, err
		}
		rooms, err := replica.memberRooms(name, after)
		if err != nil {
			return nil, err
		}
		appendRooms(&w, rooms)
	case asksEvents:
		query := boundedEvents(fsm.ReadEventQuery(r))
		rooms := mls.ReadList(r, "rooms", func(r *mls.Reader) mimi.RoomURI { return mimi.ReadRoomURI(r, "") })
		if err := r.Close(); err != nil {
			return nil, err
		}
		page, err := replica.events(rooms, query)
		if err != nil {
			return nil, err
		}
		w.Vector(func(w *mls.Writer) {
			for _, e := range page.Events {
				e.AppendTo(w)
			}
		})
		w.Bool(page.Whole)
	default:
		r.Fail("asks", "is not known")
		return nil, r.Err()
	}
	return w.Bytes(), nil
}
