package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mls"
)

const transferVersion = 1

// TransferLeadership has a shard's leader hand over to another of its replicas, or to whichever is furthest where to is empty. It takes
// about as long as an election, and can be asked at any node.
func (n *Node) TransferLeadership(ctx context.Context, shard fsm.ShardID, to string) error {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	place, known := n.Map().Shard(shard)
	switch {
	case !known:
		return &RefusedError{fmt.Sprintf("there is no shard %d", shard)}
	case to != "" && !slices.Contains(place.Replicas, to):
		return &RefusedError{fmt.Sprintf("node %s has no replica of shard %d", to, shard)}
	}
	var w mls.Writer
	w.Uint8(transferVersion)
	w.Uint32(uint32(shard))
	w.Opaque([]byte(to))
	asked := append([]string{n.leaderOf(shard)}, place.Replicas...)
	var wrong []error
	for i, id := range asked {
		if id == "" || slices.Contains(asked[:i], id) {
			continue
		}
		refusal, err := n.transferAt(ctx, id, w.Bytes())
		switch {
		case err == nil && refusal == "":
			return nil
		case err == nil:
			err = errors.New(refusal)
		}
		wrong = append(wrong, err)
	}
	return &RefusedError{fmt.Sprintf("shard %d: %v", shard, errors.Join(wrong...))}
}

// transferAt asks one node:
//
//	struct { uint8 version = 1; uint32 shard; opaque to<V>; } TransferRequest;
//	struct { opaque refusal<V>; } TransferAnswer; // empty: done
func (n *Node) transferAt(ctx context.Context, id string, request []byte) (refusal string, err error) {
	var raw []byte
	if id == n.id {
		raw, err = n.serveTransfer(ctx, id, request)
	} else {
		raw, _, err = n.call(ctx, id, methodTransfer, request)
	}
	if err != nil {
		return "", err
	}
	r := mls.NewReader("TransferAnswer", raw)
	refusal = string(r.Opaque("refusal"))
	return refusal, r.Close()
}

func (n *Node) serveTransfer(_ context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("TransferRequest", payload)
	if version := r.Uint8("version"); version != transferVersion {
		r.Fail("version", "is not known")
	}
	shard, to := fsm.ShardID(r.Uint32("shard")), string(r.Opaque("to"))
	if err := r.Close(); err != nil {
		return nil, err
	}
	var w mls.Writer
	w.Opaque([]byte(n.transferHere(shard, to)))
	return w.Bytes(), nil
}

// transferHere says why the lead was not handed over, or nothing.
func (n *Node) transferHere(shard fsm.ShardID, to string) string {
	g := n.groupOf(uint32(shard))
	switch {
	case g == nil || !g.leads():
		return fmt.Sprintf("node %s does not lead it", n.id)
	case to == n.id:
		return ""
	}
	if err := g.handOver(to); err != nil {
		return fmt.Sprintf("node %s cannot hand it over: %v", n.id, err)
	}
	return ""
}
