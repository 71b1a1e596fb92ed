package judge

import (
	"fmt"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// requestKind is a request's number between nodes. Append only.
type requestKind uint16

const (
	kindCreateRoom requestKind = iota + 1
	kindUpdate
	kindSubmit
	kindGroupInfo
	kindUpload
	kindClaim
	kindRecordRoutes
	kindNotify
	kindAcknowledge
	kindDescribeRoom
)

// Kinds of users' inventories and consent.
const (
	kindSetConsents       requestKind = 11
	kindSetConsentPolicy  requestKind = 12
	kindReadConsents      requestKind = 13
	kindDeleteKeyPackages requestKind = 14
	kindReadInventory     requestKind = 15
)

const kindClaimInBulk requestKind = 17

// Those of the life of rooms and of who is in them.
const (
	kindDepart       requestKind = 20
	kindDestroyRoom  requestKind = 21
	kindReserveGroup requestKind = 22
)

// Kinds of what is submitted in bulk.
const (
	kindSubmitBatch    requestKind = 40
	kindRecordVerdicts requestKind = 41
	kindSubmissions    requestKind = 42
)

// Those of what other hubs deliver.
const (
	kindReceiveBodies requestKind = 55
	kindFollowGroup   requestKind = 56
)

// Those of outboxes by room.
const kindAcknowledgeRooms requestKind = 65

// Those of rooms of fixed membership.
const (
	kindCreateFixedRoom requestKind = 60
	kindReserveMembers  requestKind = 61
	kindForgoMembers    requestKind = 62
)

// That of rooms that depend on others.
const kindConsiderParent requestKind = 63

// Those of a cluster that has lost a part of its history.
const (
	kindFastForward    requestKind = 75
	kindFollowedEpoch  requestKind = 76
	kindStaleRooms     requestKind = 77
	kindCreateRoomAnew requestKind = 78
)

// requestVersion begins every encoded request.
const requestVersion = 1

// EncodeRequest carries a request to another node as the bytes that it was made from; DecodeRequest parses them again there, so
// that a node never trusts another's parsing.
//
//	struct {
//	    uint8 version;
//	    uint16 kind;
//	    select (kind) { … the constructor's arguments in order … };
//	} Request;
func EncodeRequest(r Request) []byte {
	var w mls.Writer
	w.Uint8(requestVersion)
	w.Uint16(uint16(r.kind()))
	r.appendArguments(&w)
	return w.Bytes()
}

// DecodeRequest is EncodeRequest's inverse. Errors are *mls.MalformedError.
func DecodeRequest(b []byte) (Request, error) {
	r := mls.NewReader("Request", b)
	if v := r.Uint8("version"); !r.Failed() && v != requestVersion {
		r.Fail("version", fmt.Sprintf("version %d is unknown", v))
	}
	made, err := readRequest(r, requestKind(r.Uint16("kind")))
	if failed := r.Close(); failed != nil {
		return nil, failed
	}
	return made, err
}

func readRequest(r *mls.Reader, kind requestKind) (Request, error) {
	switch kind {
	case kindCreateRoom:
		return constructed(readCreateRoom(r))
	case kindCreateFixedRoom:
		return readCreateFixedRoom(r)
	case kindCreateRoomAnew:
		return readCreateRoomAnew(r)
	case kindFastForward:
		return readFastForward(r)
	case kindFollowedEpoch:
		return constructed(NewFollowedEpoch(readURI(r, "hub", mimi.ParseProvider), readURI(r, "room", mimi.ParseRoomURI)))
	case kindStaleRooms:
		return readStaleRooms(r)
	case kindReserveMembers:
		return readReserveMembers(r)
	case kindForgoMembers:
		return readForgoMembers(r)
	case kindConsiderParent:
		return readConsiderParent(r)
	case kindUpdate:
		return constructed(NewUpdate(readURI(r, "from", mimi.ParseProvider), readURI(r, "room", mimi.ParseRoomURI), r.Opaque("body")))
	case kindSubmit:
		return constructed(NewSubmit(readURI(r, "from", mimi.ParseProvider), readURI(r, "room", mimi.ParseRoomURI), r.Opaque("body")))
	case kindGroupInfo:
		return constructed(NewGroupInfo(readURI(r, "from", mimi.ParseProvider), readURI(r, "room", mimi.ParseRoomURI), r.Opaque("body")))
	case kindUpload:
		return constructed(NewUpload(readURI(r, "user", mimi.ParseUserURI), readURI(r, "client", mimi.ParseClientURI),
			mls.ReadList(r, "packages", func(r *mls.Reader) []byte { return r.Opaque("") })))
	case kindClaim:
		return constructed(NewClaim(readURI(r, "from", mimi.ParseProvider), readURI(r, "target", mimi.ParseUserURI),
			r.Opaque("body"), string(r.Opaque("idempotencyKey"))))
	case kindRecordRoutes:
		return constructed(NewRecordRoutes(readURI(r, "room", mimi.ParseRoomURI), mls.ReadList(r, "routes", readRoute)))
	case kindNotify:
		return constructed(NewNotify(readURI(r, "hub", mimi.ParseProvider), readURI(r, "room", mimi.ParseRoomURI), r.Opaque("body")))
	case kindReceiveBodies:
		return readReceiveBodies(r)
	case kindFollowGroup:
		return constructed(NewFollowGroup(readURI(r, "hub", mimi.ParseProvider), mls.GroupID(r.Opaque("group")), readURI(r, "room", mimi.ParseRoomURI)))
	case kindAcknowledge:
		return readAcknowledge(r, false)
	case kindAcknowledgeRooms:
		return readAcknowledge(r, true)
	case kindClaimInBulk:
		return constructed(newClaimInBulk(readURI(r, "from", mimi.ParseProvider), readURI(r, "target", mimi.ParseUserURI),
			r.Opaque("body"), string(r.Opaque("idempotencyKey"))))
	case kindDescribeRoom:
		return constructed(NewDescribeRoom(readURI(r, "room", mimi.ParseRoomURI)))
	case kindSetConsents:
		return constructed(NewSetConsents(readURI(r, "user", mimi.ParseUserURI), mls.ReadList(r, "entries", readConsentEntry)))
	case kindSetConsentPolicy:
		return constructed(NewSetConsentPolicy(readURI(r, "user", mimi.ParseUserURI), fsm.ConsentPolicy(r.Uint8("policy"))))
	case kindReadConsents:
		return constructed(NewReadConsents(readURI(r, "user", mimi.ParseUserURI), mimi.ReadOptionalUserURI(r, "requester"),
			r.Opaque("from"), r.Uint16("max")))
	case kindDeleteKeyPackages:
		return constructed(NewDeleteKeyPackages(readURI(r, "user", mimi.ParseUserURI), readURI(r, "client", mimi.ParseClientURI),
			mls.ReadList(r, "references", func(r *mls.Reader) mls.KeyPackageRef { return mls.KeyPackageRef(r.Opaque("")) })))
	case kindReadInventory:
		return constructed(NewReadInventory(readURI(r, "user", mimi.ParseUserURI)))
	case kindQueue:
		return readQueue(r)
	case kindSettleQueue:
		return readSettleQueue(r)
	case kindAskQueue:
		return readAskQueue(r)
	case kindDepart:
		return readDepart(r)
	case kindDestroyRoom:
		return constructed(NewDestroyRoom(readURI(r, "room", mimi.ParseRoomURI)))
	case kindReserveGroup:
		return constructed(NewReserveGroup(mls.GroupID(r.Opaque("group")), readURI(r, "room", mimi.ParseRoomURI)))
	case kindCreateJoiningCode:
		return readCreateJoiningCode(r)
	case kindRevokeJoiningCode:
		return readRevokeJoiningCode(r)
	case kindListJoiningCodes:
		return constructed(NewListJoiningCodes(readURI(r, "room", mimi.ParseRoomURI)))
	case kindAcknowledgeEvents:
		return readAcknowledgeEvents(r)
	case kindAcknowledgeThrough:
		return readAcknowledgeThrough(r)
	case kindSubmitBatch:
		return readSubmitBatch(r)
	case kindRecordVerdicts:
		return readRecordVerdicts(r)
	case kindSubmissions:
		return readSubmissions(r)
	default:
		r.Fail("kind", fmt.Sprintf("request kind %d is unknown", kind))
		return nil, nil
	}
}

// constructed keeps a failed constructor from becoming a Request that holds a nil pointer.
func constructed[T Request](made T, err error) (Request, error) {
	if err != nil {
		return nil, err
	}
	return made, nil
}

func readURI[T any](r *mls.Reader, field string, parse func(string) (T, error)) T {
	name, err := parse(string(r.Opaque(field)))
	if err != nil && !r.Failed() {
		r.Fail(field, err.Error())
	}
	return name
}

// readOptionalURI reads a URI that may be left out; its zero value then.
func readOptionalURI[T any](r *mls.Reader, field string, parse func(string) (T, error)) T {
	var none T
	text := r.Opaque(field)
	if len(text) == 0 {
		return none
	}
	name, err := parse(string(text))
	if err != nil && !r.Failed() {
		r.Fail(field, err.Error())
	}
	return name
}

func appendURIs(w *mls.Writer, uris ...interface{ String() string }) {
	for _, uri := range uris {
		w.Opaque([]byte(uri.String()))
	}
}

func readRoute(r *mls.Reader) fsm.KeyPackageRoute {
	return fsm.KeyPackageRoute{
		Ref:      mls.KeyPackageRef(r.Opaque("ref")),
		Provider: readURI(r, "provider", mimi.ParseProvider),
		User:     readURI(r, "user", mimi.ParseUserURI),
		Client:   readURI(r, "client", mimi.ParseClientURI),
		NotAfter: r.Uint64("notAfter"),
	}
}
