package meta

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"

	"parley/mls"
)

// What the map holds of who belongs to the cluster: its CA, invitations, certificates, gossip keys. Private halves are sealed
// under the operator's key; they are opened by the nodes, never here.

// Limits of trust. They are protocol constants, as those of the map are.
const (
	CAsMax              = 1
	JoinTokensMax       = 256
	JoinTokenMillisMax  = 7 * 24 * 60 * 60 * 1000 // the longest that an invitation may be good for
	CertificatesMax     = 4096
	CertificateBytesMax = 8 << 10 // of a CA's certificate
	SerialBytesMax      = 20      // RFC 5280 §4.1.2.2
	GossipKeysMax       = 2       // the one in use, and one that comes or goes
)

// forgetMillis is how long a certificate is remembered after its end: by then no clock of a node lets it in any more.
const forgetMillis = 24 * 60 * 60 * 1000

// CA signs the certificates of the cluster's nodes.
type CA struct {
	Certificate []byte // X.509, DER
	Sealed      []byte // its private key
}

// JoinToken lets one node come in that has no certificate, once. Who holds the secret is known by its hash alone.
type JoinToken struct {
	ID         string
	SecretHash [32]byte
	Node       string // the only node that may use it; empty: whichever is first
	Until      uint64 // in milliseconds of the meta group's time
	UsedBy     string // the node that has used it; empty before
	UsedKey    [32]byte
}

// Certificate is one that the cluster's CA gave to a node.
type Certificate struct {
	Serial   []byte // big-endian, without leading zeros
	Node     string
	NotAfter uint64 // in milliseconds since 1970
	Revoked  bool
}

// Revocation says that of a node's certificates only those count that were recorded afterwards: one that nobody recorded may have been
// stolen with the rest.
type Revocation struct {
	Node string
	At   uint64 // in milliseconds of the meta group's time
}

// GossipKey is one of the keys that gossip is encrypted with. Every node decrypts with all of them and encrypts with the primary one.
type GossipKey struct {
	ID      string
	Sealed  []byte
	Primary bool
}

// SecretKind says what a sealed secret is. Numbers are append-only.
type SecretKind uint8

const (
	SecretHubKey    SecretKind = 1 // named by its public half
	SecretCA        SecretKind = 2 // without a name
	SecretGossipKey SecretKind = 3 // named by its ID

	SecretServiceKey SecretKind = 4 // named by its purpose, an octet, and its name
)

func (k SecretKind) String() string {
	switch k {
	case SecretHubKey:
		return "hub key"
	case SecretCA:
		return "CA key"
	case SecretGossipKey:
		return "gossip key"
	case SecretServiceKey:
		return "key of the hub"
	default:
		return fmt.Sprintf("secret %d", uint8(k))
	}
}

// Secret is a private half as the map has it.
type Secret struct {
	Kind   SecretKind
	Name   []byte
	Sealed []byte
}

// Resealed is a secret under another seal key.
type Resealed struct {
	Kind   SecretKind
	Name   []byte
	Was    [32]byte // SHA-256 of what it replaces
	Sealed []byte
}

// now is the meta group's time at a command: it never goes back, whatever a new leader's clock says.
func (t *tx) now(stamp uint64) uint64 { return max(t.m.clock, stamp) }

// stamped is changed, for a command that carries a stamp.
func (t *tx) stamped(stamp uint64) Outcome {
	t.keepTime(stamp)
	return t.changed()
}

// keepTime is for a command that carries a stamp and changes nothing of the map.
func (t *tx) keepTime(stamp uint64) {
	if stamp > t.m.clock {
		t.set(newKey(keyClock), func(w *mls.Writer) { w.Uint64(stamp) })
	}
}

func sealedFault(sealed []byte) bool { return len(sealed) == 0 || len(sealed) > TrustBytesMax }

func (c PutCA) apply(t *tx) Outcome {
	if len(c.CA.Certificate) == 0 || len(c.CA.Certificate) > CertificateBytesMax || sealedFault(c.CA.Sealed) {
		return refuse("the CA has no certificate or no private half")
	}
	for _, old := range t.m.cas {
		if bytes.Equal(old.Certificate, c.CA.Certificate) {
			return t.unchanged()
		}
	}
	if len(t.m.cas) >= CAsMax {
		return refuse("the cluster has a CA already")
	}
	t.set(caKey(t.next()), c.CA.appendTo)
	return t.changed()
}

