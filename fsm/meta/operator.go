package meta

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Operator is who asks for a change, and what for. The changes of a context that has one are put into the audit log. It belongs to the
// goroutine of its request: its changes come one after the other.
type Operator struct {
	By   string   // as he calls himself
	Verb string   // what he asked for
	Key  [32]byte // random

	what    string
	changes uint64
}

type operatorKey struct{}

// WithOperator returns a context whose changes are the operator's.
func WithOperator(ctx context.Context, o *Operator) context.Context {
	return context.WithValue(ctx, operatorKey{}, o)
}

// OperatorOf is whose changes those of a context are; nil where they are the node's own.
func OperatorOf(ctx context.Context) *Operator {
	o, _ := ctx.Value(operatorKey{}).(*Operator)
	return o
}

// Says gives the audit log better words for what is asked for than the commands have. It must hold no secret. A nil Operator ignores it.
func (o *Operator) Says(what string) {
	if o != nil {
		o.what = what
	}
}

// SaysAtLeast is Says where nothing was said yet.
func (o *Operator) SaysAtLeast(what string) {
	if o.what == "" {
		o.what = what
	}
}

// Changes is how many changes the operator's request has come to so far.
func (o *Operator) Changes() uint64 { return o.changes }

// Audited is a command, or nil for what was done without one, as the operator's next change.
func (o *Operator) Audited(command Command, failed string) Audited {
	o.changes++
	what := o.what
	if what == "" && command != nil {
		what = about(command)
	}
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(o.Key[:], o.changes))
	return Audited{
		Key: [16]byte(sum[:16]), By: cut(o.By, HoldTextBytesMax), Verb: cut(o.Verb, AuditVerbBytesMax), What: cut(what, AuditWhatBytesMax),
		Failed: cut(failed, AuditCameBytesMax), Command: command,
	}
}

func cut(text string, bytesMax int) string { return text[:min(len(text), bytesMax)] }

// Described is a command that can say what it is about, for the audit log: without any secret, and in words that may change, since they
// are written by who asks and not in apply.
type Described interface {
	Command
	About() string
}

func about(c Command) string {
	if d, described := c.(Described); described {
		return d.About()
	}
	switch c := c.(type) {
	case AddNode:
		return fmt.Sprintf("node %s at %s", c.Node.ID, c.Node.ClusterAddr)
	case UpdateNode:
		return fmt.Sprintf("node %s at %s, %s", c.Node.ID, c.Node.ClusterAddr, c.Node.State)
	case PutPeer:
		return fmt.Sprintf("peer %s, speaks for %v, directories %v, pinned certificates of %d bytes, server certificates %v, private addresses %v",
			c.Peer.Domain, c.Peer.Domains, c.Peer.DirectoryURLs, len(c.Peer.TrustPEM), c.Peer.AcceptServerAuth, c.Peer.AllowPrivateAddresses)
	case RemovePeer:
		return "peer " + c.Domain.String()
	case HoldPeer:
		return fmt.Sprintf("peer %s: %s", c.Hold.Domain, c.Hold.Why)
	case PutToken:
		return fmt.Sprintf("token %s (%s) for %v", c.Token.ID, c.Token.Name, c.Token.Scopes)
	case RevokeToken:
		return "token " + c.ID
	case PutJoinToken:
		return fmt.Sprintf("invitation %s for %q", c.Token.ID, c.Token.Node)
	case RevokeJoinToken:
		return "invitation " + c.ID
	case RevokeCertificates:
		return "certificates of node " + c.Node
	case PutHubKey:
		return fmt.Sprintf("hub key of scheme %d", c.Key.Scheme)
	case AddHubKey:
		return fmt.Sprintf("hub key of scheme %d", c.Key.Scheme)
	case AddServiceKeys:
		return fmt.Sprintf("%d keys of the hub", len(c.Keys))
	case PutGossipKey:
		return "gossip key " + c.Key.ID
	case Reseal:
		return fmt.Sprintf("%d secrets", len(c.Secrets))
	case PutJob:
		return fmt.Sprintf("job of kind %s, %d bytes", c.Kind, len(c.Spec))
	case SteerJob:
		return fmt.Sprintf("job %d", c.ID)
	case EndJob:
		return fmt.Sprintf("job %d: %s", c.ID, c.State)
	default:
		return fmt.Sprintf("command %d", c.kind())
	}
}
