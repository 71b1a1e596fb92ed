package fsm

import (
	"encoding/binary"

	"parley/mimi"
	"parley/mls"
)

// userRecord says that a user exists.
//
//	struct {
//	    opaque user<V>;
//	    uint32 clients; // ever seen; the position of the next
//	    select (version) {
//	        case 1: struct {};
//	        case 2: uint64 generation; // the first is in the first layout
//	    };
//	} UserRecord;
type userRecord struct {
	user       mimi.UserURI
	clients    uint32
	generation Generation // of its single-use KeyPackages: those of before are dropped, see renewUser; 0 for the first
}

// userVersion is the last layout of a userRecord.
const userVersion = 2

func (u userRecord) record() []byte {
	version := uint8(1)
	if u.generation > FirstGeneration {
		version = 2
	}
	return encode(version, func(w *mls.Writer) {
		u.user.AppendTo(w)
		w.Uint32(u.clients)
		if version >= 2 {
			w.Uint64(uint64(u.generation))
		}
	})
}

func readUserRecord(r *mls.Reader, version uint8) userRecord {
	u := userRecord{user: mimi.ReadUserURI(r, "user"), clients: r.Uint32("clients")}
	if version >= 2 {
		u.generation = Generation(r.Uint64("generation"))
	}
	return u
}

// clientRecord stays when the client's KeyPackages are used up: it is then exhausted, not unknown.
//
//	struct {
//	    opaque client<V>;
//	    uint64 uploaded;   // KeyPackages ever stored; the number of the next
//	    uint32 single_use; // in store
//	    uint32 last_resort;
//	} ClientRecord;
type clientRecord struct {
	client     mimi.ClientURI
	uploaded   uint64
	singleUse  uint32
	lastResort uint32
}

func (c clientRecord) appendTo(w *mls.Writer) {
	c.client.AppendTo(w)
	w.Uint64(c.uploaded)
	w.Uint32(c.singleUse)
	w.Uint32(c.lastResort)
}

func readClientRecord(r *mls.Reader) clientRecord {
	return clientRecord{
		client:     mimi.ReadClientURI(r, "client"),
		uploaded:   r.Uint64("uploaded"),
		singleUse:  r.Uint32("single_use"),
		lastResort: r.Uint32("last_resort"),
	}
}

// count is the number of KeyPackages in store of a sort.
func (c *clientRecord) count(lastResort bool) *uint32 {
	if lastResort {
		return &c.lastResort
	}
	return &c.singleUse
}

// refRecord says where a KeyPackage is. It outlives a claim until the KeyPackage expires, so that it is never taken in again.
//
//	struct {
//	    uint64 not_after; // seconds since 1970
//	    opaque user<V>;
//	    uint32 position;  // the client's
//	    uint64 number;
//	    uint8 claimed;    // 0 or 1; what follows is set by a claim
//	    uint64 claimed_millis;
//	    opaque provider<V>;
//	    opaque requester<V>;
//	    opaque room<V>;
//	    select (version) {
//	        case 1: struct {};
//	        case 2: uint64 consumed_millis; // when the slot heard that a Welcome has named it; its reservation is over then
//	    };
//	} RefRecord;
type refRecord struct {
	notAfter      uint64
	user          mimi.UserURI
	position      uint32
	number        uint64
	claimed       bool
	claimedMillis uint64
	provider      mimi.Provider
	requester     mimi.UserURI
	room          mimi.RoomURI

	consumedMillis uint64 // 0: no Welcome has named it
}

// refVersion is the last layout of a refRecord.
const refVersion = 2

func (c refRecord) record() []byte {
	if c.consumedMillis != 0 {
		return encode(2, c.appendTo)
	}
	return encode(1, c.appendTo)
}

func (c refRecord) appendTo(w *mls.Writer) {
	w.Uint64(c.notAfter)
	c.user.AppendTo(w)
	w.Uint32(c.position)
	w.Uint64(c.number)
	w.Bool(c.claimed)
	w.Uint64(c.claimedMillis)
	c.provider.AppendTo(w)
	c.requester.AppendTo(w)
	c.room.AppendTo(w)
	if c.consumedMillis != 0 {
		w.Uint64(c.consumedMillis)
	}
}