func (c PutJoinToken) apply(t *tx) Outcome {
	k, now := c.Token, t.now(c.Stamp)
	if reason := nameFault(k.ID); reason != "" {
		return refuse("the join token's ID %s", reason)
	}
	if k.Node != "" {
		if reason := nameFault(k.Node); reason != "" {
			return refuse("the node ID %s", reason)
		}
	}
	old, found := find(t.m.joinTokens, func(o JoinToken) int { return cmp.Compare(o.ID, k.ID) })
	switch invited, known := t.m.Node(k.Node); {
	case found && old.SecretHash == k.SecretHash && old.Node == k.Node:
		return t.unchanged()
	case found:
		return refuse("the join token %q exists", k.ID)
	case k.SecretHash == [32]byte{}:
		return refuse("the join token has no secret")
	case c.Millis == 0 || c.Millis > JoinTokenMillisMax:
		return refuse("a join token is good for at least a millisecond and at most 7 days")
	case len(t.m.cas) == 0:
		return refuse("the cluster does not have the key of its CA, so it cannot give certificates to nodes")
	case known && invited.State == NodeRemoved:
		return refuse("the node %q was removed; its ID is not used again", k.Node)
	}
	ended := func(o JoinToken) bool { return o.Until < now }
	kept := slices.DeleteFunc(slices.Clone(t.m.joinTokens), ended)
	if len(kept) >= JoinTokensMax {
		return refuse("there are %d join tokens already", JoinTokensMax)
	}
	for _, o := range t.m.joinTokens {
		if ended(o) {
			t.delete(joinTokenKey(o.ID))
		}
	}
	k.Until, k.UsedBy, k.UsedKey = now+c.Millis, "", [32]byte{}
	t.set(joinTokenKey(k.ID), k.appendTo)
	return t.stamped(c.Stamp)
}

func (c RevokeJoinToken) apply(t *tx) Outcome {
	if _, found := find(t.m.joinTokens, func(o JoinToken) int { return cmp.Compare(o.ID, c.ID) }); !found {
		return t.unchanged()
	}
	t.delete(joinTokenKey(c.ID))
	return t.changed()
}

func (c EnrolNode) apply(t *tx) Outcome {
	node := c.Certificate.Node
	k, found := find(t.m.joinTokens, func(o JoinToken) int { return cmp.Compare(o.ID, c.TokenID) })
	member, known := t.m.Node(node)
	used := k.UsedBy != ""
	switch {
	case !found || k.SecretHash != c.SecretHash:
		return refuse("the join token is not known: it was used up, revoked, or has ended")
	case t.now(c.Stamp) > k.Until:
		return refuse("the join token has ended")
	case k.Node != "" && k.Node != node:
		return refuse("the join token is for the node %q", k.Node)
	case used && (k.UsedBy != node || k.UsedKey != c.KeyHash):
		return refuse("the join token has been used")
	case known && member.State == NodeRemoved:
		return refuse("the node %q was removed; its ID is not used again", node)
	case known && k.Node == "":
		return refuse("the node %q belongs to the cluster; only a token that was made for it gives it another certificate", node)
	}
	if reason := certificateFault(t.m, c.Certificate, t.now(c.Stamp)); reason != "" {
		return Refused{reason}
	}
	recorded := t.record(c.Certificate, c.Stamp)
	if used && !recorded {
		return t.unchanged()
	}
	k.UsedBy, k.UsedKey = node, c.KeyHash
	t.set(joinTokenKey(k.ID), k.appendTo)
	return t.stamped(c.Stamp)
}

// spend forgets the invitations by which a node came in: it is in.
func (t *tx) spend(node string) {
	for _, k := range t.m.joinTokens {
		if k.UsedBy == node {
			t.delete(joinTokenKey(k.ID))
		}
	}
}

func (c RecordCertificate) apply(t *tx) Outcome {
	member, known := t.m.Node(c.Certificate.Node)
	if !known || member.State != NodeActive {
		return refuse("the node %q is not an active one", c.Certificate.Node)
	}
	if reason := certificateFault(t.m, c.Certificate, t.now(c.Stamp)); reason != "" {
		return Refused{reason}
	}
	if !t.record(c.Certificate, c.Stamp) {
		return t.unchanged()
	}
	return t.stamped(c.Stamp)
}

