package server

import (
	"cmp"
	"context"

	"parley/cluster"
	"parley/fsm"
	"parley/fsm/meta"
	"parley/httpapi"
	"parley/mimi"
	"parley/mls"
)

// lobby answers the admin listener also while the process has no node yet: a node without credentials can be asked to begin a cluster
// or to join one, and says to all else that it belongs to none.
type lobby struct{ server *Server }

// firstNode is the ID of the node that begins a cluster, where it is not given another.
const firstNode = "n1"

func (l *lobby) operations() (*operations, error) {
	if out := l.server.outcast(); out != nil {
		return nil, out.refusal()
	}
	if !l.server.isOpen() {
		return nil, refusal(cluster.ErrNotInitialised)
	}
	return &operations{node: l.server.node}, nil
}

func (l *lobby) Init(ctx context.Context, r httpapi.InitRequest) (httpapi.ClusterIdentity, error) {
	o, err := l.server.admitted(func() (cluster.Admission, error) {
		sealKey, err := l.server.sealKey()
		if err != nil {
			return cluster.Admission{}, err
		}
		return cluster.Found(l.server.admissionFolder(), cmp.Or(r.Node, firstNode), "", sealKey)
	})
	if err != nil {
		return httpapi.ClusterIdentity{}, refusal(err)
	}
	return o.Init(ctx, r)
}

func (l *lobby) Join(ctx context.Context, r httpapi.JoinRequest) (httpapi.ClusterIdentity, error) {
	var token cluster.JoinToken
	if r.Token != "" {
		var err error
		if token, err = cluster.ParseJoinToken(r.Token); err != nil {
			return httpapi.ClusterIdentity{}, &mls.MalformedError{Field: "token", Reason: err.Error()}
		}
		token.Seeds = append(r.Seeds, token.Seeds...)
	}
	o, err := l.server.admitted(func() (cluster.Admission, error) {
		if r.Token == "" {
			return cluster.Admission{}, &cluster.RefusedError{Reason: "this node has no certificate: it joins by a token, from 'parley node invite' at a member"}
		}
		return cluster.Enrol(ctx, l.server.config.DataDir, l.server.admissionFolder(), token, r.Node)
	})
	if err != nil {
		return httpapi.ClusterIdentity{}, refusal(err)
	}
	if r.Token != "" {
		if is := o.node.ClusterID(); is != token.ClusterID {
			return httpapi.ClusterIdentity{}, &httpapi.RefusedError{Reason: "This is node " + o.node.ID() + " of cluster " + is + "; the token is of cluster " + token.ClusterID + "."}
		}
		r.Seeds = token.Seeds
	}
	if wanted := cmp.Or(r.Node, token.Node); wanted != "" && wanted != o.node.ID() {
		return httpapi.ClusterIdentity{}, o.otherNode(wanted)
	}
	return o.Join(ctx, r)
}

// otherNode refuses a join that was meant for another machine.
func (o *operations) otherNode(wanted string) error {
	return &httpapi.RefusedError{
		Reason: "This is node " + o.node.ID() + " already, and not " + wanted + ".", Blocker: "the node's directory, which belongs to one ID for ever",
		See: "parley cluster status", Clear: "the same command at the machine that is to be " + wanted + ", with an empty data_dir",
	}
}

func (l *lobby) Ready(ctx context.Context) httpapi.Readiness {
	if out := l.server.outcast(); out != nil {
		return out.readiness()
	}
	o, err := l.operations()
	if err != nil {
		return httpapi.Readiness{Reasons: []string{"the node belongs to no cluster yet: run 'parley cluster init' or 'parley node join --token'"}}
	}
	return o.Ready(ctx)
}

func (l *lobby) Status(ctx context.Context) (httpapi.ClusterStatus, error) {
	nothing := httpapi.ClusterStatus{
		Domains: []mimi.Provider{}, Nodes: []httpapi.NodeStatus{}, Shards: []httpapi.ShardStatus{}, Outbox: []httpapi.OutboxStatus{},
	}
	if out := l.server.outcast(); out != nil {
		nothing.Node, nothing.ClusterID, nothing.Removed = out.node, out.cluster, out.why
		return nothing, nil
	}
	o, err := l.operations()
	if err != nil {
		return nothing, nil
	}
	return o.Status(ctx)
}

// ask and tell pass a question, or a command, on to the node, if there is one.
func ask[T any](l *lobby, question func(*operations) (T, error)) (T, error) {
	o, err := l.operations()
	if err != nil {
		var none T
		return none, err
	}
	return question(o)
}

func tell(l *lobby, command func(*operations) error) error {
	o, err := l.operations()
	if err != nil {
		return err
	}
	return command(o)
}

func (l *lobby) Invite(ctx context.Context, r httpapi.InviteRequest) (httpapi.Invitation, error) {
	return ask(l, func(o *operations) (httpapi.Invitation, error) { return o.Invite(ctx, r) })
}

