package mls

import (
	"bytes"
	"testing"

	"github.com/cloudflare/circl/hpke"
)

// The passive-client vectors begin with a Welcome, so a test must open it as its client would. After that only the public
// state is followed: each Commit's signature covers the GroupContext that the Commits before it led to.

type passiveVector struct {
	Suite CipherSuite `json:"cipher_suite"`
	PSKs  []struct {
		ID  hexBytes `json:"psk_id"`
		PSK hexBytes `json:"psk"`
	} `json:"external_psks"`
	KeyPackage hexBytes `json:"key_package"`
	InitKey    hexBytes `json:"init_priv"`
	Welcome    hexBytes
	Tree       hexBytes `json:"ratchet_tree"`
	Epochs     []struct {
		Proposals []hexBytes
		Commit    hexBytes
	}
}

func TestPassiveClientVectors(t *testing.T) {
	commits := 0
	for _, file := range []string{"passive-client-welcome.json", "passive-client-handling-commit.json", "passive-client-random.json"} {
		for n, v := range loadVectors[passiveVector](t, file) {
			info := openWelcome(t, v)
			rawTree := []byte(v.Tree)
			if rawTree == nil {
				rawTree, _ = info.Extensions.Get(ExtensionRatchetTree)
			}
			group, err := NewPublicGroup(info, must(ParseRatchetTree(rawTree))(t))
			if err != nil {
				t.Fatalf("%s, vector %d: %v", file, n, err)
			}
			for e, epoch := range v.Epochs {
				if group, err = followEpoch(t, group, epoch.Proposals, epoch.Commit); err != nil {
					t.Fatalf("%s, vector %d, commit %d: %v", file, n, e, err)
				}
				commits++
			}
		}
	}
	if t.Logf("%d Commits replayed", commits); commits != 382 {
		t.Errorf("%d Commits were replayed, want 382", commits)
	}
}

func followEpoch(t *testing.T, group *PublicGroup, proposals []hexBytes, commit []byte) (*PublicGroup, error) {
	known := make(map[ProposalRef]*PublicMessage)
	now := uint64(0)
	for _, raw := range proposals {
		m := must(ParseMLSMessage(raw))(t).Body.(*PublicMessage)
		if add, ok := m.Content.Body.(Add); ok {
			lifetime, _ := add.KeyPackage.Lifetime()
			now = lifetime.NotBefore
		}
		ref, err := group.VerifyProposal(m, now)
		if err != nil {
			return nil, err
		}
		known[ref] = m
	}
	m := must(ParseMLSMessage(commit))(t).Body.(*PublicMessage)
	for _, p := range m.Content.Body.(Commit).Proposals {
		if inline, ok := p.(InlineProposal); ok {
			if add, ok := inline.Proposal.(Add); ok {
				lifetime, _ := add.KeyPackage.Lifetime()
				now = max(now, lifetime.NotBefore)
			}
		}
	}
	staged, err := group.Stage(m, CommitInput{AtSeconds: now, Proposals: func(ref ProposalRef) (*PublicMessage, bool) {
		m, ok := known[ref]
		return m, ok
	}})
	if err != nil {
		return nil, err
	}
	return staged.After, nil
}

// openWelcome decrypts the GroupInfo of a Welcome (RFC 9420 §12.4.3.1, §8).
func openWelcome(t *testing.T, v passiveVector) GroupInfo {
	t.Helper()
	s := must(v.Suite.Suite())(t)
	w := must(ParseMLSMessage(v.Welcome))(t).Body.(*Welcome)
	ref := must(must(ParseMLSMessage(v.KeyPackage))(t).Body.(*KeyPackage).Ref())(t)
	// The vectors leave off a scalar's leading zeros.
	initKey := append(make([]byte, s.kem.Scheme().PrivateKeySize()-len(v.InitKey)), v.InitKey...)
	for _, entry := range w.Secrets {
		if entry.NewMember != ref {
			continue
		}
		r := NewReader("GroupSecrets", must(s.OpenWithLabel(initKey, "Welcome", w.EncryptedGroupInfo, entry.Secrets))(t))
		joiner := r.Opaque("joiner_secret")
		if r.Optional("path_secret") {
			r.Opaque("path_secret")
		}
		psks := ReadList(r, "psks", ReadPreSharedKeyID)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		k := scheduleOf(s)
		welcome := k.derive(k.kdf.Extract(k.pskSecret(t, v, psks), joiner), "welcome")
		aead := must(k.aead.New(k.expand(welcome, "key", nil, k.aead.KeySize())))(t)
		plain := must(aead.Open(nil, k.expand(welcome, "nonce", nil, k.aead.NonceSize()), w.EncryptedGroupInfo, nil))(t)
		return must(ParseGroupInfo(plain))(t)
	}
	t.Fatal("the Welcome is not for the client")
	return GroupInfo{}
}

// schedule is as much of the key schedule (RFC 9420 §8) as a Welcome needs.
type schedule struct {
	kdf  hpke.KDF
	aead hpke.AEAD
}

func scheduleOf(s *Suite) schedule {
	_, kdf, aead := s.hpke.Params()
	return schedule{kdf: kdf, aead: aead}
}

func (k schedule) expand(secret []byte, label string, context []byte, length uint) []byte {
	var w Writer
	w.Uint16(uint16(length))
	w.Opaque([]byte(labelPrefix + label))
	w.Opaque(context)
	return k.kdf.Expand(secret, w.Bytes(), length)
}

func (k schedule) derive(secret []byte, label string) []byte {
	return k.expand(secret, label, nil, uint(k.kdf.ExtractSize()))
}

// pskSecret is RFC 9420 §8.4.
func (k schedule) pskSecret(t *testing.T, v passiveVector, ids []PreSharedKeyID) []byte {
	t.Helper()
	zero := make([]byte, k.kdf.ExtractSize())
	secret := zero
	for i, id := range ids {
		var psk []byte
		for _, known := range v.PSKs {
			if external, ok := id.Source.(ExternalPSK); ok && bytes.Equal(external.ID, known.ID) {
				psk = known.PSK
			}
		}
		if psk == nil {
			t.Fatalf("the Welcome needs a PSK that the vector does not have")
		}
		var label Writer
		id.AppendTo(&label)
		label.Uint16(uint16(i))
		label.Uint16(uint16(len(ids)))
		input := k.expand(k.kdf.Extract(psk, zero), "derived psk", label.Bytes(), uint(k.kdf.ExtractSize()))
		secret = k.kdf.Extract(secret, input)
	}
	return secret
}
