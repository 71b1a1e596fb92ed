package fsm

import (
	"fmt"
	"math"

	"parley/mimi"
	"parley/mls"
)

// A user that was deleted, and a client that is lost, have to leave every room that they are in, and no Commit of theirs will take
// them out. The user's slot keeps that they are gone, for good; it knows in which rooms of this hub the user is, from what their
// slots have told it, and tells those. A room keeps who is to leave until nothing of it is left. What follows from that, a Remove in
// the hub's name for each leaf, is made before the log, by whoever holds the hub's keys (cluster/departures.go).

const (
	KindRecordDeparture  CommandKind = 30
	KindSettleDepartures CommandKind = 31
)

// DepartedClientsMax bounds the clients of a user that are known to be gone.
const DepartedClientsMax = 10_000

// RecordDeparture says that a user is deleted, or one of its clients lost. It is told by the user's own provider, and for good.
type RecordDeparture struct {
	User   mimi.UserURI
	Client mimi.ClientURI // none: the user, with all that it has
}

// SettleDepartures says that of some who had to leave a room nothing is left in it: no leaf, and of a user no place in the list.
type SettleDepartures struct {
	Room             mimi.RoomURI
	GroupContextHash [32]byte // of the epoch in which they were looked for
	Gone             []Departing
}

// Departing is who has to leave: a client, or without one all of a user.
type Departing struct {
	User   mimi.UserURI
	Client mimi.ClientURI
}

func (c RecordDeparture) Slot() SlotID  { return SlotOfUser(c.User) }
func (c SettleDepartures) Slot() SlotID { return SlotOfRoom(c.Room) }

func (RecordDeparture) Lane() Lane  { return Bulk }
func (SettleDepartures) Lane() Lane { return Bulk }

func (RecordDeparture) kind() CommandKind  { return KindRecordDeparture }
func (SettleDepartures) kind() CommandKind { return KindSettleDepartures }

// name is how one who departs stands in a key: no client's URI is a user's.
func (d Departing) name() string {
	if d.Client.IsZero() {
		return d.User.String()
	}
	return d.Client.String()
}

// departedUser is what a user's slot knows of departures.
//
//	struct {
//	    opaque user<V>;
//	    uint64 millis;  // when the user was deleted; 0: it was not
//	    uint32 clients; // that are gone
//	} DepartedUser;
type departedUser struct {
	user    mimi.UserURI
	millis  uint64
	clients uint32
}

func (d departedUser) appendTo(w *mls.Writer) {
	d.user.AppendTo(w)
	w.Uint64(d.millis)
	w.Uint32(d.clients)
}

func readDepartedUser(r *mls.Reader) departedUser {
	return departedUser{user: mimi.ReadUserURI(r, "user"), millis: r.Uint64("millis"), clients: r.Uint32("clients")}
}

// departedClient is a client that is gone.
//
//	struct {
//	    opaque client<V>;
//	    uint64 millis;
//	} DepartedClient;
type departedClient struct {
	client mimi.ClientURI
	millis uint64
}

func (d departedClient) appendTo(w *mls.Writer) {
	d.client.AppendTo(w)
	w.Uint64(d.millis)
}

func readDepartedClient(r *mls.Reader) departedClient {
	return departedClient{client: mimi.ReadClientURI(r, "client"), millis: r.Uint64("millis")}
}

// ReadDeparted returns the hub time at which a user was deleted, or a client of it lost; false where that has not happened.
func ReadDeparted(r Reader, d Departing) (millis uint64, gone bool, err error) {
	if d.Client.IsZero() {
		user, _, err := readDeparted(r, d.User)
		return user.millis, user.millis != 0, err
	}
	client, gone, err := readRecord(r, departedClientKey(d), "departed client", readDepartedClient)
	return client.millis, gone, err
}

func readDeparted(r Reader, user mimi.UserURI) (departedUser, bool, error) {
	return readRecord(r, userKey(keyDeparted, user), "departed user", readDepartedUser)
}

func departedClientKey(d Departing) key {
	return userKey(keyDeparted, d.User).hashed(d.Client.String())
}

func (t *tx) departed(user mimi.UserURI) departedUser {
	d, _ := get(t, func(r Reader) (departedUser, bool, error) { return readDeparted(r, user) })
	d.user = user
	return d
}

func (t *tx) hasDeparted(d Departing) (millis uint64, gone bool) {
	millis, gone, err := ReadDeparted(t.store, d)
	t.check(err)
	return millis, gone
}

