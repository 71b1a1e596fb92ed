package cluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"parley/cluster/pki"
	"parley/cluster/transport"
	"parley/fsm/meta"
	"parley/mls"
	"parley/storage"
)

const (
	enrolVersion = 1
	// enrolPatience is how long seeds that do not answer are asked again.
	enrolPatience = 15 * time.Second
	// tokenPatience is how long a member waits for a token that its copy of the map does not have yet.
	tokenPatience = 2 * time.Second
)

type enrolCode uint8

const (
	enrolGranted enrolCode = 1
	enrolRefused enrolCode = 2 // for good
	enrolLater   enrolCode = 3 // nothing is decided, or it is not known
)

// enrolRequest is a newcomer's question:
//
//	struct {
//	    uint8 version = 1;
//	    opaque token<V>;
//	    opaque secret[32];
//	    opaque node<V>;
//	    opaque request<V>; // PKCS #10
//	} EnrolRequest;
type enrolRequest struct {
	token   string
	secret  [32]byte
	node    string
	request []byte
}

// enrolAnswer is a member's answer:
//
//	struct {
//	    uint8 version = 1;
//	    uint8 code;
//	    opaque reason<V>;
//	    opaque certificate<V>;   // PEM
//	    opaque trust<V>;         // PEM
//	    opaque gossip_key[32];   // the primary one
//	} EnrolAnswer;
type enrolAnswer struct {
	code        enrolCode
	reason      string
	certificate []byte
	trust       []byte
	gossipKey   [32]byte
}

func (q enrolRequest) encode() []byte {
	var w mls.Writer
	w.Uint8(enrolVersion)
	w.Opaque([]byte(q.token))
	w.Fixed(q.secret[:])
	w.Opaque([]byte(q.node))
	w.Opaque(q.request)
	return w.Bytes()
}

func decodeEnrolRequest(raw []byte) (enrolRequest, error) {
	r := mls.NewReader("EnrolRequest", raw)
	if version := r.Uint8("version"); version != enrolVersion {
		r.Fail("version", "is not known")
	}
	q := enrolRequest{token: string(r.Opaque("token"))}
	copy(q.secret[:], r.Fixed("secret", len(q.secret)))
	q.node, q.request = string(r.Opaque("node")), r.Opaque("request")
	return q, r.Close()
}

func (a enrolAnswer) encode() []byte {
	var w mls.Writer
	w.Uint8(enrolVersion)
	w.Uint8(uint8(a.code))
	w.Opaque([]byte(a.reason))
	w.Opaque(a.certificate)
	w.Opaque(a.trust)
	w.Fixed(a.gossipKey[:])
	return w.Bytes()
}

func decodeEnrolAnswer(raw []byte) (enrolAnswer, error) {
	r := mls.NewReader("EnrolAnswer", raw)
	if version := r.Uint8("version"); version != enrolVersion {
		r.Fail("version", "is not known")
	}
	a := enrolAnswer{code: enrolCode(r.Uint8("code")), reason: string(r.Opaque("reason"))}
	a.certificate, a.trust = r.Opaque("certificate"), r.Opaque("trust")
	copy(a.gossipKey[:], r.Fixed("gossip_key", len(a.gossipKey)))
	return a, r.Close()
}

// Enrol gets a node without a certificate one, with a join token. dataDir is the node's directory, dir the folder for its
// admission. The node's key is made here and never leaves; the token's secret is said only to a node whose CA has the token's fingerprint.
// After a crash anywhere the same call ends well. A *RefusedError is final: the token, the address or the CA is wrong.
func Enrol(ctx context.Context, dataDir, dir string, token JoinToken, node string) (Admission, error) {
	if token.Node != "" && node == "" {
		node = token.Node
	}
	if had, known, err := LoadAdmission(dir); err != nil || known {
		if err == nil && (had.Credentials.ClusterID() != token.ClusterID || node != "" && had.Credentials.NodeID() != node) {
			err = &RefusedError{fmt.Sprintf("this is node %s of cluster %s already", had.Credentials.NodeID(), had.Credentials.ClusterID())}
		}
		return had, err
	}
	if err := mayBe(dataDir, token, node); err != nil {
		return Admission{}, err
	}
	key, err := pki.LoadNodeKey(dir)
	if err != nil {
		return Admission{}, err
	}
	request, err := key.Request(node)
	if err != nil {
		return Admission{}, &RefusedError{err.Error()}
	}
	answer, err := askToEnrol(ctx, token, enrolRequest{token.ID, token.Secret, node, request}.encode())
	if err != nil {
		return Admission{}, err
	}
	credentials, err := key.Credentials(answer.certificate, answer.trust)
	if err != nil {
		return Admission{}, fmt.Errorf("the certificate that was given: %w", err)
	}
	if credentials.NodeID() != node || credentials.ClusterID() != token.ClusterID {
		return Admission{}, fmt.Errorf("the certificate that was given is of node %s of cluster %s", credentials.NodeID(), credentials.ClusterID())
	}
	admission := Admission{credentials, answer.gossipKey}
	if err := admission.save(dir); err != nil {
		return Admission{}, err
	}
	return admission, pki.ForgetNodeKey(dir)
}

