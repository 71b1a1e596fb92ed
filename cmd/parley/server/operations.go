package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"parley/cluster"
	"parley/fsm"
	"parley/fsm/meta"
	"parley/httpapi"
	"parley/mimi"
	"parley/mls"
)

// operations answers the admin listener from the cluster's node.
type operations struct{ node *cluster.Node }

const secondsPerDay = 24 * 60 * 60

// refusal puts the cluster's own errors into the operator's words.
func refusal(err error) error {
	var refused *cluster.RefusedError
	var unreachable *cluster.UnreachableError
	var removed *cluster.RemovedError
	switch {
	case errors.As(err, &removed):
		return &httpapi.RemovedError{Reason: removed.Error()}
	case errors.As(err, &unreachable):
		return &httpapi.RefusedError{
			Reason: "No member of the cluster could be reached: " + unreachable.Cause.Error(), Blocker: "the addresses, or a firewall between",
			See: "parley cluster status, at a member", Clear: "the same command with --seed and the cluster address of a member that runs",
		}
	case errors.As(err, &refused) && meta.JobInTheWay(refused.Reason):
		return jobInTheWay(refused)
	case errors.As(err, &refused):
		return &httpapi.RefusedError{Reason: refused.Reason}
	case errors.Is(err, cluster.ErrNotInitialised):
		return &httpapi.RefusedError{
			Reason: "The node belongs to no cluster yet.", Blocker: "it was neither initialised nor joined",
			See: "parley cluster status", Clear: "parley cluster init, or parley node join --token",
		}
	default:
		return err
	}
}

// jobInTheWay says how another job is waited for or ended. Nothing else that a command may want can help before.
func jobInTheWay(refused *cluster.RefusedError) error {
	return &httpapi.RefusedError{
		Reason: refused.Reason, Blocker: "that job", See: "parley job list",
		Clear: "parley job wait JOB until it has ended, or parley job cancel JOB",
	}
}

// refusedFor gives a refusal its own words, unless another job is in the way. Other errors are as refusal has them.
func refusedFor(err error, words func(reason string) *httpapi.RefusedError) error {
	if refused := (*cluster.RefusedError)(nil); errors.As(err, &refused) && !meta.JobInTheWay(refused.Reason) {
		return words(refused.Reason)
	}
	return refusal(err)
}

func (o *operations) Init(ctx context.Context, r httpapi.InitRequest) (httpapi.ClusterIdentity, error) {
	settings := fsm.DefaultSettings(r.Domains...)
	if r.KeyPackageLifetimeMaxDays < 0 || r.Shards < 0 || r.Replicas < 0 {
		return httpapi.ClusterIdentity{}, &mls.MalformedError{Field: "shards, replicas, keyPackageLifetimeMaxDays", Reason: "a number is negative"}
	}
	if r.KeyPackageLifetimeMaxDays > 0 {
		settings.KeyPackageLifetimeMax = uint64(r.KeyPackageLifetimeMaxDays) * secondsPerDay
	}
	if r.ConsentDefault != "" {
		policy, err := fsm.ParseConsentPolicy(r.ConsentDefault)
		if err != nil || policy == fsm.ConsentAsCluster || policy == fsm.ConsentNobody {
			return httpapi.ClusterIdentity{}, &mls.MalformedError{Field: "consentDefault", Reason: "it is neither ask nor allow nor provider"}
		}
		settings.Claims.ConsentDefault = policy
	}
	settings.Claims = limited(settings.Claims, r.Claims)
	options := cluster.InitOptions{Settings: settings, Shards: r.Shards, Replication: r.Replicas}
	if r.DevelopmentHubKeySeed != "" {
		seed, err := hex.DecodeString(r.DevelopmentHubKeySeed)
		if err != nil {
			return httpapi.ClusterIdentity{}, &mls.MalformedError{Field: "developmentHubKeySeed", Reason: "it is not hexadecimal"}
		}
		if _, err := mls.NewSigningKey(mls.Ed25519, seed); err != nil {
			return httpapi.ClusterIdentity{}, &mls.MalformedError{Field: "developmentHubKeySeed", Reason: err.Error()}
		}
		options.HubKeys = []cluster.HubKeyImport{{Scheme: mls.Ed25519, Private: seed, DevelopmentOnly: true}}
	}
	if err := o.node.Init(ctx, options); err != nil {
		return httpapi.ClusterIdentity{}, refusal(err)
	}
	return o.identity(), nil
}

// limited are the rules of claims with what an operator has said.
func limited(rules fsm.ClaimRules, said *httpapi.ClaimLimits) fsm.ClaimRules {
	if said == nil {
		return rules
	}
	set := func(rule, to *uint32) {
		if to != nil {
			*rule = *to
		}
	}
	set(&rules.LowWater, said.LowWater)
	set(&rules.PerPairMax, said.PerPair)
	set(&rules.PerRoomMax, said.PerRoom)
	set(&rules.Floor, said.Floor)
	set(&rules.BelowFloorMax, said.BelowFloor)
	if said.WindowSeconds != nil {
		rules.WindowMillis = min(*said.WindowSeconds, math.MaxUint64/1000) * 1000
	}
	if said.LastResortForOwn != nil {
		rules.LastResortForOwn = *said.LastResortForOwn
	}
	return rules
}