// recordDeparture takes away what claims could give of who is gone, and tells the rooms.
func (t *tx) recordDeparture(c RecordDeparture) Outcome {
	who := Departing(c)
	if millis, gone := t.hasDeparted(who); gone {
		return Accepted{Millis: millis}
	}
	d := t.departed(c.User)
	if c.Client.IsZero() {
		d.millis = t.now
		t.loseMembers(c)
		t.dropClients(c.User)
		t.tellDeleted(c.User)
	} else {
		if d.clients >= DepartedClientsMax {
			return NotAllowed{Reason: "more clients of the user are gone than a user may have"}
		}
		d.clients++
		t.set(departedClientKey(who), record(departedClient{c.Client, t.now}.appendTo))
		t.loseMembers(c)
		t.dropClient(c.User, c.Client)
	}
	t.set(userKey(keyDeparted, c.User), record(d.appendTo))
	for _, room := range t.roomsOf(c.User) {
		t.post(SlotOfUser(c.User), Departed{Room: room, Who: who, Millis: t.now})
	}
	return Accepted{Millis: t.now}
}

// Departure is what a room knows of one who has to leave it.
type Departure struct {
	Who     Departing
	Millis  uint64 // hub time at which its provider said so
	Settled bool   // nothing of it was left when somebody looked, and nothing can come back
	Cause   DepartureCause
}

// DepartureCause is why somebody has to leave a room.
type DepartureCause uint8

const (
	// Gone: the user was deleted, or the client is lost.
	Gone DepartureCause = 0
	// LeftParent: the user is not in the room on which this one depends. It may come again.
	LeftParent DepartureCause = 1
)

// Reason says of a user why it may do nothing at a room any more.
func (c DepartureCause) Reason() string {
	if c == LeftParent {
		return "the user is not in the room on which this one depends"
	}
	return "the user was deleted"
}

// departureRecord is a Departure as it stands at a room. When it is settled it is kept for as long as a KeyPackage may last that was
// claimed before: until then nobody adds the client again.
//
//	struct {
//	    uint64 forget_millis; // the last there is while it is not settled
//	    opaque room<V>;
//	    opaque user<V>;
//	    opaque client<V>;
//	    uint64 millis;
//	    uint8 settled; // 0 or 1
//	    select (version) {
//	        case 1: struct {};
//	        case 2: uint8 cause; // DepartureCause; Gone is in the first layout
//	    };
//	} DepartureRecord;
type departureRecord struct {
	forgetMillis uint64
	room         mimi.RoomURI
	Departure
}

func (d departureRecord) appendTo(w *mls.Writer) {
	w.Uint64(d.forgetMillis)
	d.room.AppendTo(w)
	d.Who.appendTo(w)
	w.Uint64(d.Millis)
	w.Bool(d.Settled)
	if d.Cause != Gone {
		w.Uint8(uint8(d.Cause))
	}
}

// departureVersion is the last layout of a departure.
const departureVersion = 2

func (d departureRecord) record() []byte {
	if d.Cause != Gone {
		return encode(departureVersion, d.appendTo)
	}
	return record(d.appendTo)
}

func readDepartureRecord(r *mls.Reader, version uint8) departureRecord {
	d := departureRecord{forgetMillis: r.Uint64("forget_millis"), room: mimi.ReadRoomURI(r, "room")}
	d.Who, d.Millis, d.Settled = readDeparting(r), r.Uint64("millis"), r.Bool("settled")
	if version >= 2 {
		d.Cause = DepartureCause(r.Uint8("cause"))
	}
	return d
}

func getDeparture(r Reader, k key) (departureRecord, bool, error) {
	return readRecordUpTo(r, k, "departure", departureVersion, readDepartureRecord)
}

func (t *tx) departure(room mimi.RoomURI, who Departing) (departureRecord, bool) {
	return get(t, func(r Reader) (departureRecord, bool, error) { return getDeparture(r, departureKey(room, who)) })
}

// setDeparture makes a note of one who has to leave.
func (t *tx) setDeparture(room mimi.RoomURI, d Departure) {
	t.set(departureKey(room, d.Who), departureRecord{math.MaxUint64, room, d}.record())
}

// ReadDepartures returns who has to leave a room and is not known to have left it, in no meaningful but a stable order.
func ReadDepartures(r Reader, room mimi.RoomURI) (list []Departure, err error) {
	prefix := departuresKey(room)
	err = scanRangeUpTo(r, prefix, prefix, prefix.end(), "departure", departureVersion, readDepartureRecord, func(_ []byte, d departureRecord) (bool, error) {
		if !d.Settled {
			list = append(list, d.Departure)
		}
		return true, nil
	})
	return list, err
}

// ReadDeparture returns what a room knows of one who has departed, settled or not; false where it knows nothing.
func ReadDeparture(r Reader, room mimi.RoomURI, who Departing) (Departure, bool, error) {
	d, found, err := getDeparture(r, departureKey(room, who))
	return d.Departure, found, err
}