func certificateFault(m *Map, c Certificate, now uint64) string {
	if reason := nameFault(c.Node); reason != "" {
		return "the node ID " + reason
	}
	if len(c.Serial) == 0 || len(c.Serial) > SerialBytesMax || c.Serial[0] == 0 {
		return "the certificate's serial number is not one"
	}
	old, found := find(m.certificates, func(o Certificate) int { return bytes.Compare(o.Serial, c.Serial) })
	switch {
	case found && (old.Node != c.Node || old.NotAfter != c.NotAfter):
		return fmt.Sprintf("the certificate's serial number is that of another one, of node %q", old.Node)
	case found && old.Revoked:
		return "the certificate was revoked"
	case c.Revoked:
		return "a certificate is recorded before it is revoked"
	case !found && len(m.certificates)-len(forgotten(m, now)) >= CertificatesMax:
		return fmt.Sprintf("there are %d certificates already", CertificatesMax)
	}
	return ""
}

// forgotten are the certificates that nobody has to remember any more.
func forgotten(m *Map, now uint64) []Certificate {
	var past []Certificate
	for _, c := range m.certificates {
		if c.NotAfter < now && now-c.NotAfter > forgetMillis {
			past = append(past, c)
		}
	}
	return past
}

// record enters a certificate, and forgets old ones. It answers false, having written nothing, where the certificate is known.
func (t *tx) record(c Certificate, stamp uint64) bool {
	if _, found := find(t.m.certificates, func(o Certificate) int { return bytes.Compare(o.Serial, c.Serial) }); found {
		return false
	}
	for _, past := range forgotten(t.m, t.now(stamp)) {
		t.delete(certificateKey(past.Serial))
	}
	t.set(certificateKey(c.Serial), c.appendTo)
	return true
}

func (c RevokeCertificates) apply(t *tx) Outcome {
	_, known := t.m.Node(c.Node)
	issued, open := false, false
	for _, o := range t.m.certificates {
		if o.Node == c.Node {
			issued, open = true, open || !o.Revoked
		}
	}
	_, before := find(t.m.revocations, func(o Revocation) int { return cmp.Compare(o.Node, c.Node) })
	switch {
	case !known && !issued:
		return refuse("the node %q does not exist, and no certificate of it is known", c.Node)
	case before && !open:
		return t.unchanged()
	}
	t.revokeAll(c.Node, c.Stamp)
	return t.stamped(c.Stamp)
}

func (c PutGossipKey) apply(t *tx) Outcome {
	k := c.Key
	if reason := nameFault(k.ID); reason != "" {
		return refuse("the gossip key's ID %s", reason)
	}
	if sealedFault(k.Sealed) {
		return refuse("the gossip key is empty")
	}
	for _, old := range t.m.gossipKeys {
		if old.ID == k.ID {
			return t.unchanged()
		}
	}
	if len(t.m.gossipKeys) >= GossipKeysMax {
		return refuse("the gossip keys are being changed already")
	}
	k.Primary = len(t.m.gossipKeys) == 0
	t.set(gossipKeyKey(t.next()), k.appendTo)
	return t.changed()
}

func (c UseGossipKey) apply(t *tx) Outcome {
	i := slices.IndexFunc(t.m.gossipKeys, func(k GossipKey) bool { return k.ID == c.ID })
	switch {
	case i < 0:
		return refuse("there is no gossip key %q", c.ID)
	case t.m.gossipKeys[i].Primary:
		return t.unchanged()
	}
	for j, k := range t.m.gossipKeys {
		k.Primary = j == i
		t.set(gossipKeyKey(t.m.gossipKeyVersions[j]), k.appendTo)
	}
	return t.changed()
}

func (c RemoveGossipKey) apply(t *tx) Outcome {
	i := slices.IndexFunc(t.m.gossipKeys, func(k GossipKey) bool { return k.ID == c.ID })
	switch {
	case i < 0:
		return t.unchanged()
	case t.m.gossipKeys[i].Primary:
		return refuse("gossip is encrypted with the key %q", c.ID)
	}
	t.delete(gossipKeyKey(t.m.gossipKeyVersions[i]))
	return t.changed()
}

func (c Reseal) apply(t *tx) Outcome {
	var fresh []Resealed
	for _, r := range c.Secrets {
		was, found := t.m.secret(r.Kind, r.Name)
		switch {
		case !found:
			return refuse("there is no such %s", r.Kind)
		case sealedFault(r.Sealed):
			return refuse("the %s is empty", r.Kind)
		case bytes.Equal(was.Sealed, r.Sealed):
		case sha256.Sum256(was.Sealed) != r.Was:
			return refuse("the %s has been sealed anew meanwhile", r.Kind)
		case slices.ContainsFunc(fresh, func(o Resealed) bool { return o.Kind == r.Kind && bytes.Equal(o.Name, r.Name) }):
			return refuse("the %s is named twice", r.Kind)
		default:
			fresh = append(fresh, r)
		}
	}
	if len(fresh) == 0 {
		return t.unchanged()
	}
	for _, r := range fresh {
		t.reseal(r)
	}
	return t.changed()
}

