package meta

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// Apply applies one entry of the meta group's log, as EncodeCommand wrote it. An error is the store's, or says that the entry
// cannot be read: the replica cannot go on then, and the store's batch must be dropped. A refusal writes nothing. Apply keeps
// nothing between calls.
func Apply(store fsm.Store, index uint64, entry []byte) (Outcome, error) {
	c, err := DecodeCommand(entry)
	if err != nil {
		if unknown := (*UnknownCommandError)(nil); errors.As(err, &unknown) {
			unknown.Index = index
		}
		return nil, fmt.Errorf("meta entry %d: %w", index, err)
	}
	// The map is small, and changes seldom: reading all of it keeps every rule a plain function of a value.
	m, err := ReadMap(store)
	if err != nil {
		return nil, fmt.Errorf("meta entry %d: %w", index, err)
	}
	t := &tx{store: store, m: m}
	if !begins(c) && !m.Initialised() {
		return Refused{"the cluster has not been initialised"}, nil
	}
	outcome := c.apply(t)
	if t.err != nil {
		return nil, fmt.Errorf("meta entry %d: %w", index, t.err)
	}
	return outcome, nil
}

// begins reports whether a command makes a cluster.
func begins(c Command) bool {
	switch c.(type) {
	case InitCluster, RestoreCluster:
		return true
	default:
		return false
	}
}

// tx is the application of one command: it reads the map as it was, and writes records.
type tx struct {
	store fsm.Store
	m     *Map
	err   error // of the store, the first
}

func (t *tx) set(key []byte, write func(*mls.Writer)) {
	if t.err == nil {
		t.err = t.store.Set(key, encode(write))
	}
}

func (t *tx) delete(key []byte) {
	if t.err == nil {
		t.err = t.store.Delete(key)
	}
}

// unchanged is the answer to what is so already.
func (t *tx) unchanged() Outcome { return Done{t.m.version} }

// next is the version that the command brings.
func (t *tx) next() uint64 { return t.m.version + 1 }

// changed raises the version; every command that writes ends with it.
func (t *tx) changed() Outcome {
	version := t.next()
	t.set(newKey(keyVersion), func(w *mls.Writer) { w.Uint64(version) })
	return Done{version}
}

func (t *tx) setSettings(s fsm.Settings) {
	s.HubKeys = nil
	t.set(newKey(keySettings), settingsRecord{t.next(), s}.appendTo)
}

// revoked raises the version of the settings: what was judged for a caller who is shut out now was judged under the version before, and
// the shards refuse it.
func (t *tx) revoked() {
	if t.m.settings.Format >= fsm.FormatRevocations {
		t.setSettings(t.m.settings)
	}
}

func refuse(format string, args ...any) Outcome { return Refused{fmt.Sprintf(format, args...)} }

func (c InitCluster) apply(t *tx) Outcome {
	if t.m.Initialised() {
		return c.again(t)
	}
	if reason := nameFault(c.ClusterID); reason != "" {
		return refuse("the cluster ID %s", reason)
	}
	if c.ReplicationFactor < 1 || c.ReplicationFactor > ReplicasMax {
		return refuse("the replication factor is not between 1 and %d", ReplicasMax)
	}
	if c.Shards < 1 || c.Shards > ShardsMax {
		return refuse("the number of shards is not between 1 and %d", ShardsMax)
	}
	if reason := settingsFault(t.m, c.Settings); reason != "" {
		return Refused{reason}
	}
	t.set(newKey(keyCluster), clusterRecord{c.ClusterID, c.ReplicationFactor, c.Shards}.appendTo)
	t.setSettings(c.Settings)
	return t.changed()
}

// again answers for a cluster that exists: an init that was cut off may be repeated, but it must ask for the same cluster. What can change
// later is not compared.
func (c InitCluster) again(t *tx) Outcome {
	is := t.m.cluster
	switch {
	case is.id != c.ClusterID:
		return refuse("this is cluster %q already", is.id)
	case len(c.Settings.Domains) == 0 || c.Settings.Domains[0] != t.m.settings.Domains[0]:
		return refuse("the cluster exists and speaks as %s", t.m.settings.Domains[0])
	case is.replication != c.ReplicationFactor || is.shards != c.Shards:
		return refuse("the cluster exists with %d shards of %d replicas", is.shards, is.replication)
	default:
		return t.unchanged()
	}
}

