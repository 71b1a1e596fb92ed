package mimi

import (
	"io"

	"parley/mls"
)

// VerifySignature checks the request's signature under its own key, by the scheme that has keys of that length: the request
// names no suite for it. Whether the credential names the requesting user, and the key is that credential's, is not checked.
func (m KeyMaterialRequest) VerifySignature() bool {
	return mls.VerifyByKeyLength(m.SignatureKey, keyMaterialRequestLabel, m.SignedBytes(), m.Signature)
}

// Signed returns the request with the key in it and its signature.
func (m KeyMaterialRequest) Signed(key *mls.SigningKey) (KeyMaterialRequest, error) {
	m.SignatureKey = key.Public()
	signature, err := key.SignWithLabel(keyMaterialRequestLabel, m.SignedBytes())
	m.Signature = signature
	return m, err
}

// VerifySignature checks the request's signature under its own key, in either of the forms that a signer may have used. It is
// false for a suite that is not supported.
func (m GroupInfoRequest) VerifySignature() bool {
	suite, err := m.Suite.Suite()
	if err != nil {
		return false
	}
	for _, form := range m.SignedForms() {
		if suite.VerifyWithLabel(m.SignatureKey, groupInfoRequestLabel, form, m.Signature) {
			return true
		}
	}
	return false
}

// Signed returns the request with the key in it and its signature, over the draft's form. The key has the suite's scheme.
func (m GroupInfoRequest) Signed(key *mls.SigningKey) (GroupInfoRequest, error) {
	m.SignatureKey = key.Public()
	signature, err := key.SignWithLabel(groupInfoRequestLabel, m.SignedForms()[0])
	m.Signature = signature
	return m, err
}

// VerifySignature checks the response's signature under hub_sender's key, by the scheme that has keys of that length. Whether
// hub_sender is the hub is for the caller, who knows the group's external_senders or the provider.
func (m GroupInfoGranted) VerifySignature() bool {
	return mls.VerifyByKeyLength(m.HubSender.SignatureKey, groupInfoResponseLabel, m.SignedBytes(), m.Signature)
}

// Signed returns the response with its signature; the key is HubSender's.
func (m GroupInfoGranted) Signed(key *mls.SigningKey) (GroupInfoGranted, error) {
	signature, err := key.SignWithLabel(groupInfoResponseLabel, m.SignedBytes())
	m.Signature = signature
	return m, err
}

// Sealed returns the response with what the joiner gets, encrypted to its groupInfoPublicKey under the response's suite.
// Entropy must be fit for cryptography. An unsupported suite is a *mls.InvalidError.
func (m GroupInfoGranted) Sealed(entropy io.Reader, groupInfoPublicKey []byte, content GroupInfoRatchetTree) (GroupInfoGranted, error) {
	suite, err := m.Suite.Suite()
	if err != nil {
		return GroupInfoGranted{}, err
	}
	m.Encrypted, err = suite.SealWithLabel(entropy, groupInfoPublicKey, groupInfoEncryptionLabel, m.encryptionContext(), content.Marshal())
	return m, err
}

// Open decrypts the response with the private key of groupInfoPublicKey.
func (m GroupInfoGranted) Open(privateKey []byte) (GroupInfoRatchetTree, error) {
	suite, err := m.Suite.Suite()
	if err != nil {
		return GroupInfoRatchetTree{}, err
	}
	plain, err := suite.OpenWithLabel(privateKey, groupInfoEncryptionLabel, m.encryptionContext(), m.Encrypted)
	if err != nil {
		return GroupInfoRatchetTree{}, err
	}
	return ParseGroupInfoRatchetTree(plain)
}

// encryptionContext is the room's URI as it is written in the response.
func (m GroupInfoGranted) encryptionContext() []byte {
	return []byte(m.roomSpelling.of(m.Room.String()))
}
