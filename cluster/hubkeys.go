package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
)

// HubKeyImport is a private signature key that is given, not generated.
type HubKeyImport struct {
	Scheme  mls.SignatureScheme
	Private []byte // as mls.NewSigningKey takes it
	// DevelopmentOnly marks a key whose private half is published, as that of the test data is.
	DevelopmentOnly bool
}

// hubSchemes are those a hub has a key of, one for each that a cipher suite of RFC 9420 §17.1 signs with.
var hubSchemes = []mls.SignatureScheme{mls.Ed25519, mls.ECDSAWithP256, mls.ECDSAWithP384, mls.ECDSAWithP521, mls.Ed448}

// ensureHubKeys gives the hub a key of each scheme that it has none of: a given one, else a new one.
func (n *Node) ensureHubKeys(ctx context.Context, given []HubKeyImport) error {
	for _, scheme := range hubSchemes {
		if _, has := n.Map().HubKey(scheme); has {
			continue
		}
		imported := HubKeyImport{Scheme: scheme}
		for _, candidate := range given {
			if candidate.Scheme == scheme {
				imported = candidate
			}
		}
		if imported.Private == nil {
			key, err := mls.GenerateSigningKey(scheme, rand.Reader)
			if err != nil {
				return fmt.Errorf("hub key: %w", err)
			}
			imported.Private = key.Private()
		}
		if err := n.putHubKey(ctx, imported); err != nil {
			return fmt.Errorf("hub key: %w", err)
		}
	}
	return nil
}

// PutHubKey brings a key into the cluster; it is the one to sign with in its scheme from then on. Its private half is sealed
// under the operator's key before it leaves this node.
func (n *Node) PutHubKey(ctx context.Context, given HubKeyImport) error {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	return n.putHubKey(ctx, given)
}

func (n *Node) putHubKey(ctx context.Context, given HubKeyImport) error {
	key, err := mls.NewSigningKey(given.Scheme, given.Private)
	if err != nil {
		return err
	}
	sealed, err := seal(n.config.SealKey, given.Private, n.sealContext(key.Public()))
	if err != nil {
		return err
	}
	record := meta.HubKey{Scheme: given.Scheme, Public: key.Public(), Sealed: sealed, DevelopmentOnly: given.DevelopmentOnly}
	if settings, _ := n.Map().Settings(); settings.Format < fsm.FormatExclusive {
		return n.change(ctx, meta.PutHubKey{Key: record}) // a node may run a program that does not know the other
	}
	return n.change(ctx, meta.AddHubKey{Key: record})
}

// RotateHubKeys gives the hub a new key of each of the schemes, or of all where none is named. New rooms list it from then on; the
// others stay, and sign for the rooms that list them. Again, it is another rotation.
func (n *Node) RotateHubKeys(ctx context.Context, schemes ...mls.SignatureScheme) error {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if !n.Map().Initialised() {
		return ErrNotInitialised
	}
	if len(schemes) == 0 {
		schemes = hubSchemes
	}
	for _, scheme := range schemes {
		key, err := mls.GenerateSigningKey(scheme, rand.Reader)
		if err != nil {
			return fmt.Errorf("hub key: %w", err)
		}
		if err := n.putHubKey(ctx, HubKeyImport{Scheme: scheme, Private: key.Private()}); err != nil {
			return fmt.Errorf("hub key: %w", err)
		}
	}
	return nil
}

// HubKeys are all keys of the hub, the oldest first.
func (n *Node) HubKeys() []meta.HubKey { return n.Map().HubKeys() }

// sealContext binds a sealed key to the cluster and to its public half.
func (n *Node) sealContext(public []byte) string { return hubKeyContext(n.ClusterID(), public) }

func hubKeyContext(cluster string, public []byte) string {
	return "parley hub key/" + cluster + "/" + hex.EncodeToString(public)
}

// HubSigner is the hub's key of a scheme with its entry for a room's external_senders (RFC 9420 §12.1.8.1), or
// false where there is none or this node's seal key does not open it, which is logged.
func (n *Node) HubSigner(scheme mls.SignatureScheme) (*mls.SigningKey, mls.ExternalSender, bool) {
	current := n.Map()
	key, found := current.HubKey(scheme)
	settings, _ := current.Settings()
	if !found || len(settings.Domains) == 0 {
		return nil, mls.ExternalSender{}, false
	}
	signer, err := n.openHubKey(key)
	if err != nil {
		n.log.Error("a hub key cannot be used", "scheme", scheme, "error", err)
		return nil, mls.ExternalSender{}, false
	}
	sender := mls.ExternalSender{
		SignatureKey: signer.Public(),
		Credential:   mls.BasicCredential{Identity: []byte("mimi://" + settings.Domains[0].String())},
	}
	return signer, sender, true
}

// SignerOf returns the hub's key with this public half, the newest of its scheme or one before, for the rooms that list it; false where it
// is not the hub's, or this node's seal key does not open it, which is logged. It implements judge.Signers.
func (n *Node) SignerOf(public []byte) (*mls.SigningKey, bool) {
	for _, key := range n.Map().HubKeys() {
		if !bytes.Equal(key.Public, public) {
			continue
		}
		signer, err := n.openHubKey(key)
		if err != nil {
			n.log.Error("a hub key cannot be used", "scheme", key.Scheme, "error", err)
			return nil, false
		}
		return signer, true
	}
	return nil, false
}

func (n *Node) openHubKey(key meta.HubKey) (*mls.SigningKey, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if signer := n.signers[string(key.Public)]; signer != nil {
		return signer, nil
	}
	private, err := unseal(n.sealKeys(), key.Sealed, n.sealContext(key.Public))
	if err != nil {
		return nil, fmt.Errorf("hub key %x: %w", key.Public[:min(8, len(key.Public))], err)
	}
	signer, err := mls.NewSigningKey(key.Scheme, private)
	if err != nil {
		return nil, err
	}
	n.signers[string(key.Public)] = signer
	return signer, nil
}
