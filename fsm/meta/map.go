package meta

import (
	"cmp"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// Map is the whole of the meta group's state as of one version. It is immutable: what its methods return is shared and must not
// be changed. The zero value is the map before InitCluster.
type Map struct {
	version         uint64
	cluster         clusterRecord
	settings        fsm.Settings
	settingsVersion uint64
	nodes           []Node       // by ID
	shards          []Shard      // by ID
	places          []SlotPlace  // of slots that have left the shard of their birth, by slot
	moves           []SlotMove   // by slot
	ownerOf         []uint16     // by slot: 1 + the index into shards; 0 for none
	peers           []Peer       // by Domain
	holds           []Hold       // by Domain
	tokens          []Token      // by ID
	hubKeys         []HubKey     // oldest first
	serviceKeys     []ServiceKey // oldest first

	cas          []CA          // oldest first
	joinTokens   []JoinToken   // by ID
	certificates []Certificate // by serial number
	revocations  []Revocation  // by node
	gossipKeys   []GossipKey   // oldest first
	clock        uint64

	duties      []Duty // by Node
	zones       []Zone // by Node
	placement   placementRecord
	successions []Succession // by Shard
	generation  generationRecord
	restore     Restore

	// The versions under which records stand, in the records' order.
	hubKeyVersions, caVersions, gossipKeyVersions []uint64

	serviceKeyPlaces [][]byte // the keys under which serviceKeys stand
}

// ReadMap reads the map as of one applied index.
func ReadMap(r fsm.Reader) (*Map, error) {
	var m Map
	var err error
	if m.version, _, err = readOne(r, newKey(keyVersion), "version", func(r *mls.Reader) uint64 { return r.Uint64("") }); err != nil {
		return nil, err
	}
	if m.cluster, _, err = readOne(r, newKey(keyCluster), "cluster", readClusterRecord); err != nil {
		return nil, err
	}
	settings, _, err := readOne(r, newKey(keySettings), "settings", readSettingsRecord)
	if err != nil {
		return nil, err
	}
	m.settings, m.settingsVersion = settings.settings, settings.version
	if m.nodes, err = readAll(r, keyNode, "node", readNode); err != nil {
		return nil, err
	}
	if m.shards, err = readAll(r, keyShard, "shard", readShard); err != nil {
		return nil, err
	}
	if err := m.readSlots(r); err != nil {
		return nil, err
	}
	if m.peers, err = readAll(r, keyPeer, "peer", readPeer); err != nil {
		return nil, err
	}
	if m.holds, err = readAll(r, keyHold, "hold", readHold); err != nil {
		return nil, err
	}
	if m.tokens, err = readAll(r, keyToken, "token", readToken); err != nil {
		return nil, err
	}
	if m.hubKeys, m.hubKeyVersions, err = readVersioned(r, keyHubKey, "hub key", readHubKey); err != nil {
		return nil, err
	}
	times, versions, err := readVersioned(r, keyHubKeyTime, "time of a hub key", func(r *mls.Reader) uint64 { return r.Uint64("millis") })
	if err != nil {
		return nil, err
	}
	for i, version := range m.hubKeyVersions {
		if at, timed := slices.BinarySearch(versions, version); timed {
			m.hubKeys[i].AddedMillis = times[at]
		}
	}
	if err := m.readServiceKeys(r); err != nil {
		return nil, err
	}
	if err := m.readTrust(r); err != nil {
		return nil, err
	}
	if err := m.readPlacing(r); err != nil {
		return nil, err
	}
	if err := m.readGeneration(r); err != nil {
		return nil, err
	}
	if err := m.readRestore(r); err != nil {
		return nil, err
	}
	m.finish()
	return &m, nil
}

// readTrust reads what the map holds of who belongs to the cluster.
func (m *Map) readTrust(r fsm.Reader) (err error) {
	if m.cas, m.caVersions, err = readVersioned(r, keyCA, "CA", readCA); err != nil {
		return err
	}
	if m.joinTokens, err = readAll(r, keyJoinToken, "join token", readJoinToken); err != nil {
		return err
	}
	if m.certificates, err = readAll(r, keyCertificate, "certificate", readCertificate); err != nil {
		return err
	}
	if m.revocations, err = readAll(r, keyRevocation, "revocation", readRevocation); err != nil {
		return err
	}
	if m.gossipKeys, m.gossipKeyVersions, err = readVersioned(r, keyGossipKey, "gossip key", readGossipKey); err != nil {
		return err
	}
	m.clock, _, err = readOne(r, newKey(keyClock), "clock", func(r *mls.Reader) uint64 { return r.Uint64("") })
	return err
}

// finish derives what is not stored.
func (m *Map) finish() {
	for _, k := range m.hubKeys {
		m.settings.HubKeys = append(m.settings.HubKeys, k.Public)
	}
	m.own()
}

// Version rises with every change.
func (m *Map) Version() uint64 { return m.version }

// Initialised reports whether there is a cluster.
func (m *Map) Initialised() bool { return m.cluster.id != "" }

// ClusterID is empty before InitCluster.
func (m *Map) ClusterID() string { return m.cluster.id }

// ShardsWanted is how many shards InitCluster asked for.
func (m *Map) ShardsWanted() int { return int(m.cluster.shards) }

// Settings are what the shards are to be told, with the version to tell them under. The public halves of all hub keys are in.
func (m *Map) Settings() (fsm.Settings, uint64) { return m.settings, m.settingsVersion }

// Nodes are all nodes by ID, removed ones too.
func (m *Map) Nodes() []Node { return m.nodes }

// Node finds a node by its ID.
func (m *Map) Node(id string) (Node, bool) {
	return find(m.nodes, func(n Node) int { return cmp.Compare(n.ID, id) })
}

// Shards are all shards by ID.
func (m *Map) Shards() []Shard { return m.shards }

// Shard finds a shard by its ID.
func (m *Map) Shard(id fsm.ShardID) (Shard, bool) {
	return find(m.shards, func(s Shard) int { return cmp.Compare(s.ID, id) })
}

// Peers are all peers by Domain.
func (m *Map) Peers() []Peer { return m.peers }

// Peer finds the peer that speaks for a domain: its own, or one of its others.
func (m *Map) Peer(domain mimi.Provider) (Peer, bool) {
	if p, found := find(m.peers, func(p Peer) int { return p.Domain.Compare(domain) }); found {
		return p, true
	}
	for _, p := range m.peers {
		if slices.Contains(p.Domains, domain) {
			return p, true
		}
	}
	return Peer{}, false
}

// Tokens are all tokens by ID.
func (m *Map) Tokens() []Token { return m.tokens }

// TokenByHash finds a token by the SHA-256 of its secret.
func (m *Map) TokenByHash(hash [32]byte) (Token, bool) {
	for _, t := range m.tokens {
		if t.SecretHash == hash {
			return t, true
		}
	}
	return Token{}, false
}

// HubKeys are all hub keys, oldest first.
func (m *Map) HubKeys() []HubKey { return m.hubKeys }

// HubKey is the key to sign with in a scheme: the newest.
func (m *Map) HubKey(scheme mls.SignatureScheme) (HubKey, bool) {
	for _, k := range slices.Backward(m.hubKeys) {
		if k.Scheme == scheme {
			return k, true
		}
	}
	return HubKey{}, false
}

// Check looks for what cannot be: it is for tests and for tools that inspect a state.
func (m *Map) Check() error {
	born := slices.DeleteFunc(slices.Clone(m.shards), Shard.bornEmpty)
	slices.SortFunc(born, func(a, b Shard) int { return cmp.Compare(a.First, b.First) })
	next := fsm.SlotID(0)
	for _, s := range born {
		if s.First < next {
			return fmt.Errorf("shard %d was born at slot %d, which another was born with", s.ID, s.First)
		}
		next = s.Last + 1
	}
	for _, s := range m.shards {
		for _, id := range s.Replicas {
			if n, found := m.Node(id); !found || n.State == NodeRemoved {
				return fmt.Errorf("shard %d has a replica on node %q, which is not there", s.ID, id)
			}
		}
	}
	return m.checkSlots()
}

func find[T any](sorted []T, compare func(T) int) (T, bool) {
	i, found := slices.BinarySearchFunc(sorted, 0, func(v T, _ int) int { return compare(v) })
	if !found {
		var none T
		return none, false
	}
	return sorted[i], true
}