func readRefRecord(r *mls.Reader, version uint8) refRecord {
	c := refRecord{
		notAfter:      r.Uint64("not_after"),
		user:          mimi.ReadUserURI(r, "user"),
		position:      r.Uint32("position"),
		number:        r.Uint64("number"),
		claimed:       r.Bool("claimed"),
		claimedMillis: r.Uint64("claimed_millis"),
		provider:      mimi.ReadOptionalProvider(r, "provider"),
		requester:     mimi.ReadOptionalUserURI(r, "requester"),
		room:          mimi.ReadOptionalRoomURI(r, "room"),
	}
	if version >= 2 {
		c.consumedMillis = r.Uint64("consumed_millis")
	}
	return c
}

// ClientInventory tells how many KeyPackages of a client are in store, expired ones that no sweep has met included.
type ClientInventory struct {
	Client     mimi.ClientURI
	SingleUse  uint32
	LastResort uint32
}

// ReadInventory returns a user's clients in order of their first upload; false where the user is not known.
func ReadInventory(r Reader, user mimi.UserURI) ([]ClientInventory, bool, error) {
	record, found, err := readUser(r, user)
	if err != nil || !found {
		return nil, false, err
	}
	g, err := readSlotGeneration(r, SlotOfUser(user))
	if err != nil {
		return nil, false, err
	}
	var clients []ClientInventory
	err = visitClients(r, user, func(_ uint32, c clientRecord) (bool, error) {
		if record.before(g) {
			c.singleUse = 0
		}
		clients = append(clients, ClientInventory{Client: c.client, SingleUse: c.singleUse, LastResort: c.lastResort})
		return true, nil
	})
	return clients, err == nil, err
}

// ReadKeyPackageHolder returns the user and client that a KeyPackage was uploaded for, while it is in store or, after a claim,
// until it has expired; false where it is not known.
func ReadKeyPackageHolder(r Reader, user mimi.UserURI, ref mls.KeyPackageRef) (mimi.ClientURI, bool, error) {
	at, found, err := readRef(r, user, ref)
	if err != nil || !found {
		return mimi.ClientURI{}, false, err
	}
	client, found, err := readClient(r, user, at.position)
	return client.client, found, err
}

func readUser(r Reader, user mimi.UserURI) (userRecord, bool, error) {
	return readRecordUpTo(r, userKey(keyUser, user), "user", userVersion, readUserRecord)
}

func readClient(r Reader, user mimi.UserURI, position uint32) (clientRecord, bool, error) {
	return readRecord(r, clientKey(user, position), "client", readClientRecord)
}

func readRef(r Reader, user mimi.UserURI, ref mls.KeyPackageRef) (refRecord, bool, error) {
	return readRefAt(r, refKey(user, ref))
}

func readRefAt(r Reader, k key) (refRecord, bool, error) {
	return readRecordUpTo(r, k, "KeyPackage reference", refVersion, readRefRecord)
}

func visitClients(r Reader, user mimi.UserURI, visit func(position uint32, c clientRecord) (bool, error)) error {
	return scanRecords(r, userKey(keyClient, user), "client", readClientRecord, func(rest []byte, c clientRecord) (bool, error) {
		return visit(binary.BigEndian.Uint32(rest), c)
	})
}

func clientKey(user mimi.UserURI, position uint32) key {
	return userKey(keyClient, user).uint32(position)
}

func clientPositionKey(user mimi.UserURI, client mimi.ClientURI) key {
	return userKey(keyClientPosition, user).hashed(client.String())
}

func packageKey(user mimi.UserURI, position uint32, number uint64) key {
	return userKey(keyKeyPackage, user).uint32(position).uint64(number)
}

func refKey(user mimi.UserURI, ref mls.KeyPackageRef) key {
	return userKey(keyKeyPackageRef, user).text(string(ref))
}
