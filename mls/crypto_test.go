package mls

import (
	"bytes"
	"crypto/rand"
	"testing"
)

func TestCryptoBasicsVectors(t *testing.T) {
	type vector struct {
		Suite   CipherSuite `json:"cipher_suite"`
		RefHash struct {
			Label      string
			Value, Out hexBytes
		} `json:"ref_hash"`
		Sign struct {
			Priv, Pub, Content, Signature hexBytes
			Label                         string
		} `json:"sign_with_label"`
		Encrypt struct {
			Priv, Pub, Context, Plaintext, Ciphertext hexBytes
			KEMOutput                                 hexBytes `json:"kem_output"`
			Label                                     string
		} `json:"encrypt_with_label"`
	}
	vectors := loadVectors[vector](t, "crypto-basics.json")
	if len(vectors) != 7 {
		t.Errorf("%d suites in the vectors, want 7", len(vectors))
	}
	for _, v := range vectors {
		s := must(v.Suite.Suite())(t)
		if got := s.RefHash(v.RefHash.Label, v.RefHash.Value); !bytes.Equal(got, v.RefHash.Out) {
			t.Errorf("suite %d: RefHash %x, want %x", s.ID, got, v.RefHash.Out)
		}
		if !s.VerifyWithLabel(v.Sign.Pub, v.Sign.Label, v.Sign.Content, v.Sign.Signature) {
			t.Errorf("suite %d: the vector's signature does not verify", s.ID)
		}
		key := must(NewSigningKey(s.Scheme, v.Sign.Priv))(t)
		if !bytes.Equal(key.Public(), v.Sign.Pub) {
			t.Errorf("suite %d: public key %x, want %x", s.ID, key.Public(), v.Sign.Pub)
		}
		checkSigning(t, key)
		sealed := HPKECiphertext{KEMOutput: v.Encrypt.KEMOutput, Ciphertext: v.Encrypt.Ciphertext}
		plain := must(s.OpenWithLabel(v.Encrypt.Priv, v.Encrypt.Label, v.Encrypt.Context, sealed))(t)
		if !bytes.Equal(plain, v.Encrypt.Plaintext) {
			t.Errorf("suite %d: opens to %x, want %x", s.ID, plain, v.Encrypt.Plaintext)
		}
	}
}

// checkSigning signs, twice the same, and sees altered input refused.
func checkSigning(t *testing.T, key *SigningKey) {
	t.Helper()
	content := []byte("content")
	signature := must(key.SignWithLabel("Label", content))(t)
	if again := must(key.SignWithLabel("Label", content))(t); !bytes.Equal(signature, again) {
		t.Errorf("scheme %d: a second signature differs", key.Scheme())
	}
	verify := func(key []byte, label string, content, signature []byte) bool {
		return VerifyByKeyLength(key, label, content, signature)
	}
	if !verify(key.Public(), "Label", content, signature) {
		t.Errorf("scheme %d: own signature does not verify", key.Scheme())
	}
	bent := bytes.Clone(signature)
	bent[len(bent)-1] ^= 1
	otherKey := key.Public()
	otherKey[len(otherKey)-1] ^= 1
	for name, ok := range map[string]bool{
		"label":         verify(key.Public(), "label", content, signature),
		"content":       verify(key.Public(), "Label", []byte("Content"), signature),
		"signature":     verify(key.Public(), "Label", content, bent),
		"no signature":  verify(key.Public(), "Label", content, nil),
		"key":           verify(otherKey, "Label", content, signature),
		"shortened key": verify(key.Public()[1:], "Label", content, signature),
	} {
		if ok {
			t.Errorf("scheme %d: verifies with another %s", key.Scheme(), name)
		}
	}
}

func TestGeneratedKeys(t *testing.T) {
	for scheme := Ed25519; scheme < schemesEnd; scheme++ {
		key := must(GenerateSigningKey(scheme, rand.Reader))(t)
		checkSigning(t, key)
		again := must(NewSigningKey(scheme, key.Private()))(t)
		if !bytes.Equal(again.Public(), key.Public()) {
			t.Errorf("scheme %d: the key does not survive its own private form", scheme)
		}
		if found, ok := SchemeOfKey(key.Public()); !ok || found != scheme {
			t.Errorf("scheme %d: found as %d", scheme, found)
		}
	}
	if _, err := GenerateSigningKey(schemesEnd, rand.Reader); err == nil {
		t.Error("a key of an unknown scheme was made")
	}
}

