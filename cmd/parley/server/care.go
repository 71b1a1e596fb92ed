package server

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"parley/cluster"
	"parley/cmd/parley/config"
	"parley/fsm"
	"parley/httpapi"
	"parley/ops/doctor"
)

func (o *operations) Check(ctx context.Context, shard fsm.ShardID) (httpapi.ShardCheck, error) {
	if err := o.knowsShard(shard); err != nil {
		return httpapi.ShardCheck{}, err
	}
	found, err := o.node.Check(ctx, shard)
	if err != nil {
		return httpapi.ShardCheck{}, refusal(err)
	}
	check := httpapi.ShardCheck{Shard: found.Shard, Index: found.Index, Equal: found.Equal(), Replicas: []httpapi.ReplicaCheck{}}
	for _, r := range found.Replicas {
		one := httpapi.ReplicaCheck{Node: r.Node, Records: r.Records, Bytes: r.Bytes, Differs: r.Differs, First: r.Section}
		if r.Err != nil {
			one.Error = r.Err.Error()
		} else {
			one.Digest = hex.EncodeToString(r.Digest[:])
		}
		check.Replicas = append(check.Replicas, one)
	}
	return check, nil
}

// knowsShard refuses a shard that there is not; 0 is the meta group.
func (o *operations) knowsShard(shard fsm.ShardID) error {
	if _, known := o.node.Map().Shard(shard); !known && shard != 0 {
		return &httpapi.NotFoundError{What: fmt.Sprintf("shard %d", shard)}
	}
	return nil
}

func (o *operations) Repair(ctx context.Context, shard fsm.ShardID, node string) error {
	if err := o.knowsShard(shard); err != nil {
		return err
	}
	err := o.node.Repair(ctx, shard, node)
	var refused *cluster.RefusedError
	if errors.As(err, &refused) {
		return &httpapi.RefusedError{
			Reason: refused.Reason, Blocker: "only a replica that differs from the majority's is rebuilt, while that majority can decide without it",
			See: fmt.Sprintf("parley check --shard %d", shard), Clear: "bring the other replicas' nodes back",
		}
	}
	return refusal(err)
}

func (o *operations) Upgrade(ctx context.Context) (httpapi.UpgradeStatus, error) {
	seen, err := o.node.Status(ctx)
	if err != nil {
		return httpapi.UpgradeStatus{}, refusal(err)
	}
	settings, version := o.node.Map().Settings()
	if version == 0 {
		return httpapi.UpgradeStatus{}, refusal(cluster.ErrNotInitialised)
	}
	return upgradeOf(settings.Format, seen.Nodes), nil
}

// upgradeOf says what the nodes' programs allow.
func upgradeOf(format fsm.Format, nodes []cluster.NodeStatus) httpapi.UpgradeStatus {
	status := httpapi.UpgradeStatus{Format: uint32(format), Nodes: []httpapi.NodeVersion{}, Blockers: []string{}}
	possible, all := fsm.FormatNewest, len(nodes) > 0
	for _, n := range nodes {
		status.Nodes = append(status.Nodes, httpapi.NodeVersion{Node: n.ID, Version: n.View.Version, Knows: uint32(n.View.Knows), Error: n.Error})
		switch {
		case n.Error != "":
			all = false
			status.Blockers = append(status.Blockers, fmt.Sprintf("node %s does not answer: %s", n.ID, n.Error))
		case n.View.Knows == 0:
			all = false
			status.Blockers = append(status.Blockers, fmt.Sprintf("node %s runs a program that does not say which formats it knows: it is older", n.ID))
		default:
			possible = min(possible, n.View.Knows)
		}
	}
	if !all {
		return status
	}
	status.Possible = uint32(possible)
	for _, n := range nodes {
		if newest := fsm.FormatNewest; possible < newest && n.View.Knows == possible {
			status.Blockers = append(status.Blockers, fmt.Sprintf("node %s knows formats up to %d, and this node's program up to %d", n.ID, n.View.Knows, newest))
		}
	}
	return status
}