// mayBe refuses what would spend the token in vain: a directory belongs to one node for ever.
func mayBe(dataDir string, token JoinToken, node string) error {
	switch {
	case node == "":
		return &RefusedError{"the token is for any node: say which this one is (--id)"}
	case token.Node != "" && token.Node != node:
		return &RefusedError{fmt.Sprintf("the token is for the node %q", token.Node)}
	}
	dir, err := storage.OpenDir(nil, dataDir)
	if err != nil {
		return err
	}
	identity, err := dir.Identity()
	err = errors.Join(err, dir.Close())
	if errors.Is(err, storage.ErrNoIdentity) {
		return nil
	}
	if err == nil && (identity.NodeID != node || identity.ClusterID != token.ClusterID) {
		err = &RefusedError{fmt.Sprintf("the data directory is that of node %s of cluster %s", identity.NodeID, identity.ClusterID)}
	}
	return err
}

// askToEnrol asks the token's seeds in turn. It goes on only while one of them might yet answer otherwise.
func askToEnrol(ctx context.Context, token JoinToken, request []byte) (enrolAnswer, error) {
	if len(token.Seeds) == 0 {
		return enrolAnswer{}, &RefusedError{"no address of a member is known"}
	}
	ctx, cancel := context.WithTimeout(ctx, enrolPatience)
	defer cancel()
	var pause backoff
	for {
		var wrong []error
		hopeless := 0
		for _, seed := range token.Seeds {
			raw, err := transport.Enrol(ctx, seed, pki.NewcomerTLS(token.ClusterID, token.Fingerprint), request)
			var answer enrolAnswer
			if err == nil {
				answer, err = decodeEnrolAnswer(raw)
			}
			switch {
			case err == nil && answer.code == enrolGranted:
				return answer, nil
			case err == nil && answer.code == enrolRefused:
				return enrolAnswer{}, &RefusedError{answer.reason}
			case err == nil:
				err = errors.New(answer.reason)
			case transport.Refutes(err):
				hopeless++
			}
			wrong = append(wrong, fmt.Errorf("%s: %w", seed, err))
		}
		if hopeless == len(token.Seeds) {
			return enrolAnswer{}, &RefusedError{errors.Join(wrong...).Error()}
		}
		if pause.wait(ctx) != nil {
			return enrolAnswer{}, &UnreachableError{errors.Join(wrong...)}
		}
	}
}

// UnreachableError says that no member answered in time. Whether one has acted on what it was asked is not known; the same again
// is recognised.
type UnreachableError struct{ Cause error }

func (e *UnreachableError) Error() string {
	return "no member of the cluster answered: " + e.Cause.Error()
}
func (e *UnreachableError) Unwrap() error { return e.Cause }

// serveNewcomer answers a node without a certificate.
func (n *Node) serveNewcomer(ctx context.Context, raw []byte) []byte {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return enrolAnswer{code: enrolLater, reason: "the node is closing"}.encode()
	}
	defer done()
	q, err := decodeEnrolRequest(raw)
	if err != nil {
		return enrolAnswer{code: enrolRefused, reason: "the request is malformed"}.encode()
	}
	answer, err := n.enrol(ctx, q)
	var refused *RefusedError
	switch {
	case err == nil:
		n.log.Info("a node was given a certificate", "newcomer", q.node, "token", q.token)
		return answer.encode()
	case errors.As(err, &refused):
		n.log.Warn("a newcomer was refused", "newcomer", q.node, "token", q.token, "reason", refused.Reason)
		return enrolAnswer{code: enrolRefused, reason: refused.Reason}.encode()
	default:
		n.log.Warn("a newcomer was put off", "newcomer", q.node, "token", q.token, "error", err)
		return enrolAnswer{code: enrolLater, reason: "the member could not decide; its log says why"}.encode()
	}
}

// enrol signs, and hands the certificate out only when the log has the token used for it.
func (n *Node) enrol(ctx context.Context, q enrolRequest) (enrolAnswer, error) {
	hash := sha256.Sum256(q.secret[:])
	// Who does not have a secret that is known here costs the cluster no log entry.
	if !n.awaitToken(ctx, q.token, hash) {
		return enrolAnswer{}, &RefusedError{"the join token is not known: it was used up, revoked, or has ended"}
	}
	ca, err := n.authority()
	if err != nil {
		return enrolAnswer{}, err
	}
	gossipKey, err := n.primaryGossipKey()
	if err != nil {
		return enrolAnswer{}, err
	}
	issued, err := pki.SignRequest(ca, q.request, q.node, nil, nodeCertificateLifetime)
	if err != nil {
		return enrolAnswer{}, &RefusedError{err.Error()}
	}
	err = n.change(ctx, meta.EnrolNode{
		TokenID: q.token, SecretHash: hash, KeyHash: issued.KeyHash, Certificate: recordOf(q.node, issued),
	})
	if err != nil {
		return enrolAnswer{}, err
	}
	return enrolAnswer{code: enrolGranted, certificate: issued.PEM, trust: ca.CertificatePEM(), gossipKey: gossipKey}, nil
}

// awaitToken waits a little for a token that was made at another member a moment ago.
func (n *Node) awaitToken(ctx context.Context, id string, hash [32]byte) bool {
	ctx, cancel := context.WithTimeout(ctx, tokenPatience)
	defer cancel()
	for {
		current, changed := n.meta.watch()
		if token, known := current.JoinToken(id); known {
			return token.SecretHash == hash
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