// DepartingRooms lists the rooms of a slot that somebody has to leave, each once.
func DepartingRooms(r Reader, slot SlotID) (rooms []mimi.RoomURI, err error) {
	prefix := newKey(slot, keyRoomLife)
	err = r.Scan(prefix, prefix.end(), func(k, value []byte) (bool, error) {
		if k[keyPrefixBytes+hashBytes] != 1 {
			return true, nil
		}
		d, err := decodeUpTo("departure", append([]byte(nil), value...), departureVersion, readDepartureRecord)
		if err != nil {
			return false, fmt.Errorf("the state is damaged: %v", err)
		}
		if !d.Settled && (len(rooms) == 0 || rooms[len(rooms)-1] != d.room) {
			rooms = append(rooms, d.room)
		}
		return true, nil
	})
	return rooms, err
}

func departuresKey(room mimi.RoomURI) key { return roomKey(keyRoomLife, room).raw([]byte{1}) }

func departureKey(room mimi.RoomURI, who Departing) key {
	return departuresKey(room).hashed(who.name())
}

// takeDeparted makes a note at a room of one who has to leave it. One who had left is looked for again: its slot says this anew when
// the user has come into the room's list once more. That a user was deleted counts for more than that it left a parent.
func (t *tx) takeDeparted(e Departed) {
	head, found := t.head(e.Room)
	if !found || head.status == RoomDestroyed {
		return
	}
	known, found := t.departure(e.Room, e.Who)
	if found && !known.Settled && known.Cause == Gone {
		return
	}
	t.setDeparture(e.Room, Departure{Who: e.Who, Millis: e.Millis})
	head.departures++
	if !found || known.Settled {
		head.departing++
	}
	t.setHead(head)
	t.noteDeparting(head)
}

// noteDeparting lets the leader know of a room that somebody has to leave.
func (t *tx) noteDeparting(head roomHead) {
	if head.departing > 0 {
		t.departing = append(t.departing, head.room)
	}
}

// settleDepartures takes note of who has left.
func (t *tx) settleDepartures(c SettleDepartures) Outcome {
	head, found := t.head(c.Room)
	switch {
	case !found:
		return NoSuchRoom{}
	case head.contextHash != c.GroupContextHash:
		return ReadSetChanged{Index: t.index}
	}
	for _, who := range c.Gone {
		d, found := t.departure(c.Room, who)
		if !found || d.Settled {
			continue
		}
		head.departing--
		k := departureKey(c.Room, who)
		if d.Cause == LeftParent { // who may be added again is known without it
			t.delete(k)
			continue
		}
		d.Settled, d.forgetMillis = true, millisAfter(addUpTo(t.nowSeconds(), t.settings.KeyPackageLifetimeMax))
		t.set(k, d.record())
		t.expireAt(k, d.forgetMillis)
	}
	t.setHead(head)
	return Done{}
}

// refuseDeparted says why one who has departed may do nothing at a room any more; nil for anybody else.
func (t *tx) refuseDeparted(head roomHead, user mimi.UserURI) Outcome {
	if head.departures == 0 {
		return nil
	}
	d, departed := t.departure(head.room, Departing{User: user})
	if !departed {
		return nil
	}
	return NotAllowed{Reason: d.Cause.Reason()}
}

//	struct {
//	    opaque user<V>;
//	    opaque client<V>; // empty: all of the user
//	} Departing;
func (d Departing) appendTo(w *mls.Writer) {
	d.User.AppendTo(w)
	d.Client.AppendTo(w)
}

func readDeparting(r *mls.Reader) Departing {
	return Departing{User: mimi.ReadUserURI(r, "user"), Client: mimi.ReadOptionalClientURI(r, "client")}
}

// struct { Departing who; } RecordDeparture;
func (c RecordDeparture) appendTo(w *mls.Writer) { Departing(c).appendTo(w) }

func readRecordDeparture(r *mls.Reader) RecordDeparture { return RecordDeparture(readDeparting(r)) }

//	struct {
//	    opaque room<V>;
//	    opaque group_context_hash[32];
//	    Departing gone<V>;
//	} SettleDepartures;
func (c SettleDepartures) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	w.Fixed(c.GroupContextHash[:])
	appendList(w, c.Gone, func(w *mls.Writer, d Departing) { d.appendTo(w) })
}

func readSettleDepartures(r *mls.Reader) SettleDepartures {
	return SettleDepartures{
		Room: mimi.ReadRoomURI(r, "room"), GroupContextHash: readHash(r, "group_context_hash"), Gone: readList(r, "gone", readDeparting),
	}
}
