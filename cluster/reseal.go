package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"parley/fsm/meta"
)

// Reseal seals every secret of the cluster under this node's SealKey, whichever of its keys it was sealed under, all at once, and says
// how many had to be. It is a *RefusedError while an active node does not answer or does not have the key: such a node would be
// left without the secrets.
func (n *Node) Reseal(ctx context.Context) (secrets int, err error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	current := n.Map()
	if !current.Initialised() {
		return 0, ErrNotInitialised
	}
	wanted := hex.EncodeToString(sealKeyID(n.config.SealKey))
	for _, id := range activeNodes(current) {
		view, err := n.statusWithin(ctx, id)
		if err != nil {
			return 0, &RefusedError{fmt.Sprintf("node %s does not answer, so nobody knows whether it has the seal key %s: %v", id, wanted, err)}
		}
		if !slices.Contains(view.SealKeys, wanted) {
			return 0, &RefusedError{fmt.Sprintf("node %s does not have the seal key %s; it has %v", id, wanted, view.SealKeys)}
		}
	}
	var command meta.Reseal
	for _, secret := range current.Secrets() {
		if sealedUnder(n.config.SealKey, secret.Sealed) {
			continue
		}
		context := n.secretContext(secret)
		open, err := unseal(n.sealKeys(), secret.Sealed, context)
		if err != nil {
			return 0, &RefusedError{fmt.Sprintf("the %s %x: %v", secret.Kind, secret.Name, err)}
		}
		sealed, err := seal(n.config.SealKey, open, context)
		if err != nil {
			return 0, err
		}
		command.Secrets = append(command.Secrets, meta.Resealed{
			Kind: secret.Kind, Name: secret.Name, Was: sha256.Sum256(secret.Sealed), Sealed: sealed,
		})
	}
	if len(command.Secrets) == 0 {
		return 0, nil
	}
	return len(command.Secrets), n.change(ctx, command)
}

// secretContext is what a secret was bound to when it was sealed.
func (n *Node) secretContext(secret meta.Secret) string {
	switch secret.Kind {
	case meta.SecretCA:
		return caContext(n.config.Credentials.ClusterID())
	case meta.SecretGossipKey:
		return n.gossipKeyContext(string(secret.Name))
	case meta.SecretServiceKey:
		return n.serviceKeyContext(meta.KeyPurpose(secret.Name[0]), secret.Name[1:])
	default:
		return n.sealContext(secret.Name)
	}
}
