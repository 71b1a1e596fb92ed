package mimi

import (
	"fmt"
	"slices"

	"parley/mls"
)

// EndpointBulkKeyMaterial is where a directory document lists the bulk claim, an extension of ours (docs/extensions.md). Its
// template has no variable.
const EndpointBulkKeyMaterial Endpoint = "parley.bulkKeyMaterial"

// BulkTargetsMax is how many users one bulk claim may name.
const BulkTargetsMax = 100

// bulkFormat begins both structures of the bulk claim.
const bulkFormat = 1

// BulkForm tells the two forms of a bulk claim apart.
type BulkForm uint8

const (
	BulkSignedOnce BulkForm = 1 // one signature over the whole list of targets
	BulkSeparate   BulkForm = 2 // a whole KeyMaterialRequest for each target, which a provider without the extension understands
)

func (f BulkForm) String() string {
	return enumName(uint8(f), "BulkForm", "reserved", "signedOnce", "separate")
}

// BulkKeyMaterialRequest claims KeyPackages of many users at once: a SignedBulkClaim or SeparateClaims.
//
//	struct {
//	    uint8 format = 1;
//	    BulkForm form;
//	    select (form) {
//	        case signedOnce: SignedBulkClaim claim;
//	        case separate:   KeyMaterialRequest requests<V>;
//	    };
//	} BulkKeyMaterialRequest;
type BulkKeyMaterialRequest interface {
	Form() BulkForm
	// Requester is the user in whose name the KeyPackages are claimed, or the pseudonym that its provider has given it.
	Requester() UserURI
	// ForRoom is the room that they are for; none where the claim is for no room.
	ForRoom() RoomURI
	// Targets are the users, each once, in the request's order: at least one, at most BulkTargetsMax.
	Targets() []UserURI
	Marshal() []byte
	appendForm(w *mls.Writer)
}

// SignedBulkClaim is the form that is signed once over all its targets. Whoever forwards it does so as it is, to each of the
// targets' providers, and each answers for its own users.
//
//	struct {
//	    IdentifierUri requestingUser;
//	    IdentifierUri targetUsers<V>;          // 1 to 100, each once
//	    IdentifierUri roomId;                  // empty: for no room
//	    ProtocolVersion versions<V>;           // empty: mls10
//	    CipherSuite acceptableCiphersuites<V>; // in order of preference; empty: suite 1
//	    RequiredCapabilities requiredCapabilities;
//	    SignaturePublicKey requesterSignatureKey;
//	    Credential requesterCredential;
//	    opaque bulk_claim_signature<V>;        // SignWithLabel(., "ParleyBulkClaimTBS", all of the above)
//	} SignedBulkClaim;
type SignedBulkClaim struct {
	RequestingUser       UserURI
	TargetUsers          []UserURI
	Room                 RoomURI
	Versions             []mls.Version
	Suites               []mls.CipherSuite
	RequiredCapabilities mls.RequiredCapabilities
	SignatureKey         []byte
	Credential           mls.Credential
	Signature            []byte // over SignedBytes

	requestingSpelling, roomSpelling spelling
	targetSpellings                  []spelling
}

// SeparateClaims is the form of whole requests of the draft, one for each target, all of one requester and for one room.
type SeparateClaims struct{ Requests []KeyMaterialRequest }

// bulkClaimLabel is what the signature is labelled with (RFC 9420 §5.1.2).
const bulkClaimLabel = "ParleyBulkClaimTBS"

func (SignedBulkClaim) Form() BulkForm { return BulkSignedOnce }
func (SeparateClaims) Form() BulkForm  { return BulkSeparate }

func (m SignedBulkClaim) Requester() UserURI { return m.RequestingUser }
func (m SignedBulkClaim) ForRoom() RoomURI   { return m.Room }
func (m SignedBulkClaim) Targets() []UserURI { return slices.Clone(m.TargetUsers) }

func (m SeparateClaims) Requester() UserURI { return m.Requests[0].RequestingUser }
func (m SeparateClaims) ForRoom() RoomURI   { return m.Requests[0].Room }

func (m SeparateClaims) Targets() []UserURI {
	targets := make([]UserURI, len(m.Requests))
	for i, r := range m.Requests {
		targets[i] = r.TargetUser
	}
	return targets
}

// AcceptableVersions are the MLS versions that the requester can use: mls10 where it names none.
func (m SignedBulkClaim) AcceptableVersions() []mls.Version {
	if len(m.Versions) == 0 {
		return []mls.Version{mls.MLS10}
	}
	return m.Versions
}

// AcceptableSuites are those of the KeyPackages that the requester can use, in order of preference: suite 1 where it names none.
func (m SignedBulkClaim) AcceptableSuites() []mls.CipherSuite {
	if len(m.Suites) == 0 {
		return []mls.CipherSuite{1}
	}
	return m.Suites
}

func ReadBulkKeyMaterialRequest(r *mls.Reader) BulkKeyMaterialRequest {
	readBulkFormat(r)
	form := BulkForm(r.Uint8("form"))
	var m BulkKeyMaterialRequest
	switch form {
	case BulkSignedOnce:
		m = mls.ReadIn(r, "claim", ReadSignedBulkClaim)
	case BulkSeparate:
		m = SeparateClaims{mls.ReadList(r, "requests", ReadKeyMaterialRequest)}
	default:
		failEnum(r, "form", uint8(form))
	}
	if !r.Failed() {
		checkBulkTargets(r, m)
	}
	return m
}

