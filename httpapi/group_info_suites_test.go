package httpapi

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	stdhpke "crypto/hpke"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/http"
	"testing"

	"github.com/cloudflare/circl/hpke"
	"github.com/cloudflare/circl/sign/ed448"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// wire takes TLS presentation language apart without a line of ours (RFC 9420 §2.1.2).
type wire struct {
	t    *testing.T
	rest []byte
}

func (w *wire) take(n int) []byte {
	w.t.Helper()
	if n > len(w.rest) {
		w.t.Fatalf("%d octets are wanted and %d left", n, len(w.rest))
	}
	taken := w.rest[:n]
	w.rest = w.rest[n:]
	return taken
}

func (w *wire) uint16() uint16 { return binary.BigEndian.Uint16(w.take(2)) }

func (w *wire) opaque() []byte {
	w.t.Helper()
	switch w.rest[0] >> 6 {
	case 0:
		return w.take(int(w.take(1)[0]))
	case 1:
		return w.take(int(w.uint16() & 0x3fff))
	case 2:
		return w.take(int(binary.BigEndian.Uint32(w.take(4)) & 0x3fffffff))
	default:
		w.t.Fatal("a length of 8 octets")
		return nil
	}
}

// opaqueOf writes opaque<V>.
func opaqueOf(b []byte) []byte {
	switch n := len(b); {
	case n < 1<<6:
		return append([]byte{byte(n)}, b...)
	case n < 1<<14:
		return append(binary.BigEndian.AppendUint16(nil, uint16(n)|0x4000), b...)
	default:
		return append(binary.BigEndian.AppendUint32(nil, uint32(n)|0x80000000), b...)
	}
}

// signedContent is SignContent of RFC 9420 §5.1.2, and EncryptContext of §5.1.3, which look alike.
func signedContent(label string, content []byte) []byte {
	return append(opaqueOf([]byte("MLS 1.0 "+label)), opaqueOf(content)...)
}

func verified(suite mls.CipherSuite, public, content, signature []byte) bool {
	onCurve := func(curve elliptic.Curve, hash crypto.Hash) bool {
		key, err := ecdsa.ParseUncompressedPublicKey(curve, public)
		h := hash.New()
		h.Write(content)
		return err == nil && ecdsa.VerifyASN1(key, h.Sum(nil), signature)
	}
	switch suite {
	case 1, 3:
		return ed25519.Verify(public, content, signature)
	case 2:
		return onCurve(elliptic.P256(), crypto.SHA256)
	case 7:
		return onCurve(elliptic.P384(), crypto.SHA384)
	case 5:
		return onCurve(elliptic.P521(), crypto.SHA512)
	default:
		return ed448.Verify(public, content, signature, "")
	}
}

// opened decrypts with the standard library, which has all but X448.
func opened(suite mls.CipherSuite, private, info, enc, sealed []byte) ([]byte, error) {
	curves := map[mls.CipherSuite]ecdh.Curve{1: ecdh.X25519(), 2: ecdh.P256(), 3: ecdh.X25519(), 5: ecdh.P521(), 7: ecdh.P384()}
	if curve, has := curves[suite]; has {
		key, err := stdhpke.DHKEM(curve).NewPrivateKey(private)
		if err != nil {
			return nil, err
		}
		kdf := map[mls.CipherSuite]stdhpke.KDF{5: stdhpke.HKDFSHA512(), 7: stdhpke.HKDFSHA384()}[suite]
		if kdf == nil {
			kdf = stdhpke.HKDFSHA256()
		}
		aead := map[mls.CipherSuite]stdhpke.AEAD{3: stdhpke.ChaCha20Poly1305(), 5: stdhpke.AES256GCM(), 7: stdhpke.AES256GCM()}[suite]
		if aead == nil {
			aead = stdhpke.AES128GCM()
		}
		return stdhpke.Open(key, kdf, aead, info, append(bytes.Clone(enc), sealed...))
	}
	aead := map[mls.CipherSuite]hpke.AEAD{4: hpke.AEAD_AES256GCM, 6: hpke.AEAD_ChaCha20Poly1305}[suite]
	key, err := hpke.KEM_X448_HKDF_SHA512.Scheme().UnmarshalBinaryPrivateKey(private)
	if err != nil {
		return nil, err
	}
	receiver, err := hpke.NewSuite(hpke.KEM_X448_HKDF_SHA512, hpke.KDF_HKDF_SHA512, aead).NewReceiver(key, info)
	if err != nil {
		return nil, err
	}
	opener, err := receiver.Setup(enc)
	if err != nil {
		return nil, err
	}
	return opener.Open(sealed, nil)
}

// bigTree is a ratchet tree of so many leaves, and no parents.
func bigTree(leaves int) []byte {
	var tree mls.Writer
	tree.Vector(func(w *mls.Writer) {
		for i := range leaves {
			if i > 0 {
				w.Bool(false)
			}
			leaf := keyPackage(clientURI(fmt.Sprintf("mimi://a.example/d/%d", i))).Leaf
			w.Bool(true)
			w.Uint8(1)
			leaf.AppendTo(w)
		}
	})
	return tree.Bytes()
}