func (o *operations) identity() httpapi.ClusterIdentity {
	return httpapi.ClusterIdentity{ClusterID: o.node.Map().ClusterID(), Node: o.node.ID()}
}

// Join tries the seeds in turn until one takes this node in.
func (o *operations) Join(ctx context.Context, r httpapi.JoinRequest) (httpapi.ClusterIdentity, error) {
	var wrong []error
	for i, seed := range r.Seeds {
		// The seeds share the time that is left.
		each, cancel := share(ctx, len(r.Seeds)-i)
		err := o.node.Join(each, seed)
		cancel()
		if err == nil {
			return o.identity(), nil
		}
		wrong = append(wrong, err)
	}
	return httpapi.ClusterIdentity{}, refusedFor(errors.Join(wrong...), func(reason string) *httpapi.RefusedError {
		return &httpapi.RefusedError{
			Reason: reason, Blocker: "what the cluster knows of node " + o.node.ID(), See: "parley node list, at a member",
			Clear: "an ID that was never used: stop this node, remove its data_dir, start it, and join by a token of 'parley node invite --id NEW'",
		}
	})
}

func (o *operations) Ready(context.Context) httpapi.Readiness {
	current := o.node.Map()
	readiness := httpapi.Readiness{Node: o.node.ID(), HasMap: current.Initialised()}
	if !readiness.HasMap {
		readiness.Reasons = append(readiness.Reasons, "the node belongs to no cluster yet: run 'parley cluster init' or 'parley node join'")
		return readiness
	}
	view := o.node.View()
	for _, shard := range current.Shards() {
		if !slices.Contains(shard.Replicas, o.node.ID()) {
			continue
		}
		readiness.Replicas++
		i := slices.IndexFunc(view.Replicas, func(r cluster.ReplicaStatus) bool { return r.Shard == shard.ID })
		switch {
		case shard.State != meta.ShardActive:
			readiness.Reasons = append(readiness.Reasons, fmt.Sprintf("shard %d is being created", shard.ID))
		case i >= 0 && view.Replicas[i].Quarantined != "":
			readiness.Reasons = append(readiness.Reasons, fmt.Sprintf("the replica of shard %d must not run: %s", shard.ID, view.Replicas[i].Quarantined))
		case i < 0 || !view.Replicas[i].Running:
			readiness.Reasons = append(readiness.Reasons, fmt.Sprintf("the replica of shard %d does not run", shard.ID))
		case view.Replicas[i].Leader == "":
			readiness.Reasons = append(readiness.Reasons, fmt.Sprintf("shard %d has no leader", shard.ID))
		default:
			readiness.Running++
		}
	}
	if view.DiskLow {
		readiness.Reasons = append(readiness.Reasons, "the disk's reserve is touched: the node takes nothing new; make room, or it stops")
	}
	if !o.node.TakesPeers() {
		readiness.Reasons = append(readiness.Reasons, fmt.Sprintf(
			"the node has had no contact with the meta group's leader for %s: it takes no new sessions of peers", o.node.MetaSilence().Round(time.Second)))
	}
	if why := o.node.ShutOut(); why != "" {
		readiness.Reasons = append(readiness.Reasons, "the other nodes refuse this one: "+why)
	}
	if goes := parting(o.node.Leaves(), o.node.TakesPeers()); goes != "" {
		readiness.Reasons = append(readiness.Reasons, goes)
	}
	if len(current.Shards()) == 0 {
		readiness.Reasons = append(readiness.Reasons, fmt.Sprintf("the shards are not placed yet: that waits for %d nodes", current.ReplicationFactor()))
	}
	if _, _, can := o.node.HubSigner(mls.Ed25519); !can {
		readiness.Reasons = append(readiness.Reasons, "the hub's keys cannot be opened: is seal_key_file that of this cluster?")
	}
	readiness.Ready = len(readiness.Reasons) == 0
	return readiness
}

// parting says why a node that leaves the cluster for good is to get no more requests; empty while it has replicas, or stays. Once it is out it
// asks the others, who know (removal.go); where it reaches none of them it can but guess.
func parting(leaves, hears bool) string {
	switch {
	case !leaves:
		return ""
	case hears:
		return "the node leaves the cluster, and has no replica any more: it sends everybody elsewhere"
	default:
		return "the node was to leave the cluster, and hears nothing of it any more: it is out, most likely ('parley node list', at a member)"
	}
}