func TestSealAndOpen(t *testing.T) {
	for id := CipherSuite(1); id <= 7; id++ {
		s := must(id.Suite())(t)
		public, private, err := s.GenerateHPKEKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		sealed := must(s.SealWithLabel(rand.Reader, public, "Label", []byte("context"), []byte("plain")))(t)
		if plain := must(s.OpenWithLabel(private, "Label", []byte("context"), sealed))(t); string(plain) != "plain" {
			t.Errorf("suite %d: opens to %q", id, plain)
		}
		if _, err := s.OpenWithLabel(private, "Label", []byte("other"), sealed); err == nil {
			t.Errorf("suite %d: opens under another context", id)
		}
		if _, err := s.SealWithLabel(rand.Reader, public[1:], "Label", nil, nil); err == nil {
			t.Errorf("suite %d: seals to a broken key", id)
		}
	}
	for _, id := range []CipherSuite{0, 8, 0xf001} {
		if _, err := id.Suite(); err == nil {
			t.Errorf("suite %d is supported", id)
		}
	}
}

func TestTranscriptHashVectors(t *testing.T) {
	type vector struct {
		Suite     CipherSuite `json:"cipher_suite"`
		Content   hexBytes    `json:"authenticated_content"`
		Before    hexBytes    `json:"interim_transcript_hash_before"`
		Confirmed hexBytes    `json:"confirmed_transcript_hash_after"`
		After     hexBytes    `json:"interim_transcript_hash_after"`
	}
	for _, v := range loadVectors[vector](t, "transcript-hashes.json") {
		s := must(v.Suite.Suite())(t)
		a := must(ParseAuthenticatedContent(v.Content))(t)
		if !bytes.Equal(a.Marshal(), v.Content) {
			t.Errorf("suite %d: AuthenticatedContent changed", v.Suite)
		}
		if got := s.ConfirmedTranscriptHash(v.Before, a); !bytes.Equal(got, v.Confirmed) {
			t.Errorf("suite %d: confirmed %x, want %x", v.Suite, got, v.Confirmed)
		}
		if got := s.InterimTranscriptHash(v.Confirmed, a.Auth.ConfirmationTag); !bytes.Equal(got, v.After) {
			t.Errorf("suite %d: interim %x, want %x", v.Suite, got, v.After)
		}
	}
}

func TestMessageProtectionVectors(t *testing.T) {
	type vector struct {
		Suite     CipherSuite `json:"cipher_suite"`
		GroupID   hexBytes    `json:"group_id"`
		Epoch     Epoch
		TreeHash  hexBytes `json:"tree_hash"`
		Confirmed hexBytes `json:"confirmed_transcript_hash"`
		Private   hexBytes `json:"signature_priv"`
		Public    hexBytes `json:"signature_pub"`
		Proposal  hexBytes
		ByProp    hexBytes `json:"proposal_pub"`
		Commit    hexBytes
		ByCommit  hexBytes `json:"commit_pub"`
	}
	for _, v := range loadVectors[vector](t, "message-protection.json") {
		s := must(v.Suite.Suite())(t)
		context := GroupContext{Suite: v.Suite, GroupID: GroupID(v.GroupID), Epoch: v.Epoch, TreeHash: v.TreeHash,
			ConfirmedTranscriptHash: v.Confirmed}.Marshal()
		for raw, public := range map[*hexBytes]hexBytes{&v.Proposal: v.ByProp, &v.Commit: v.ByCommit} {
			m := must(ParseMLSMessage(public))(t).Body.(*PublicMessage)
			var body Writer
			m.Content.Body.AppendTo(&body)
			if !bytes.Equal(body.Bytes(), *raw) {
				t.Errorf("suite %d: content %x, want %x", v.Suite, body.Bytes(), *raw)
			}
			if !m.Authenticated().Verify(s, v.Public, context) {
				t.Errorf("suite %d: the signature does not verify", v.Suite)
			}
			if m.Authenticated().Verify(s, v.Public, context[1:]) {
				t.Errorf("suite %d: the signature verifies in another context", v.Suite)
			}
			key := must(NewSigningKey(s.Scheme, v.Private))(t)
			if err := m.Sign(key, context); err != nil || !m.Authenticated().Verify(s, v.Public, context) {
				t.Errorf("suite %d: own signature does not verify (%v)", v.Suite, err)
			}
		}
	}
}

func TestWelcomeVectors(t *testing.T) {
	type vector struct {
		Suite      CipherSuite `json:"cipher_suite"`
		InitKey    hexBytes    `json:"init_priv"`
		KeyPackage hexBytes    `json:"key_package"`
		Welcome    hexBytes
	}
	for _, v := range loadVectors[vector](t, "welcome.json") {
		s := must(v.Suite.Suite())(t)
		kp := must(ParseMLSMessage(v.KeyPackage))(t).Body.(*KeyPackage)
		w := must(ParseMLSMessage(v.Welcome))(t).Body.(*Welcome)
		ref := must(kp.Ref())(t)
		found := false
		for _, secret := range w.Secrets {
			if secret.NewMember == ref {
				found = true
				must(s.OpenWithLabel(v.InitKey, "Welcome", w.EncryptedGroupInfo, secret.Secrets))(t)
			}
		}
		if !found {
			t.Errorf("suite %d: the Welcome does not name %x", v.Suite, ref)
		}
	}
}