// TestGroupInfoInEverySuite asks for the GroupInfo of a room of 1,000 members in each suite of RFC 9420, and reads the answer by
// the drafts alone: signature, encryption and layout.
func TestGroupInfoInEverySuite(t *testing.T) {
	d := openPeerDoor(t, nil)
	tree, pending := bigTree(1000), proposal().Marshal()
	for id := mls.CipherSuite(1); id <= 7; id++ {
		t.Run(fmt.Sprint("suite ", id), func(t *testing.T) {
			suite, err := id.Suite()
			if err != nil {
				t.Fatal(err)
			}
			if d.cluster.key, err = mls.GenerateSigningKey(suite.Scheme, rand.Reader); err != nil {
				t.Fatal(err)
			}
			entry := mls.ExternalSender{SignatureKey: d.cluster.key.Public(), Credential: mls.BasicCredential{Identity: []byte("as the room has it")}}
			info := mls.GroupInfo{
				Context: mls.GroupContext{Suite: id, GroupID: "group", Epoch: 7, TreeHash: []byte{1}, ConfirmedTranscriptHash: []byte{2},
					Extensions: mls.Extensions{}.With(mls.ExtensionExternalSenders, mls.ExternalSenders{entry}.Marshal())},
				Extensions: mls.Extensions{}.With(mls.ExtensionExternalPub, mls.ExternalPub{Key: []byte{9}}.Marshal()),
				Signature:  []byte{3},
			}.Marshal()
			d.hub.set(fsm.Disclosed{
				Suite: id, Epoch: 7, GroupInfo: info, RatchetTree: tree,
				Pending: []fsm.PendingProposal{{Ref: "r", Message: pending, AcceptedMillis: 44}},
			}, nil)
			public, private, err := suite.GenerateHPKEKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			joiner, err := mls.GenerateSigningKey(suite.Scheme, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			request, err := mimi.GroupInfoRequest{Suite: id, Credential: mls.BasicCredential{Identity: []byte(bob.String())}, HPKEKey: public}.Signed(joiner)
			if err != nil {
				t.Fatal(err)
			}
			a := d.post(t, path("groupInfo", ourRoom), request.Marshal())
			if a.status != http.StatusOK || len(a.body) > RequestBytesMax {
				t.Fatalf("%d, %d octets", a.status, len(a.body))
			}

			w := &wire{t, a.body}
			head := w.take(1)
			roomID := w.opaque()
			if status := w.take(1)[0]; head[0] != 1 || string(roomID) != ourRoom.String() || status != 1 {
				t.Fatalf("protocol %d, room %s, status %d", head[0], roomID, status)
			}
			named := w.uint16()
			hubKey, credentialType, identity := w.opaque(), w.uint16(), w.opaque()
			enc, sealed := w.opaque(), w.opaque()
			unsigned := a.body[:len(a.body)-len(w.rest)]
			signature := w.opaque()
			if len(w.rest) > 0 {
				t.Errorf("%d octets follow the signature", len(w.rest))
			}
			if named != uint16(id) || credentialType != 1 || string(identity) != "as the room has it" || !bytes.Equal(hubKey, entry.SignatureKey) {
				t.Errorf("suite %d, hub_sender %d %s", named, credentialType, identity)
			}
			if !verified(id, hubKey, signedContent("GroupInfoResponseTBS", unsigned), signature) {
				t.Error("the hub's signature is wrong")
			}
			plain, err := opened(id, private, signedContent("GroupInfo and ratchet_tree encryption", roomID), enc, sealed)
			if err != nil {
				t.Fatal(err)
			}
			want := append(bytes.Clone(info), 1) // full
			want = append(want, tree...)
			want = append(want, opaqueOf(binary.BigEndian.AppendUint64(bytes.Clone(pending), 44))...)
			if !bytes.Equal(plain, want) {
				t.Errorf("disclosed %d octets, wanted %d", len(plain), len(want))
			}
		})
	}
	if len(tree) < 100_000 {
		t.Errorf("the tree has %d octets", len(tree))
	}
}

// Who has to wait is told for how long and why, and a refusal ends after its status.
func TestGroupInfoWaits(t *testing.T) {
	d := openPeerDoor(t, nil)
	body, _ := groupInfoBody(t, bob)
	d.hub.set(fsm.Damped{NowMillis: 1000, UntilMillis: 21_500, Reason: "this user has taken the GroupInfo before"}, nil)
	a := d.post(t, path("groupInfo", ourRoom), body)
	p := problemIn(t, a)
	if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "21" || p.Type != "urn:parley:problem:"+problemTooMany {
		t.Errorf("%d, Retry-After %q, %+v", a.status, a.header.Get("Retry-After"), p)
	}
	for outcome, status := range map[fsm.Outcome]byte{fsm.NotAllowed{Reason: "the joining code does not admit"}: 2, fsm.NoSuchRoom{}: 3} {
		d.hub.set(outcome, nil)
		a := d.post(t, path("groupInfo", ourRoom), body)
		want := append(append([]byte{1}, opaqueOf([]byte(ourRoom.String()))...), status)
		if a.status != http.StatusOK || !bytes.Equal(a.body, want) {
			t.Errorf("%T: %d %x, wanted %x", outcome, a.status, a.body, want)
		}
	}
}