// Finalize raises the format to the newest of all, or to that of this node's program where it is the older one.
func (o *operations) Finalize(ctx context.Context) (httpapi.UpgradeStatus, error) {
	status, err := o.Upgrade(ctx)
	switch {
	case err != nil:
		return status, err
	case status.Format >= uint32(fsm.FormatNewest):
		return status, nil // there is nothing to raise, whoever is away
	case len(status.Blockers) > 0:
		return status, &httpapi.RefusedError{
			Reason:  fmt.Sprintf("The cluster stays at format %d: %s", status.Format, status.Blockers[0]),
			Blocker: status.Blockers[0], See: "parley upgrade check", Clear: "the newer program on every node; a node that is gone for good has to be forgotten first",
		}
	case status.Possible <= status.Format:
		return status, nil
	}
	_, _, err = o.node.ChangeSettings(ctx, func(in fsm.Settings, _ uint64) (fsm.Settings, error) {
		in.Format = max(in.Format, fsm.Format(status.Possible))
		return in, nil
	})
	if err != nil {
		return status, refusal(err)
	}
	o.settle(ctx)
	return o.Upgrade(ctx)
}

// besideExam is what this program finds of its own when the node is examined.
type besideExam struct {
	Certificates []doctor.Certificate
	Peers        map[string]string // whose directories cannot be fetched
}

// peersAtOnce bounds how many directories are fetched at a time.
const peersAtOnce = 8

func (s *Server) examBeside(ctx context.Context) (json.RawMessage, error) {
	beside := besideExam{Peers: make(map[string]string)}
	for _, listener := range slices.Sorted(maps.Keys(s.certificates)) {
		one := doctor.Certificate{Name: listener + " listener"}
		var err error
		if one.Ends, err = s.certificates[listener].ends(); err != nil {
			one.Fault = err.Error()
		}
		beside.Certificates = append(beside.Certificates, one)
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	places := make(chan struct{}, peersAtOnce)
	for _, peer := range s.node.Peers() {
		wait.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			if err := s.client.Reach(ctx, peer.Domain); err != nil {
				mu.Lock()
				defer mu.Unlock()
				beside.Peers[peer.Domain.String()] = err.Error()
			}
		})
	}
	wait.Wait()
	return json.Marshal(beside)
}

func (o *operations) Examine(ctx context.Context) (httpapi.Diagnosis, error) {
	seen, err := o.node.Status(ctx)
	if err != nil {
		return httpapi.Diagnosis{}, refusal(err)
	}
	settings, version := o.node.Map().Settings()
	if version == 0 {
		return httpapi.Diagnosis{}, refusal(cluster.ErrNotInitialised)
	}
	exams, failed, err := o.node.Exams(ctx)
	if err != nil {
		return httpapi.Diagnosis{}, refusal(err)
	}
	c := doctor.Cluster{Now: time.Now(), MetaLeader: seen.Meta.Leader, Format: uint32(settings.Format)}
	for _, n := range seen.Nodes {
		one, err := examined(n, exams[n.ID], failed[n.ID])
		if err != nil {
			return httpapi.Diagnosis{}, err
		}
		c.Nodes = append(c.Nodes, one)
	}
	for _, shard := range seen.Shards {
		if len(shard.Replicas) > 0 { // else it is retired
			c.Shards = append(c.Shards, examinedShard(shard))
		}
	}
	diagnosis := httpapi.Diagnosis{Findings: []httpapi.Finding{}, Nodes: len(exams)}
	for _, f := range doctor.Diagnose(c) {
		diagnosis.Findings = append(diagnosis.Findings, httpapi.Finding{Level: string(f.Level), Subject: f.Subject, Text: f.Text, ToDo: f.ToDo})
	}
	return diagnosis, nil
}