// checkBulkTargets refuses a list that is empty, too long, or names a user twice, and separate requests that differ in requester or room.
func checkBulkTargets(r *mls.Reader, m BulkKeyMaterialRequest) {
	targets := m.Targets()
	if len(targets) == 0 || len(targets) > BulkTargetsMax {
		r.Fail("targetUsers", fmt.Sprintf("between 1 and %d are taken, not %d", BulkTargetsMax, len(targets)))
		return
	}
	seen := make(map[UserURI]bool, len(targets))
	for _, target := range targets {
		if seen[target] {
			r.Fail("targetUsers", fmt.Sprintf("it names %s twice", target))
			return
		}
		seen[target] = true
	}
	separate, ok := m.(SeparateClaims)
	if !ok {
		return
	}
	for _, request := range separate.Requests[1:] {
		if request.RequestingUser != m.Requester() || request.Room != m.ForRoom() {
			r.Fail("requests", "they are of several requesters or for several rooms")
			return
		}
	}
}

// ParseBulkKeyMaterialRequest takes a request that names each target once and is within the limits.
func ParseBulkKeyMaterialRequest(b []byte) (BulkKeyMaterialRequest, error) {
	return mls.Parse("BulkKeyMaterialRequest", b, ReadBulkKeyMaterialRequest)
}

func readBulkFormat(r *mls.Reader) {
	if format := r.Uint8("format"); !r.Failed() && format != bulkFormat {
		r.Fail("format", fmt.Sprintf("format %d is not known", format))
	}
}

func (m SignedBulkClaim) Marshal() []byte { return marshalBulk(m) }
func (m SeparateClaims) Marshal() []byte  { return marshalBulk(m) }

func marshalBulk(m BulkKeyMaterialRequest) []byte {
	var w mls.Writer
	w.Uint8(bulkFormat)
	w.Uint8(uint8(m.Form()))
	m.appendForm(&w)
	return w.Bytes()
}

func (m SignedBulkClaim) appendForm(w *mls.Writer) { m.AppendTo(w) }
func (m SeparateClaims) appendForm(w *mls.Writer)  { mls.AppendList(w, m.Requests) }

func ReadSignedBulkClaim(r *mls.Reader) SignedBulkClaim {
	var m SignedBulkClaim
	m.RequestingUser, m.requestingSpelling = readSpelled(r, "requestingUser", ParseUserURI, false)
	m.TargetUsers = mls.ReadList(r, "targetUsers", func(r *mls.Reader) UserURI {
		target, written := readSpelled(r, "", ParseUserURI, false)
		m.targetSpellings = append(m.targetSpellings, written)
		return target
	})
	m.Room, m.roomSpelling = readSpelled(r, "roomId", ParseRoomURI, true)
	m.Versions = mls.ReadList(r, "versions", func(r *mls.Reader) mls.Version { return mls.Version(r.Uint16("")) })
	m.Suites = readSuites(r, "acceptableCiphersuites")
	m.RequiredCapabilities = mls.ReadIn(r, "requiredCapabilities", mls.ReadRequiredCapabilities)
	m.SignatureKey = r.Opaque("requesterSignatureKey")
	m.Credential = mls.ReadIn(r, "requesterCredential", mls.ReadCredential)
	m.Signature = r.Opaque("bulk_claim_signature")
	return m
}

func (m SignedBulkClaim) AppendTo(w *mls.Writer) {
	m.appendTerms(w, m.TargetUsers)
	w.Opaque(m.Signature)
}

// SignedBytes is what the signature covers: the claim's bytes less the signature.
func (m SignedBulkClaim) SignedBytes() []byte {
	var w mls.Writer
	m.appendTerms(&w, m.TargetUsers)
	return w.Bytes()
}

// TermsFor are the signed bytes as they would be for one target alone: what tells a target's part of a claim from any other's.
func (m SignedBulkClaim) TermsFor(target UserURI) []byte {
	m.targetSpellings = nil
	var w mls.Writer
	m.appendTerms(&w, []UserURI{target})
	return w.Bytes()
}

func (m SignedBulkClaim) appendTerms(w *mls.Writer, targets []UserURI) {
	m.requestingSpelling.appendTo(w, m.RequestingUser.String())
	w.Vector(func(w *mls.Writer) {
		for i, target := range targets {
			var written spelling
			if i < len(m.targetSpellings) {
				written = m.targetSpellings[i]
			}
			written.appendTo(w, target.String())
		}
	})
	m.roomSpelling.appendTo(w, m.Room.String())
	w.Vector(func(w *mls.Writer) {
		for _, v := range m.Versions {
			w.Uint16(uint16(v))
		}
	})
	appendSuites(w, m.Suites)
	m.RequiredCapabilities.AppendTo(w)
	w.Opaque(m.SignatureKey)
	m.Credential.AppendTo(w)
}

// VerifySignature checks the claim's signature under its own key, by the scheme that has keys of that length. Whether the
// credential names the requesting user, and the key is that credential's, is not checked.
func (m SignedBulkClaim) VerifySignature() bool {
	return mls.VerifyByKeyLength(m.SignatureKey, bulkClaimLabel, m.SignedBytes(), m.Signature)
}

// Signed returns the claim with the key in it and its signature.
func (m SignedBulkClaim) Signed(key *mls.SigningKey) (SignedBulkClaim, error) {
	m.SignatureKey = key.Public()
	signature, err := key.SignWithLabel(bulkClaimLabel, m.SignedBytes())
	m.Signature = signature
	return m, err
}
