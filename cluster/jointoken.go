package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"parley/fsm/meta"
	"parley/mls"
)

const (
	joinTokenPrefix   = "parley-join-"
	joinTokenVersion  = 1
	joinTokenSumBytes = 4
	joinTokenSeedsMax = 5
	inviteDefault     = time.Hour
)

// ErrJoinToken: a text is no join token, or not a whole one.
var ErrJoinToken = errors.New("it is not a join token, or was cut off or mistyped")

// JoinToken is what a node without a certificate comes in with: where the cluster is, how to know it, and a secret that is good
// once. It is for the operator to carry from one node to another; the cluster keeps the hash of its secret alone.
type JoinToken struct {
	ClusterID   string
	Fingerprint [32]byte // of the CA, pki.CA.Fingerprint
	ID          string
	Secret      [32]byte
	Node        string   // the only node that it is good for; empty: any new one
	Seeds       []string // cluster addresses
}

// String is the token as text: letters, digits, '-' and '_'. It is a secret.
//
//	struct {
//	    uint8 version = 1;
//	    opaque cluster_id<V>;
//	    opaque fingerprint[32];
//	    opaque id<V>;
//	    opaque secret[32];
//	    opaque node<V>;
//	    opaque seeds<V><V>;
//	    opaque sum[4];       // of SHA-256 over all before it
//	} JoinToken;
func (t JoinToken) String() string {
	var w mls.Writer
	w.Uint8(joinTokenVersion)
	w.Opaque([]byte(t.ClusterID))
	w.Fixed(t.Fingerprint[:])
	w.Opaque([]byte(t.ID))
	w.Fixed(t.Secret[:])
	w.Opaque([]byte(t.Node))
	w.Vector(func(w *mls.Writer) {
		for _, seed := range t.Seeds {
			w.Opaque([]byte(seed))
		}
	})
	sum := sha256.Sum256(w.Bytes())
	w.Fixed(sum[:joinTokenSumBytes])
	return joinTokenPrefix + base64.RawURLEncoding.EncodeToString(w.Bytes())
}

// ParseJoinToken reads a token. The error wraps ErrJoinToken.
func ParseJoinToken(text string) (JoinToken, error) {
	encoded, ours := strings.CutPrefix(strings.TrimSpace(text), joinTokenPrefix)
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if !ours || err != nil || len(raw) < joinTokenSumBytes {
		return JoinToken{}, ErrJoinToken
	}
	body, sum := raw[:len(raw)-joinTokenSumBytes], sha256.Sum256(raw[:len(raw)-joinTokenSumBytes])
	if !bytes.Equal(raw[len(body):], sum[:joinTokenSumBytes]) {
		return JoinToken{}, ErrJoinToken
	}
	r := mls.NewReader("JoinToken", body)
	if version := r.Uint8("version"); version != joinTokenVersion {
		r.Fail("version", "is not known to this program")
	}
	t := JoinToken{ClusterID: string(r.Opaque("cluster_id"))}
	copy(t.Fingerprint[:], r.Fixed("fingerprint", len(t.Fingerprint)))
	t.ID = string(r.Opaque("id"))
	copy(t.Secret[:], r.Fixed("secret", len(t.Secret)))
	t.Node = string(r.Opaque("node"))
	t.Seeds = mls.ReadList(r, "seeds", func(r *mls.Reader) string { return string(r.Opaque("")) })
	if err := r.Close(); err != nil {
		return JoinToken{}, fmt.Errorf("%w: %w", ErrJoinToken, err)
	}
	return t, nil
}

// Invite makes a token with which one node can come in, within ttl (an hour where it is 0). node names that node, and may be a member
// that needs another certificate; empty lets the first new node in that comes.
func (n *Node) Invite(ctx context.Context, node string, ttl time.Duration) (JoinToken, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return JoinToken{}, err
	}
	defer done()
	if !n.Map().Initialised() {
		return JoinToken{}, ErrNotInitialised
	}
	ca, err := n.authority()
	if err != nil {
		return JoinToken{}, err
	}
	if ttl == 0 {
		ttl = inviteDefault
	}
	t := JoinToken{ClusterID: n.Map().ClusterID(), Fingerprint: ca.Fingerprint(), Node: node, Seeds: n.inviterAddresses()}
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return JoinToken{}, err
	}
	if _, err := rand.Read(t.Secret[:]); err != nil {
		return JoinToken{}, err
	}
	t.ID = hex.EncodeToString(id[:])
	return t, n.change(ctx, meta.PutJoinToken{
		Token:  meta.JoinToken{ID: t.ID, SecretHash: sha256.Sum256(t.Secret[:]), Node: node},
		Millis: uint64(max(0, ttl.Milliseconds())),
	})
}

// Invitations are those that no node has used up yet, by ID; some may be past their end.
func (n *Node) Invitations() []meta.JoinToken { return n.Map().JoinTokens() }

// RevokeInvitation ends an invitation: nobody comes in by it any more, from when the meta group has decided so. One that there is
// not is no error.
func (n *Node) RevokeInvitation(ctx context.Context, id string) error {
	return n.Change(ctx, meta.RevokeJoinToken{ID: id})
}

// inviterAddresses are this node's and some others'.
func (n *Node) inviterAddresses() []string {
	addresses := []string{n.advertise}
	for _, id := range activeNodes(n.Map()) {
		if address, known := n.addressOf(id); known && id != n.id && len(addresses) < joinTokenSeedsMax {
			addresses = append(addresses, address)
		}
	}
	return addresses
}
