package mls_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"

	"parley/mls"
	"parley/mls/mlstest"
)

// lowOrder is a public key to which nobody can encrypt.
var lowOrder = make([]byte, 32)

// adding is a plan of an Add whose KeyPackage is changed before it is signed.
func (r room) adding(change func(*mls.KeyPackage)) mlstest.Plan {
	return mlstest.Plan{Inline: []mls.Proposal{part(r.Add("new", change))}}
}

// addingLeaf is the same for its leaf.
func (r room) addingLeaf(change func(*mls.LeafNode)) mlstest.Plan {
	return r.adding(func(k *mls.KeyPackage) { change(&k.Leaf) })
}

// addingSigned is the same for what is signed already; again says whether the KeyPackage is signed anew.
func (r room) addingSigned(again bool, change func(*mls.KeyPackage)) mlstest.Plan {
	c := part(r.Client("new"))
	k := part(r.KeyPackage(c))
	if change(&k); again {
		part(0, k.Sign(c.Key))
	}
	return mlstest.Plan{Inline: []mls.Proposal{mls.Add{KeyPackage: k}}}
}

func (r room) keyPackageChecks() {
	r = r.under("KeyPackage (§10, §10.1) and its leaf (§7.3)")
	octets := r.Octets(64)
	r.commit("RFC 9420 §12.1.1", "a KeyPackage of another suite", "of suite 0x0003", r.adding(func(k *mls.KeyPackage) { k.Suite = 3 }))
	r.add("RFC 9420 §5.1", "a KeyPackage of a suite that is not supported", "not supported", func() error {
		k := part(r.Add("new", func(k *mls.KeyPackage) { k.Suite = 8 })).KeyPackage
		return k.Verify(mlstest.Now)
	}).also("there is nothing to verify with")
	r.add("RFC 9420 §10.1", "a leaf of another source than key_package", "another source", func() error {
		in := r.Input()
		in.AtSeconds = 0 // which a leaf without a lifetime would contain
		return r.judge(in, r.addingLeaf(func(n *mls.LeafNode) { n.Source = mls.LeafUpdate{} }))
	})
	r.commit("RFC 9420 §7.3", "a lifetime that is over", "and it is", r.addingLeaf(func(n *mls.LeafNode) { n.Source = mls.Lifetime{NotAfter: mlstest.Now - 1} }))
	r.commit("RFC 9420 §7.3", "a lifetime that has not begun", "KeyPackage is for",
		r.addingLeaf(func(n *mls.LeafNode) { n.Source = mls.Lifetime{NotBefore: mlstest.Now + 1, NotAfter: mlstest.Now + 2} }))
	r.commit("RFC 9420 §10.1", "one key for init_key and encryption_key", "are the same", r.adding(func(k *mls.KeyPackage) { k.InitKey = k.Leaf.EncryptionKey }))
	r.commit("RFC 9420 §10", "an init_key of low order", "init_key is not a key", r.adding(func(k *mls.KeyPackage) { k.InitKey = lowOrder }))
	r.commit("RFC 9420 §7.3", "a wrong signature of the leaf", "signature of the KeyPackage's leaf", r.addingSigned(true, func(k *mls.KeyPackage) { k.Leaf.Signature = octets }))
	r.commit("RFC 9420 §10.1", "a wrong signature", "signature of the KeyPackage is", r.addingSigned(false, func(k *mls.KeyPackage) { k.Signature = octets }))
	mark := mls.Extensions{{Type: mls.ExtensionLastResort, Data: []byte{1}}}
	r.commit("mls-extensions Last-Resort KeyPackages", "a mark of last resort that has data", "has data", r.adding(func(k *mls.KeyPackage) { k.Extensions = mark }))
	component := mls.AppDataDictionary{{ID: mls.ComponentLastResort, Data: []byte{1}}}
	r.commit("mls-extensions Last-Resort KeyPackages", "a last_resort component that has data", "has data", r.adding(func(k *mls.KeyPackage) {
		k.Extensions = mls.Extensions{{Type: mls.ExtensionAppDataDictionary, Data: component.Marshal()}}
	}))
	r.commit("RFC 9420 §7.1", "an encryption key of low order", "leaf is not a key", r.addingLeaf(func(n *mls.LeafNode) { n.EncryptionKey = lowOrder }))
	r.commit("RFC 9420 §7.1", "an encryption key that is too short", "of the leaf is not a key of the suite", r.addingLeaf(func(n *mls.LeafNode) { n.EncryptionKey = octets[:31] }))
	r.commit("RFC 9420 §7.3", "a signature key of another length", "leaf is wrong", r.addingLeaf(func(n *mls.LeafNode) { n.SignatureKey = n.SignatureKey[1:] })).
		also("there is nothing to verify with")
	r.commit("RFC 9420 §7.3", "an encryption key that a member has", "stands at another node", r.addingLeaf(func(n *mls.LeafNode) { n.EncryptionKey = r.Leaf(2).EncryptionKey }))
	r.commit("RFC 9420 §7.3", "an encryption key that a parent has", "stands at another node too",
		r.addingLeaf(func(n *mls.LeafNode) { n.EncryptionKey = r.Parent(r.Root()).EncryptionKey }))
	r.commit("RFC 9420 §12.2", "an Add of a member", "already in the group", mlstest.Plan{Inline: []mls.Proposal{mls.Add{KeyPackage: part(r.KeyPackage(r.Member(2)))}}}).
		also("§7.3, the signature key")
	twin := part(r.Client("twin"))
	r.commit("RFC 9420 §12.2", "two Adds of one client", "added twice", mlstest.Plan{Inline: []mls.Proposal{
		mls.Add{KeyPackage: part(r.KeyPackage(twin))}, mls.Add{KeyPackage: part(r.KeyPackage(twin))}}}).also("§7.3, the signature key")
	r.commit("RFC 9420 §7.3", "an extension that the leaf does not list", "does not list it", r.addingLeaf(func(n *mls.LeafNode) { n.Extensions = mls.Extensions{{Type: 0xf00f}} }))
	r.commit("RFC 9420 §7.3", "supported_wire_formats that cannot be read", "cannot be read",
		r.addingLeaf(func(n *mls.LeafNode) {
			n.Extensions = mls.Extensions{{Type: mls.ExtensionSupportedWireFormat, Data: []byte{9}}}
		}))
}

