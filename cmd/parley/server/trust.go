package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"time"

	"parley/cluster/pki"
	"parley/fsm/meta"
	"parley/httpapi"
	"parley/mls"
)

func (o *operations) Invite(ctx context.Context, r httpapi.InviteRequest) (httpapi.Invitation, error) {
	if err := o.invitable(r.Node, time.Now()); err != nil {
		return httpapi.Invitation{}, err
	}
	token, err := o.node.Invite(ctx, r.Node, time.Duration(r.TTLSeconds)*time.Second)
	if err != nil {
		return httpapi.Invitation{}, refusal(err)
	}
	return httpapi.Invitation{Token: token.String()}, nil
}

// invitable refuses a token in the name of a node that can come by itself: whoever used it would be a second machine of that name, and
// would learn only afterwards that the cluster does not take it. A member without a good certificate may need one. Empty: any new node.
func (o *operations) invitable(node string, now time.Time) error {
	if node == "" {
		return nil
	}
	if err := pki.CheckName(node); err != nil {
		return &mls.MalformedError{Field: "node", Reason: err.Error()}
	}
	current := o.node.Map()
	member, known := current.Node(node)
	switch {
	case !known:
		return nil
	case member.State == meta.NodeRemoved:
		return &httpapi.RefusedError{
			Reason: "Node " + node + " was taken out of the cluster.", Blocker: "an ID is used once", See: "parley certs list", Clear: "another ID",
		}
	case o.hasCertificate(current, node, now):
		return &httpapi.RefusedError{
			Reason: "Node " + node + " is a member and has a good certificate: with a token another machine would come under its name.", Blocker: "that certificate",
			See: "parley certs list", Clear: "an ID that was never used, for another machine; or first 'parley certs revoke " + node + "', where the node itself needs a new certificate",
		}
	}
	return nil
}

// hasCertificate reports whether a node has one that is neither barred nor over.
func (o *operations) hasCertificate(current *meta.Map, node string, now time.Time) bool {
	return slices.ContainsFunc(current.Certificates(), func(c meta.Certificate) bool {
		return c.Node == node && current.Barred(c.Node, c.Serial) == "" && now.Before(time.UnixMilli(int64(c.NotAfter)))
	})
}

func (o *operations) Invitations(context.Context) ([]httpapi.InvitationEntry, error) {
	var entries []httpapi.InvitationEntry
	for _, k := range o.node.Invitations() {
		entries = append(entries, httpapi.InvitationEntry{ID: k.ID, Node: k.Node, Until: time.UnixMilli(int64(k.Until)).UTC(), UsedBy: k.UsedBy})
	}
	return entries, nil
}

func (o *operations) RevokeInvitation(ctx context.Context, id string) error {
	return refusal(o.node.RevokeInvitation(ctx, id))
}

func (o *operations) Certificates(context.Context) ([]httpapi.CertificateEntry, error) {
	current := o.node.Map()
	var entries []httpapi.CertificateEntry
	for _, c := range current.Certificates() {
		entries = append(entries, httpapi.CertificateEntry{
			Serial: hex.EncodeToString(c.Serial), Node: c.Node, NotAfter: time.UnixMilli(int64(c.NotAfter)).UTC(), Barred: current.Barred(c.Node, c.Serial),
		})
	}
	slices.SortFunc(entries, func(a, b httpapi.CertificateEntry) int {
		if a.Node != b.Node {
			return cmp.Compare(a.Node, b.Node)
		}
		return a.NotAfter.Compare(b.NotAfter)
	})
	return entries, nil
}

func (o *operations) RevokeCertificates(ctx context.Context, node string) error {
	current := o.node.Map()
	if _, known := current.Node(node); !known && !slices.ContainsFunc(current.Certificates(), func(c meta.Certificate) bool { return c.Node == node }) {
		return &httpapi.NotFoundError{What: "node " + node}
	}
	defer o.settle(ctx)
	return refusal(o.node.RevokeCertificates(ctx, node))
}

func (o *operations) Keyring(ctx context.Context) (httpapi.Keyring, error) {
	seen, err := o.node.Keyring(ctx)
	if err != nil {
		return httpapi.Keyring{}, refusal(err)
	}
	ring := httpapi.Keyring{Keys: []httpapi.KeyringKey{}, Waits: seen.Waits}
	for _, key := range seen.Keys {
		entry := httpapi.KeyringKey{ID: key.ID, Primary: key.Primary, Nodes: []string{}}
		for node, keys := range seen.Nodes {
			if slices.Contains(keys, key.ID) {
				entry.Nodes = append(entry.Nodes, node)
			}
		}
		slices.Sort(entry.Nodes)
		ring.Keys = append(ring.Keys, entry)
	}
	return ring, nil
}

func (o *operations) RotateKeyring(ctx context.Context, from string) error {
	return refusal(o.node.RotateGossipKey(ctx, from))
}

func (o *operations) HubKeys(context.Context) ([]httpapi.HubKeyEntry, error) {
	keys := o.node.HubKeys()
	newest := make(map[mls.SignatureScheme]int)
	for i, key := range keys {
		newest[key.Scheme] = i
	}
	entries := make([]httpapi.HubKeyEntry, len(keys))
	for i, key := range keys {
		entries[i] = httpapi.HubKeyEntry{
			Purpose: httpapi.PurposeExternalSender, SignatureScheme: httpapi.SchemeName(key.Scheme), PublicKey: key.Public, Current: newest[key.Scheme] == i, DevelopmentOnly: key.DevelopmentOnly,
		}
		if key.AddedMillis > 0 {
			entries[i].Added = time.UnixMilli(int64(key.AddedMillis)).UTC()
		}
	}
	return append(entries, o.serviceKeys()...), nil
}

// serviceKeys are the hub's keys for other purposes.
func (o *operations) serviceKeys() (entries []httpapi.HubKeyEntry) {
	for _, key := range o.node.ServiceKeys() {
		newest, _ := o.node.Map().ServiceKey(key.Purpose, key.Algorithm)
		entry := httpapi.HubKeyEntry{
			Purpose: key.Purpose.String(), PublicKey: key.Name, Current: bytes.Equal(newest.Name, key.Name),
			Added: time.UnixMilli(int64(key.AddedMillis)).UTC(),
		}
		switch key.Purpose {
		case meta.PurposeFranking:
			entry.SignatureScheme = httpapi.SchemeName(mls.SignatureScheme(key.Algorithm))
		case meta.PurposeExternalReceiver:
			entry.CipherSuite = key.Algorithm
		}
		entries = append(entries, entry)
	}
	return entries
}

func (o *operations) RotateServiceKeys(ctx context.Context, purpose meta.KeyPurpose) error {
	return refusal(o.node.RotateServiceKeys(ctx, purpose))
}

func (o *operations) RotateHubKeys(ctx context.Context, scheme mls.SignatureScheme) error {
	if scheme == 0 {
		return refusal(o.node.RotateHubKeys(ctx))
	}
	return refusal(o.node.RotateHubKeys(ctx, scheme))
}

func (o *operations) Reseal(ctx context.Context) (httpapi.ResealReport, error) {
	secrets, err := o.node.Reseal(ctx)
	return httpapi.ResealReport{Secrets: secrets}, refusal(err)
}
