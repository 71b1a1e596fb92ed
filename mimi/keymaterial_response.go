package mimi

import (
	"fmt"

	"parley/mls"
)

// KeyMaterialUserCode says how a claim went for a user (mimi-protocol-06 §5.2).
type KeyMaterialUserCode uint8

const (
	KeyMaterialSuccess              KeyMaterialUserCode = 0 // a KeyPackage of every client
	KeyMaterialPartialSuccess       KeyMaterialUserCode = 1 // of at least one
	KeyMaterialIncompatibleProtocol KeyMaterialUserCode = 2
	KeyMaterialNoCompatibleMaterial KeyMaterialUserCode = 3 // of none; also where every client's are exhausted
	KeyMaterialUserUnknown          KeyMaterialUserCode = 4
	KeyMaterialNoConsent            KeyMaterialUserCode = 5 // may stand for any refusal that must not be told
	KeyMaterialNoConsentForRoom     KeyMaterialUserCode = 6
	KeyMaterialUserDeleted          KeyMaterialUserCode = 7
)

func (c KeyMaterialUserCode) String() string {
	return enumName(uint8(c), "KeyMaterialUserCode", "success", "partialSuccess", "incompatibleProtocol",
		"noCompatibleMaterial", "userUnknown", "noConsent", "noConsentForThisRoom", "userDeleted")
}

// ListsClients reports whether a response with this code may list the user's clients; with any other it must not.
func (c KeyMaterialUserCode) ListsClients() bool {
	return c == KeyMaterialSuccess || c == KeyMaterialPartialSuccess || c == KeyMaterialNoCompatibleMaterial
}

// KeyMaterialClientCode says how a claim went for one client (mimi-protocol-06 §5.2).
type KeyMaterialClientCode uint8

const (
	KeyMaterialClientSuccess     KeyMaterialClientCode = 0
	KeyMaterialClientExhausted   KeyMaterialClientCode = 1
	KeyMaterialNothingCompatible KeyMaterialClientCode = 2
)

func (c KeyMaterialClientCode) String() string {
	return enumName(uint8(c), "KeyMaterialClientCode", "success", "keyMaterialExhausted", "nothingCompatible")
}

// KeyMaterialResponse answers a KeyMaterialRequest (mimi-protocol-06 §5.2).
//
//	struct {
//	    Protocol protocol;
//	    KeyMaterialUserCode userStatus;
//	    IdentifierUri userUri;
//	    ClientKeyMaterial clients<V>;   // empty unless the code lists clients
//	} KeyMaterialResponse;
type KeyMaterialResponse struct {
	Status  KeyMaterialUserCode
	User    UserURI
	Clients []ClientKeyMaterial

	userSpelling spelling
}

// ClientKeyMaterial is one client's part of a KeyMaterialResponse.
//
//	struct {
//	    KeyMaterialClientCode clientStatus;
//	    IdentifierUri clientUri;
//	    select (clientStatus) {
//	        case success:              KeyPackage keyPackage;     // bare
//	        case keyMaterialExhausted: struct {};
//	        case nothingCompatible:    optional<Capabilities> clientCapabilities;
//	    };
//	} ClientKeyMaterial;
type ClientKeyMaterial struct {
	Client   ClientURI
	Material ClientMaterial

	clientSpelling spelling
}

// ClientMaterial is a ClaimedKeyPackage, a MaterialExhausted or a NothingCompatible.
type ClientMaterial interface {
	Code() KeyMaterialClientCode
	appendMaterial(w *mls.Writer)
}

// ClaimedKeyPackage is the client's KeyPackage, for this requester alone.
type ClaimedKeyPackage struct{ KeyPackage mls.KeyPackage }

// MaterialExhausted: the client has no KeyPackage left.
type MaterialExhausted struct{}

// NothingCompatible: the client has KeyPackages, but none that the request can use. Capabilities may be nil: what a client
// supports need not be told.
type NothingCompatible struct{ Capabilities *mls.Capabilities }

func (ClaimedKeyPackage) Code() KeyMaterialClientCode { return KeyMaterialClientSuccess }
func (MaterialExhausted) Code() KeyMaterialClientCode { return KeyMaterialClientExhausted }
func (NothingCompatible) Code() KeyMaterialClientCode { return KeyMaterialNothingCompatible }

func ReadKeyMaterialResponse(r *mls.Reader) KeyMaterialResponse {
	var m KeyMaterialResponse
	readProtocol(r, "protocol")
	m.Status = KeyMaterialUserCode(r.Uint8("userStatus"))
	if m.Status > KeyMaterialUserDeleted {
		failEnum(r, "userStatus", uint8(m.Status))
	}
	m.User, m.userSpelling = readSpelled(r, "userUri", ParseUserURI, false)
	m.Clients = mls.ReadList(r, "clients", ReadClientKeyMaterial)
	if !r.Failed() && len(m.Clients) > 0 && !m.Status.ListsClients() {
		r.Fail("clients", fmt.Sprintf("a response of %s must not list clients", m.Status))
	}
	return m
}

func ParseKeyMaterialResponse(b []byte) (KeyMaterialResponse, error) {
	return mls.Parse("KeyMaterialResponse", b, ReadKeyMaterialResponse)
}

func (m KeyMaterialResponse) AppendTo(w *mls.Writer) {
	appendProtocol(w)
	w.Uint8(uint8(m.Status))
	m.userSpelling.appendTo(w, m.User.String())
	mls.AppendList(w, m.Clients)
}

func (m KeyMaterialResponse) Marshal() []byte { return marshal(m) }

func ReadClientKeyMaterial(r *mls.Reader) ClientKeyMaterial {
	var m ClientKeyMaterial
	code := KeyMaterialClientCode(r.Uint8("clientStatus"))
	if code > KeyMaterialNothingCompatible {
		failEnum(r, "clientStatus", uint8(code))
	}
	m.Client, m.clientSpelling = readSpelled(r, "clientUri", ParseClientURI, false)
	switch code {
	case KeyMaterialClientSuccess:
		m.Material = ClaimedKeyPackage{mls.ReadIn(r, "keyPackage", mls.ReadKeyPackage)}
	case KeyMaterialClientExhausted:
		m.Material = MaterialExhausted{}
	case KeyMaterialNothingCompatible:
		m.Material = NothingCompatible{mls.ReadOptional(r, "clientCapabilities", mls.ReadCapabilities)}
	}
	return m
}

func (m ClientKeyMaterial) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(m.Material.Code()))
	m.clientSpelling.appendTo(w, m.Client.String())
	m.Material.appendMaterial(w)
}

func (c ClaimedKeyPackage) appendMaterial(w *mls.Writer) { c.KeyPackage.AppendTo(w) }

func (MaterialExhausted) appendMaterial(*mls.Writer) {}

func (c NothingCompatible) appendMaterial(w *mls.Writer) {
	w.Bool(c.Capabilities != nil)
	if c.Capabilities != nil {
		c.Capabilities.AppendTo(w)
	}
}