func (o *operations) Peers(context.Context) ([]httpapi.PeerEntry, error) {
	var entries []httpapi.PeerEntry
	for _, p := range o.node.Peers() {
		entries = append(entries, httpapi.PeerEntry{
			Domain: p.Domain, Domains: p.Domains, DirectoryURLs: p.DirectoryURLs, TrustPEM: string(p.TrustPEM),
			AcceptServerAuth: p.AcceptServerAuth, AllowPrivateAddresses: p.AllowPrivateAddresses, Hold: o.holdOf(p.Domain),
		})
	}
	return entries, nil
}

func (o *operations) PutPeer(ctx context.Context, p httpapi.PeerEntry) error {
	defer o.settle(ctx)
	domains := slices.Clone(p.Domains)
	slices.SortFunc(domains, mimi.Provider.Compare)
	return refusal(o.node.PutPeer(ctx, meta.Peer{
		Domain: p.Domain, Domains: slices.Compact(domains), DirectoryURLs: p.DirectoryURLs, TrustPEM: []byte(p.TrustPEM),
		AcceptServerAuth: p.AcceptServerAuth, AllowPrivateAddresses: p.AllowPrivateAddresses,
	}))
}

func (o *operations) RemovePeer(ctx context.Context, domain mimi.Provider) error {
	if _, known := o.node.Peer(domain); !known {
		return &httpapi.NotFoundError{What: "peer " + domain.String()}
	}
	defer o.settle(ctx)
	return refusal(o.node.RemovePeer(ctx, domain))
}

func (o *operations) Tokens(context.Context) ([]httpapi.TokenEntry, error) {
	var entries []httpapi.TokenEntry
	for _, t := range o.node.Tokens() {
		entries = append(entries, httpapi.TokenEntry{ID: t.ID, Name: t.Name, Scopes: scopeNames(t.Scopes)})
	}
	return entries, nil
}

func scopeNames(scopes []meta.Scope) []string {
	names := make([]string, 0, len(scopes))
	for _, s := range scopes {
		names = append(names, s.String())
	}
	return names
}

// CreateToken makes a secret of 32 random bytes; the cluster keeps its hash alone.
func (o *operations) CreateToken(ctx context.Context, r httpapi.TokenRequest) (httpapi.NewToken, error) {
	var scopes []meta.Scope
	for _, name := range r.Scopes {
		scope, err := meta.ParseScope(name)
		if err != nil {
			return httpapi.NewToken{}, err
		}
		scopes = append(scopes, scope)
	}
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	var secret [32]byte
	var id [8]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return httpapi.NewToken{}, err
	}
	if _, err := rand.Read(id[:]); err != nil {
		return httpapi.NewToken{}, err
	}
	token := httpapi.NewToken{
		ID: hex.EncodeToString(id[:]), Name: r.Name, Scopes: scopeNames(scopes), Secret: base64.RawURLEncoding.EncodeToString(secret[:]),
	}
	err := o.node.PutToken(ctx, meta.Token{ID: token.ID, Name: r.Name, SecretHash: sha256.Sum256([]byte(token.Secret)), Scopes: scopes})
	if err != nil {
		return httpapi.NewToken{}, refusal(err)
	}
	o.settle(ctx)
	return token, nil
}

func (o *operations) RevokeToken(ctx context.Context, id string) error {
	if !slices.ContainsFunc(o.node.Tokens(), func(t meta.Token) bool { return t.ID == id }) {
		return &httpapi.NotFoundError{What: "token " + id}
	}
	defer o.settle(ctx)
	return refusal(o.node.RevokeToken(ctx, id))
}

func (o *operations) Digests(ctx context.Context, shard fsm.ShardID) (httpapi.ShardDigests, error) {
	if _, known := o.node.Map().Shard(shard); !known {
		return httpapi.ShardDigests{}, &httpapi.NotFoundError{What: fmt.Sprintf("shard %d", shard)}
	}
	replicas, err := o.node.Digest(ctx, shard)
	if err != nil {
		return httpapi.ShardDigests{}, refusal(err)
	}
	digests := httpapi.ShardDigests{Shard: shard, Equal: true}
	for _, r := range replicas {
		entry := httpapi.ReplicaDigest{Node: r.Node, Index: r.Index}
		if r.Err != nil {
			entry.Error = r.Err.Error()
		} else {
			entry.Digest, entry.Content = hex.EncodeToString(r.Digest[:]), hex.EncodeToString(r.Content[:])
		}
		digests.Replicas = append(digests.Replicas, entry)
		digests.Equal = digests.Equal && r.Err == nil && r.Index == replicas[0].Index && r.Digest == replicas[0].Digest
	}
	return digests, nil
}

func (o *operations) TransferLeadership(ctx context.Context, shard fsm.ShardID, node string) error {
	if _, known := o.node.Map().Shard(shard); !known {
		return &httpapi.NotFoundError{What: fmt.Sprintf("shard %d", shard)}
	}
	return refusal(o.node.TransferLeadership(ctx, shard, node))
}