// examined is a node in the words of package doctor.
func examined(n cluster.NodeStatus, exam cluster.Exam, failed error) (doctor.Node, error) {
	node := doctor.Node{ID: n.ID, Fault: n.Error, Alive: n.Alive, Version: n.View.Version, Knows: uint32(n.View.Knows)}
	if failed != nil && node.Fault == "" {
		node.Fault = failed.Error()
	}
	if node.Fault != "" {
		return node, nil
	}
	if millis := n.View.ClockOffsetMillis; millis != nil {
		offset := time.Duration(*millis) * time.Millisecond
		node.ClockOffset = &offset
	}
	if len(n.View.SealKeys) > 0 {
		node.SealKey = n.View.SealKeys[0]
	}
	node.MetaSilence, node.Listen = exam.MetaSilence, exam.ClusterListen
	node.DiskFault, node.DiskFree, node.DiskReserve = exam.DiskFault, exam.DiskFree, exam.DiskReserve
	node.SyncMedian, node.SyncLongest, node.SetAside = exam.SyncMedian, exam.SyncLongest, exam.SetAside
	node.Cleared, node.HeldDamaged, node.FilesMax = n.View.Cleared, exam.HeldDamaged, exam.FilesMax
	node.SealOpens, node.Gossip, node.Unreachable = exam.SealOpens, exam.Gossip, exam.Unreachable
	node.Certificates = []doctor.Certificate{{Name: "cluster port", Ends: exam.CertEnds, Renews: true}}
	if len(exam.Beside) > 0 {
		var beside besideExam
		if err := json.Unmarshal(exam.Beside, &beside); err != nil {
			return node, fmt.Errorf("what node %s found: %w", n.ID, err)
		}
		node.Certificates, node.Peers = append(node.Certificates, beside.Certificates...), beside.Peers
	}
	return node, nil
}

func examinedShard(seen cluster.ShardStatus) doctor.Shard {
	shard := doctor.Shard{ID: uint32(seen.Shard.ID), Leader: seen.Leader, Wanted: len(seen.Shard.Replicas)}
	var furthest uint64
	for _, r := range seen.Replicas {
		furthest = max(furthest, r.Commit)
	}
	for _, r := range seen.Replicas {
		one := doctor.Replica{Node: r.Node, Running: r.Running, Voter: r.Voter, HeldBack: r.Quarantined, Rebuilding: r.Rebuilding}
		if r.Applied < furthest {
			one.Behind = furthest - r.Applied
		}
		shard.Replicas = append(shard.Replicas, one)
	}
	return shard
}

func (l *lobby) Check(ctx context.Context, shard fsm.ShardID) (httpapi.ShardCheck, error) {
	return ask(l, func(o *operations) (httpapi.ShardCheck, error) { return o.Check(ctx, shard) })
}

func (l *lobby) Repair(ctx context.Context, shard fsm.ShardID, node string) error {
	return tell(l, func(o *operations) error { return o.Repair(ctx, shard, node) })
}

func (l *lobby) Examine(ctx context.Context) (httpapi.Diagnosis, error) {
	return ask(l, func(o *operations) (httpapi.Diagnosis, error) { return o.Examine(ctx) })
}

func (l *lobby) Upgrade(ctx context.Context) (httpapi.UpgradeStatus, error) {
	return ask(l, func(o *operations) (httpapi.UpgradeStatus, error) { return o.Upgrade(ctx) })
}

func (l *lobby) Finalize(ctx context.Context) (httpapi.UpgradeStatus, error) {
	return ask(l, func(o *operations) (httpapi.UpgradeStatus, error) { return o.Finalize(ctx) })
}

// Configuration is answered without a node, too: it is what keeps one from being there.
func (l *lobby) Configuration(context.Context) (map[string]any, error) {
	return config.Shown(l.server.present.get()), nil
}

func (l *lobby) RecentLogs(context.Context) ([]byte, error) {
	return l.server.program.Recent.Bytes(), nil
}
