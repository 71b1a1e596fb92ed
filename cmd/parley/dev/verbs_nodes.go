package dev

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"parley/cmd/parley/adminclient"
	"parley/httpapi"
)

// nodeVerbs bring nodes in and out.
func nodeVerbs() []verb {
	return []verb{
		{"node join", (*verbs).toJoin, ofAnswer, both, nil},
		{"node drain", (*verbs).toDrain, []moment{beforeRequest, behindRequest, whileItWaits}, both, nil},
		{"node recommission", (*verbs).toRecommission, ofAnswer, both, nil},
		{"node decommission", (*verbs).toDecommission, ofOneStep, both, nil},
		{"node replace", (*verbs).toReplace, ofOneStep, both, nil},
		{"node replace --lost", (*verbs).toReplaceLost, ofOneStep, both, nil},
		{"node forget", (*verbs).toForget, ofAnswer, both, nil},
	}
}

// member is how a node stands in the cluster; none where it belongs to it no more.
func (v *verbs) member(ctx context.Context, id string) (entry httpapi.NodeEntry, found bool, err error) {
	return v.memberAt(ctx, v.nodes.alive()[0], id)
}

// memberAt is member as one node knows it.
func (v *verbs) memberAt(ctx context.Context, asked *node, id string) (entry httpapi.NodeEntry, found bool, err error) {
	nodes, err := adminclient.New(asked.adminURL()).Nodes(ctx)
	for _, n := range nodes {
		if n.ID == id {
			return n, true, err
		}
	}
	return entry, false, err
}

// toJoin has a node join that is no member yet; the command asks that node.
func (v *verbs) toJoin(ctx context.Context) (*task, error) {
	n, err := v.begin(ctx)
	if err != nil {
		return nil, err
	}
	return &task{at: n, arguments: []string{"node", "join", "--seed", v.provider.nodes[1].Cluster}, came: func(ctx context.Context) (int, error) {
		_, found, err := v.member(ctx, n.ID)
		if err == nil && !found {
			err = errors.New("it is no member")
		}
		if err == nil && !slices.Contains(v.provider.nodes, n) {
			v.provider.nodes = append(v.provider.nodes, n)
		}
		return 1, err
	}}, err
}

// toDrain has the node drained that leads most.
func (v *verbs) toDrain(ctx context.Context) (*task, error) {
	if err := v.allServe(ctx); err != nil {
		return nil, err
	}
	status, err := v.nodes.status(ctx)
	if err != nil {
		return nil, err
	}
	busiest := slices.MaxFunc(status.Nodes, func(a, b httpapi.NodeStatus) int { return a.Leads - b.Leads })
	return &task{at: v.provider.nodes[0], arguments: []string{"node", "drain", busiest.ID, "--why", "a trial"}, came: func(ctx context.Context) (int, error) {
		is, _, err := v.member(ctx, busiest.ID)
		if err == nil && (is.Duty != "draining" || is.Leads > 0) {
			err = fmt.Errorf("%s is %s, and leads %d shards", is.ID, is.Duty, is.Leads)
		}
		return 1, err
	}}, nil
}

// allServe has every node serve.
func (v *verbs) allServe(ctx context.Context) error {
	nodes, err := adminclient.New(v.nodes.alive()[0].adminURL()).Nodes(ctx)
	for _, n := range nodes {
		if n.Duty != "serving" {
			_, failed := v.quiet(ctx, "node", "recommission", n.ID)
			err = errors.Join(err, failed)
		}
	}
	return err
}

// toRecommission has a node serve again that drains.
func (v *verbs) toRecommission(ctx context.Context) (*task, error) {
	drained := v.provider.nodes[len(v.provider.nodes)-1]
	if _, err := v.quiet(ctx, "node", "drain", drained.ID, "--why", "a trial"); err != nil {
		return nil, err
	}
	return &task{at: v.provider.nodes[0], arguments: []string{"node", "recommission", drained.ID}, came: func(ctx context.Context) (int, error) {
		is, _, err := v.member(ctx, drained.ID)
		if err == nil && is.Duty != "serving" {
			err = fmt.Errorf("%s is %s", is.ID, is.Duty)
		}
		return 1, err
	}}, nil
}