func (c PutSettings) apply(t *tx) Outcome {
	switch outcome := c.fault(t); {
	case outcome != nil:
		return outcome
	case sameSettings(t.m.settings, c.Settings):
		return t.unchanged()
	}
	t.setSettings(c.Settings)
	return t.changed()
}

// fault refuses what cannot be; nil for what can.
func (c PutSettings) fault(t *tx) Outcome {
	if reason := settingsFault(t.m, c.Settings); reason != "" {
		return Refused{reason}
	}
	if c.Settings.Domains[0] != t.m.settings.Domains[0] {
		return refuse("the first domain, %s, names the local inbox and cannot change", t.m.settings.Domains[0])
	}
	return nil
}

// sameSettings compares all but the hub's keys, which have records of their own.
func sameSettings(a, b fsm.Settings) bool {
	a.HubKeys, b.HubKeys = nil, nil
	return bytes.Equal(fsm.EncodeSettings(a), fsm.EncodeSettings(b))
}

func (c ChangeSettings) apply(t *tx) Outcome {
	switch outcome := (PutSettings{c.Settings}).fault(t); {
	case outcome != nil:
		return outcome
	case sameSettings(t.m.settings, c.Settings):
		return t.unchanged()
	case c.Version != t.m.settingsVersion:
		return refuse("the settings are of version %d by now, and the change was made to version %d", t.m.settingsVersion, c.Version)
	}
	t.setSettings(c.Settings)
	return t.changed()
}

func settingsFault(m *Map, s fsm.Settings) string {
	switch {
	case len(s.Domains) == 0:
		return "the settings name no domain"
	case s.LeaseMinMillis == 0 || s.LeaseMinMillis > s.LeaseDefaultMillis || s.LeaseDefaultMillis > s.LeaseMaxMillis:
		return "the lease's least, default and greatest length are not in this order, or zero"
	case s.KeyPackagesPerClientMax == 0 || s.KeyPackageLifetimeMax == 0 || s.RetentionMillis == 0:
		return "a limit is zero"
	}
	if fault := s.Claims.Fault(s.KeyPackagesPerClientMax); fault != "" {
		return fault
	}
	if fault := s.Bulk.Fault(); fault != "" {
		return fault
	}
	for i, domain := range s.Domains {
		if slices.Contains(s.Domains[:i], domain) {
			return fmt.Sprintf("the domain %s is named twice", domain)
		}
		if p, taken := m.Peer(domain); taken {
			return fmt.Sprintf("the domain %s is the peer %s's", domain, p.Domain)
		}
	}
	return ""
}

func (c PutPeer) apply(t *tx) Outcome {
	p := c.Peer
	slices.SortFunc(p.Domains, mimi.Provider.Compare)
	if reason := peerFault(t.m, p); reason != "" {
		return refuse("peer %s: %s", p.Domain, reason)
	}
	old, found := find(t.m.peers, func(o Peer) int { return o.Domain.Compare(p.Domain) })
	switch {
	case found && bytes.Equal(encode(old.appendTo), encode(p.appendTo)):
		return t.unchanged()
	case !found && len(t.m.peers) >= PeersMax:
		return refuse("there are %d peers already", PeersMax)
	}
	t.set(peerKey(p.Domain), p.appendTo)
	return t.changed()
}

func peerFault(m *Map, p Peer) string {
	if !slices.Contains(p.Domains, p.Domain) {
		return "it does not speak for its own domain"
	}
	for i, domain := range p.Domains {
		if i > 0 && p.Domains[i-1] == domain {
			return fmt.Sprintf("the domain %s is named twice", domain)
		}
		if slices.Contains(m.settings.Domains, domain) {
			return fmt.Sprintf("the domain %s is this provider's own", domain)
		}
		if other, taken := m.Peer(domain); taken && other.Domain != p.Domain {
			return fmt.Sprintf("the domain %s is the peer %s's", domain, other.Domain)
		}
	}
	for _, url := range p.DirectoryURLs {
		if url == "" || len(url) > URLBytesMax {
			return fmt.Sprintf("a directory URL is empty or longer than %d bytes", URLBytesMax)
		}
	}
	if len(p.TrustPEM) > TrustBytesMax {
		return fmt.Sprintf("its certificates are more than %d bytes", TrustBytesMax)
	}
	return ""
}

