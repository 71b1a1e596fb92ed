package mimi

import (
	"fmt"

	"parley/mls"
)

// BulkUserCode says how a bulk claim went for a user. Below 0x80 it is a KeyMaterialUserCode, which means what the draft says.
type BulkUserCode uint8

// The codes that the draft does not have. After the first three the same request, sent again, may be answered otherwise.
const (
	BulkThrottled   BulkUserCode = 0x80 // a quota is used up; nothing was taken
	BulkUnavailable BulkUserCode = 0x81 // who decides could not be reached in time; nothing was taken
	BulkUndecided   BulkUserCode = 0x82 // KeyPackages may have been taken; the same request again gets the same ones
	BulkAnswerFull  BulkUserCode = 0x83 // KeyPackages were taken and do not fit; the same Idempotency-Key for this user alone gets them
	BulkElsewhere   BulkUserCode = 0x84 // the user belongs to another provider, and who answers is not the hub of the room
	BulkNotOffered  BulkUserCode = 0x85 // the user's provider takes no claim that is signed once: send a request for this user
	BulkFailed      BulkUserCode = 0x86 // the user's provider refused the request, or its answer cannot be used
	BulkRoomFull    BulkUserCode = 0x87 // the room takes no more claimed KeyPackages until some of those are used or have expired
)

var bulkCodeNames = map[BulkUserCode]string{
	BulkThrottled: "throttled", BulkUnavailable: "unavailable", BulkUndecided: "undecided", BulkAnswerFull: "answerFull",
	BulkElsewhere: "elsewhere", BulkNotOffered: "notOffered", BulkFailed: "failed", BulkRoomFull: "roomFull",
}

func (c BulkUserCode) String() string {
	if name, own := bulkCodeNames[c]; own {
		return name
	}
	return KeyMaterialUserCode(c).String()
}

func (c BulkUserCode) known() bool {
	_, own := bulkCodeNames[c]
	return own || c <= BulkUserCode(KeyMaterialUserDeleted)
}

// ListsClients reports whether an answer with this code lists the user's clients.
func (c BulkUserCode) ListsClients() bool {
	return c < BulkThrottled && KeyMaterialUserCode(c).ListsClients()
}

// NamesWait reports whether an answer with this code says when to ask again.
func (c BulkUserCode) NamesWait() bool {
	return c == BulkThrottled || c == BulkUnavailable || c == BulkUndecided
}

// BulkKeyMaterialResponse answers a BulkKeyMaterialRequest: each of its targets, in its order.
//
//	struct {
//	    uint8 format = 1;
//	    BulkUserMaterial users<V>;
//	} BulkKeyMaterialResponse;
type BulkKeyMaterialResponse struct{ Users []BulkUserMaterial }

// BulkUserMaterial is the part of one user.
//
//	struct {
//	    BulkUserCode userStatus;
//	    IdentifierUri userUri;
//	    select (userStatus) {
//	        case success:
//	        case partialSuccess:
//	        case noCompatibleMaterial:
//	            ClientKeyMaterial clients<V>;    // as with protocol mls10
//	        case throttled:
//	        case unavailable:
//	        case undecided:
//	            uint32 retryAfterSeconds;
//	        default:
//	            struct {};
//	    };
//	} BulkUserMaterial;
type BulkUserMaterial struct {
	Status            BulkUserCode
	User              UserURI
	Clients           []ClientKeyMaterial // where the code lists clients
	RetryAfterSeconds uint32              // where the code names a wait

	userSpelling spelling
}

func ReadBulkKeyMaterialResponse(r *mls.Reader) BulkKeyMaterialResponse {
	readBulkFormat(r)
	m := BulkKeyMaterialResponse{Users: mls.ReadList(r, "users", ReadBulkUserMaterial)}
	if !r.Failed() && len(m.Users) > BulkTargetsMax {
		r.Fail("users", fmt.Sprintf("it lists %d, more than %d", len(m.Users), BulkTargetsMax))
	}
	return m
}

func ParseBulkKeyMaterialResponse(b []byte) (BulkKeyMaterialResponse, error) {
	return mls.Parse("BulkKeyMaterialResponse", b, ReadBulkKeyMaterialResponse)
}

func (m BulkKeyMaterialResponse) AppendTo(w *mls.Writer) {
	w.Uint8(bulkFormat)
	mls.AppendList(w, m.Users)
}

func (m BulkKeyMaterialResponse) Marshal() []byte { return marshal(m) }

func ReadBulkUserMaterial(r *mls.Reader) BulkUserMaterial {
	var m BulkUserMaterial
	m.Status = BulkUserCode(r.Uint8("userStatus"))
	if !m.Status.known() {
		failEnum(r, "userStatus", uint8(m.Status))
	}
	m.User, m.userSpelling = readSpelled(r, "userUri", ParseUserURI, false)
	switch {
	case m.Status.ListsClients():
		m.Clients = mls.ReadList(r, "clients", ReadClientKeyMaterial)
	case m.Status.NamesWait():
		m.RetryAfterSeconds = r.Uint32("retryAfterSeconds")
	}
	return m
}

func (m BulkUserMaterial) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(m.Status))
	m.userSpelling.appendTo(w, m.User.String())
	switch {
	case m.Status.ListsClients():
		mls.AppendList(w, m.Clients)
	case m.Status.NamesWait():
		w.Uint32(m.RetryAfterSeconds)
	}
}

func (m BulkUserMaterial) Marshal() []byte { return marshal(m) }