// spare is a node beyond the four that stay, one that was there already or a new one. With a load it has a replica.
func (v *verbs) spare(ctx context.Context, load bool) (n *node, err error) {
	if err := v.allServe(ctx); err != nil {
		return nil, err
	}
	if len(v.provider.nodes) > nodesThatStay {
		n = v.provider.nodes[len(v.provider.nodes)-1]
	} else if n, err = v.join(ctx); err != nil {
		return nil, err
	}
	if !load {
		return n, nil
	}
	status, err := v.nodes.status(ctx)
	if err != nil || replicasByNode(status)[n.ID] > 0 {
		return n, err
	}
	shard := serving(status)[0]
	_, err = v.quiet(ctx, "shard", "move", fmt.Sprint(shard.ID), "--from", shard.Replicas[0].Node, "--to", n.ID)
	return n, err
}

// nodesThatStay are those that the trials of nodes do not take out.
const nodesThatStay = 4

// left looks that a node has left, by one job of a kind; then its process is ended.
func (v *verbs) left(n *node, done func(context.Context) (int, error)) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		times, wrong := done(ctx)
		_, found, err := v.member(ctx, n.ID)
		if err == nil && found {
			err = fmt.Errorf("%s belongs to the cluster still", n.ID)
		}
		if err = errors.Join(wrong, err); err == nil {
			v.lose(n)
			err = n.process.stop()
		}
		return times, err
	}
}

// toDecommission has a node go for good that has something.
func (v *verbs) toDecommission(ctx context.Context) (*task, error) {
	n, err := v.spare(ctx, true)
	if err != nil {
		return nil, err
	}
	done, err := v.jobsOf(ctx, "node-decommission")
	return &task{at: v.provider.nodes[0], arguments: []string{"node", "decommission", n.ID}, came: v.left(n, done)}, err
}

// toReplace has a new node take the place of one that has something.
func (v *verbs) toReplace(ctx context.Context) (*task, error) {
	n, err := v.spare(ctx, true)
	if err != nil {
		return nil, err
	}
	with, err := v.join(ctx)
	if err != nil {
		return nil, err
	}
	done, err := v.jobsOf(ctx, "node-replace")
	return &task{at: v.provider.nodes[0], arguments: []string{"node", "replace", n.ID, "--with", with.ID}, came: v.left(n, done)}, err
}

// toReplaceLost does so with one that was killed for good.
func (v *verbs) toReplaceLost(ctx context.Context) (*task, error) {
	t, err := v.toReplace(ctx)
	if err != nil {
		return nil, err
	}
	lost := t.arguments[2]
	at := slices.IndexFunc(v.provider.nodes, func(n *node) bool { return n.ID == lost })
	n := v.provider.nodes[at]
	if err := n.process.kill(); err != nil {
		return nil, err
	}
	v.lose(n) // nobody starts it again
	t.arguments = append(t.arguments, "--lost")
	return t, v.settled(ctx)
}

// toForget has a dead node forgotten that has nothing.
func (v *verbs) toForget(ctx context.Context) (*task, error) {
	n, err := v.spare(ctx, false)
	if err != nil {
		return nil, err
	}
	status, err := v.nodes.status(ctx)
	if err != nil {
		return nil, err
	}
	if replicasByNode(status)[n.ID] > 0 {
		if _, err := v.quiet(ctx, "node", "decommission", n.ID); err != nil {
			return nil, err
		}
		v.lose(n)
		if err := n.process.stop(); err != nil {
			return nil, err
		}
		return v.toForget(ctx)
	}
	if err := n.process.kill(); err != nil {
		return nil, err
	}
	v.lose(n)
	return &task{at: v.provider.nodes[0], arguments: []string{"node", "forget", n.ID}, came: func(ctx context.Context) (int, error) {
		_, found, err := v.member(ctx, n.ID)
		if err == nil && found {
			err = fmt.Errorf("%s belongs to the cluster still", n.ID)
		}
		return 1, err
	}}, v.settled(ctx)
}