func (t *tx) reseal(r Resealed) {
	switch r.Kind {
	case SecretHubKey:
		i := slices.IndexFunc(t.m.hubKeys, func(k HubKey) bool { return bytes.Equal(k.Public, r.Name) })
		k := t.m.hubKeys[i]
		k.Sealed = r.Sealed
		t.set(hubKeyKey(t.m.hubKeyVersions[i]), k.appendTo)
	case SecretCA:
		ca := t.m.cas[0]
		ca.Sealed = r.Sealed
		t.set(caKey(t.m.caVersions[0]), ca.appendTo)
	case SecretGossipKey:
		i := slices.IndexFunc(t.m.gossipKeys, func(k GossipKey) bool { return k.ID == string(r.Name) })
		k := t.m.gossipKeys[i]
		k.Sealed = r.Sealed
		t.set(gossipKeyKey(t.m.gossipKeyVersions[i]), k.appendTo)
	case SecretServiceKey:
		t.resealServiceKey(r)
	}
}

// Clock is the meta group's time: the latest stamp that a command brought, in milliseconds since 1970.
func (m *Map) Clock() uint64 { return m.clock }

// CA is the CA that signs, where the cluster has its key.
func (m *Map) CA() (CA, bool) {
	if len(m.cas) == 0 {
		return CA{}, false
	}
	return m.cas[len(m.cas)-1], true
}

// JoinTokens are the invitations that have not led to a member yet, by ID. Some may be past their end.
func (m *Map) JoinTokens() []JoinToken { return m.joinTokens }

// JoinToken finds an invitation by its ID.
func (m *Map) JoinToken(id string) (JoinToken, bool) {
	return find(m.joinTokens, func(k JoinToken) int { return cmp.Compare(k.ID, id) })
}

// Certificates are those on record, by serial number.
func (m *Map) Certificates() []Certificate { return m.certificates }

// Certificate finds the one with a serial number.
func (m *Map) Certificate(serial []byte) (Certificate, bool) {
	return find(m.certificates, func(c Certificate) int { return bytes.Compare(c.Serial, serial) })
}

// Barred says why a node with a certificate of this serial number (big-endian, without leading zeros) must not be talked to, or
// nothing. A node that the map does not have is not barred: it may be about to join.
func (m *Map) Barred(node string, serial []byte) string {
	if member, known := m.Node(node); known && member.State == NodeRemoved && !m.lostOnes(node) {
		return fmt.Sprintf("the node %s was removed", node)
	}
	certificate, recorded := find(m.certificates, func(o Certificate) int { return bytes.Compare(o.Serial, serial) })
	if recorded && certificate.Revoked {
		return fmt.Sprintf("the certificate of node %s was revoked", node)
	}
	if _, revoked := find(m.revocations, func(o Revocation) int { return cmp.Compare(o.Node, node) }); revoked && !recorded {
		return fmt.Sprintf("the certificates of node %s were revoked, and this one was not given to it since", node)
	}
	return ""
}

// GossipKeys are the keys of gossip, oldest first.
func (m *Map) GossipKeys() []GossipKey { return m.gossipKeys }

// Secrets are all that is sealed in the map.
func (m *Map) Secrets() []Secret {
	var all []Secret
	for _, k := range m.hubKeys {
		all = append(all, Secret{SecretHubKey, k.Public, k.Sealed})
	}
	for _, ca := range m.cas {
		all = append(all, Secret{SecretCA, nil, ca.Sealed})
	}
	for _, k := range m.gossipKeys {
		all = append(all, Secret{SecretGossipKey, []byte(k.ID), k.Sealed})
	}
	for _, k := range m.serviceKeys {
		all = append(all, Secret{SecretServiceKey, k.secretName(), k.Sealed})
	}
	return all
}

func (m *Map) secret(kind SecretKind, name []byte) (Secret, bool) {
	all := m.Secrets()
	i := slices.IndexFunc(all, func(s Secret) bool { return s.Kind == kind && bytes.Equal(s.Name, name) })
	if i < 0 {
		return Secret{}, false
	}
	return all[i], true
}