func (l *lobby) Invitations(ctx context.Context) ([]httpapi.InvitationEntry, error) {
	return ask(l, func(o *operations) ([]httpapi.InvitationEntry, error) { return o.Invitations(ctx) })
}

func (l *lobby) RevokeInvitation(ctx context.Context, id string) error {
	return tell(l, func(o *operations) error { return o.RevokeInvitation(ctx, id) })
}

func (l *lobby) Certificates(ctx context.Context) ([]httpapi.CertificateEntry, error) {
	return ask(l, func(o *operations) ([]httpapi.CertificateEntry, error) { return o.Certificates(ctx) })
}

func (l *lobby) RevokeCertificates(ctx context.Context, node string) error {
	return tell(l, func(o *operations) error { return o.RevokeCertificates(ctx, node) })
}

func (l *lobby) Keyring(ctx context.Context) (httpapi.Keyring, error) {
	return ask(l, func(o *operations) (httpapi.Keyring, error) { return o.Keyring(ctx) })
}

func (l *lobby) RotateKeyring(ctx context.Context, from string) error {
	return tell(l, func(o *operations) error { return o.RotateKeyring(ctx, from) })
}

func (l *lobby) HubKeys(ctx context.Context) ([]httpapi.HubKeyEntry, error) {
	return ask(l, func(o *operations) ([]httpapi.HubKeyEntry, error) { return o.HubKeys(ctx) })
}

func (l *lobby) RotateHubKeys(ctx context.Context, scheme mls.SignatureScheme) error {
	return tell(l, func(o *operations) error { return o.RotateHubKeys(ctx, scheme) })
}

func (l *lobby) RotateServiceKeys(ctx context.Context, purpose meta.KeyPurpose) error {
	return tell(l, func(o *operations) error { return o.RotateServiceKeys(ctx, purpose) })
}

func (l *lobby) Reseal(ctx context.Context) (httpapi.ResealReport, error) {
	return ask(l, func(o *operations) (httpapi.ResealReport, error) { return o.Reseal(ctx) })
}

func (l *lobby) Settings(ctx context.Context) (httpapi.ClusterSettings, error) {
	return ask(l, func(o *operations) (httpapi.ClusterSettings, error) { return o.Settings(ctx) })
}

func (l *lobby) ChangeSettings(ctx context.Context, c httpapi.SettingsChange) (httpapi.ClusterSettings, error) {
	return ask(l, func(o *operations) (httpapi.ClusterSettings, error) { return o.ChangeSettings(ctx, c) })
}

func (l *lobby) Peers(ctx context.Context) ([]httpapi.PeerEntry, error) {
	return ask(l, func(o *operations) ([]httpapi.PeerEntry, error) { return o.Peers(ctx) })
}

func (l *lobby) PutPeer(ctx context.Context, p httpapi.PeerEntry) error {
	return tell(l, func(o *operations) error { return o.PutPeer(ctx, p) })
}

func (l *lobby) RemovePeer(ctx context.Context, domain mimi.Provider) error {
	return tell(l, func(o *operations) error { return o.RemovePeer(ctx, domain) })
}

func (l *lobby) HoldPeer(ctx context.Context, domain mimi.Provider, paused bool, r httpapi.HoldRequest) (httpapi.PeerHold, error) {
	return ask(l, func(o *operations) (httpapi.PeerHold, error) { return o.HoldPeer(ctx, domain, paused, r) })
}

func (l *lobby) ReplayPeer(ctx context.Context, domain mimi.Provider) (httpapi.ReplayReport, error) {
	return ask(l, func(o *operations) (httpapi.ReplayReport, error) { return o.ReplayPeer(ctx, domain) })
}

func (l *lobby) Backlog(ctx context.Context) (httpapi.Backlog, error) {
	return ask(l, func(o *operations) (httpapi.Backlog, error) { return o.Backlog(ctx) })
}

func (l *lobby) Tokens(ctx context.Context) ([]httpapi.TokenEntry, error) {
	return ask(l, func(o *operations) ([]httpapi.TokenEntry, error) { return o.Tokens(ctx) })
}

func (l *lobby) CreateToken(ctx context.Context, r httpapi.TokenRequest) (httpapi.NewToken, error) {
	return ask(l, func(o *operations) (httpapi.NewToken, error) { return o.CreateToken(ctx, r) })
}

func (l *lobby) RevokeToken(ctx context.Context, id string) error {
	return tell(l, func(o *operations) error { return o.RevokeToken(ctx, id) })
}

func (l *lobby) Digests(ctx context.Context, shard fsm.ShardID) (httpapi.ShardDigests, error) {
	return ask(l, func(o *operations) (httpapi.ShardDigests, error) { return o.Digests(ctx, shard) })
}

func (l *lobby) TransferLeadership(ctx context.Context, shard fsm.ShardID, node string) error {
	return tell(l, func(o *operations) error { return o.TransferLeadership(ctx, shard, node) })
}