// chain makes certificates for a key, each under the name of the one after it; or, if skip, under that of another.
func chain(key []byte, skip bool) mls.X509Credential {
	issue := func(subject, issuer string, public any) []byte {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		part(0, err)
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: subject}}
		return part(x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: issuer}}, public, private))
	}
	ca, _, err := ed25519.GenerateKey(rand.Reader)
	part(0, err)
	name := "ca"
	if skip {
		name = "another ca"
	}
	return mls.X509Credential{Certificates: [][]byte{issue("client", "ca", ed25519.PublicKey(key)), issue(name, name, ca)}}
}

// bothCredentials is a room whose members take x509 credentials as well.
func (r room) bothCredentials() room {
	n := newRoom(panicking{}, r.list, mlstest.Config{Suite: 1, Seed: 4, Members: 3, Leaf: func(n *mls.LeafNode) {
		n.Capabilities.Credentials = []mls.CredentialType{mls.CredentialBasic, mls.CredentialX509}
	}})
	n.name = r.name
	return n
}

func (r room) credentialChecks() {
	r = r.under("Credentials (§5.3, §7.3)")
	both := r.bothCredentials()
	chained := func(c func(key []byte) mls.Credential) mlstest.Plan {
		return both.addingLeaf(func(n *mls.LeafNode) { n.Credential = c(n.SignatureKey) })
	}
	both.commit("RFC 9420 §5.3", "a chain of no certificates", "no certificate", chained(func([]byte) mls.Credential { return mls.X509Credential{} }))
	both.commit("RFC 9420 §5.3", "a certificate that cannot be read", "certificate 1 of the x509 credential cannot be read", chained(func(key []byte) mls.Credential {
		good := chain(key, false)
		return mls.X509Credential{Certificates: [][]byte{good.Certificates[0], {1, 2}}}
	})).also("there is nothing to look at")
	both.commit("RFC 9420 §5.3", "a certificate that another issued", "not the issuer", chained(func(key []byte) mls.Credential { return chain(key, true) }))
	both.commit("RFC 9420 §5.3", "a certificate of another key", "another key", chained(func([]byte) mls.Credential { return chain(r.Octets(32), false) }))
	r.commit("RFC 9420 §7.3", "a credential type that the members do not support", "which a member does not support", r.addingLeaf(func(n *mls.LeafNode) {
		n.Credential = chain(n.SignatureKey, false)
		n.Capabilities.Credentials = []mls.CredentialType{mls.CredentialBasic, mls.CredentialX509}
	}))
	r.commit("RFC 9420 §7.3", "a leaf that does not support the members' credential type", "does not support credential type 0x0001",
		r.addingLeaf(func(n *mls.LeafNode) { n.Capabilities.Credentials = []mls.CredentialType{mls.CredentialX509} }))
}