func (c RemovePeer) apply(t *tx) Outcome {
	if _, found := find(t.m.peers, func(p Peer) int { return p.Domain.Compare(c.Domain) }); !found {
		return t.unchanged()
	}
	t.delete(peerKey(c.Domain))
	if _, held := t.m.HoldOf(c.Domain); held {
		t.delete(holdKey(c.Domain))
	}
	t.revoked()
	return t.changed()
}

func (c PutToken) apply(t *tx) Outcome {
	if reason := tokenFault(c.Token); reason != "" {
		return refuse("the token %s", reason)
	}
	old, found := find(t.m.tokens, func(o Token) int { return cmp.Compare(o.ID, c.Token.ID) })
	same, taken := t.m.TokenByHash(c.Token.SecretHash)
	switch {
	case found && bytes.Equal(encode(old.appendTo), encode(c.Token.appendTo)):
		return t.unchanged()
	case found:
		return refuse("the token %q exists; revoke it and make another", c.Token.ID)
	case taken:
		return refuse("the token %q has the same secret", same.ID)
	case len(t.m.tokens) >= TokensMax:
		return refuse("there are %d tokens already", TokensMax)
	}
	t.set(newKey(keyToken, []byte(c.Token.ID)...), c.Token.appendTo)
	return t.changed()
}

func tokenFault(t Token) string {
	if reason := nameFault(t.ID); reason != "" {
		return "ID " + reason
	}
	if len(t.Name) > TextBytesMax {
		return fmt.Sprintf("name is longer than %d bytes", TextBytesMax)
	}
	if t.SecretHash == [32]byte{} {
		return "has no secret"
	}
	for i, scope := range t.Scopes {
		if scope < 1 || scope > scopeLast || i > 0 && t.Scopes[i-1] >= scope {
			return "has scopes that are unknown, repeated or out of order"
		}
	}
	if len(t.Scopes) == 0 {
		return "has no scope"
	}
	return ""
}

func (c RevokeToken) apply(t *tx) Outcome {
	if _, found := find(t.m.tokens, func(o Token) int { return cmp.Compare(o.ID, c.ID) }); !found {
		return t.unchanged()
	}
	t.delete(newKey(keyToken, []byte(c.ID)...))
	t.revoked()
	return t.changed()
}

func (c PutHubKey) apply(t *tx) Outcome { return t.putHubKey(c.Key, 0) }

func (c AddHubKey) apply(t *tx) Outcome {
	if t.m.settings.Format < fsm.FormatExclusive {
		return refuse("the cluster has to be raised to format %d first", fsm.FormatExclusive)
	}
	return t.putHubKey(c.Key, t.now(c.Stamp))
}

// putHubKey adds a key, which came at a time that is not known where it is 0.
func (t *tx) putHubKey(k HubKey, millis uint64) Outcome {
	if scheme, known := mls.SchemeOfKey(k.Public); !known || scheme != k.Scheme || len(k.Sealed) == 0 || len(k.Sealed) > TrustBytesMax {
		return refuse("the hub key is not of its scheme, or has no private half")
	}
	for _, old := range t.m.hubKeys {
		if bytes.Equal(old.Public, k.Public) {
			return t.unchanged()
		}
	}
	if len(t.m.hubKeys) >= HubKeysMax {
		return refuse("there are %d hub keys already", HubKeysMax)
	}
	t.set(hubKeyKey(t.next()), k.appendTo)
	if millis > 0 {
		t.set(hubKeyTimeKey(t.next()), func(w *mls.Writer) { w.Uint64(millis) })
	}
	t.setSettings(t.m.settings) // the shards are to be told of the new key
	return t.changed()
}
