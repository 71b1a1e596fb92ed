package archive

import (
	"context"
	"time"

	"parley/cluster"
	"parley/fsm"
	"parley/ops/backup"
)

// clusterSource is the cluster as something that is backed up.
type clusterSource struct{ node *cluster.Node }

// Cluster implements backup.Source.
func (s clusterSource) Cluster(context.Context) (backup.Cluster, error) {
	current := s.node.Map()
	if !current.Initialised() {
		return backup.Cluster{}, cluster.ErrNotInitialised
	}
	settings, _ := current.Settings()
	c := backup.Cluster{
		ID: current.ClusterID(), Generation: uint64(current.Generation()), Format: uint32(settings.Format), Slots: fsm.SlotCount,
	}
	for _, shard := range current.ActiveShards() {
		c.Shards = append(c.Shards, uint32(shard.ID))
	}
	return c, nil
}

// Open implements backup.Source.
func (s clusterSource) Open(ctx context.Context, group uint32) (backup.State, error) {
	if group == 0 {
		return s.openMap(ctx)
	}
	c, err := s.node.OpenShardCopy(ctx, fsm.ShardID(group))
	if err != nil {
		return nil, err
	}
	return shardState{c}, nil
}

// Count implements backup.Source.
func (s clusterSource) Count(counts backup.Counts, group uint32, key []byte) {
	if group == 0 {
		return
	}
	if name := fsm.CountedAs(key); name != "" {
		counts[name]++
	}
}

// shardState is a copy of a shard.
type shardState struct{ *cluster.ShardCopy }

// Head implements backup.State.
func (s shardState) Head() backup.Head {
	head := backup.Head{
		Group: uint32(s.Shard), Index: s.Index, IndexBase: s.IndexBase, HubMillis: s.Millis, Format: uint32(s.Format), Source: s.Node,
		TakenAt: time.Now().UTC(),
	}
	for _, place := range s.Slots {
		head.SlotsOwned = append(head.SlotsOwned, backup.Owned{Slot: uint16(place.Slot), Generation: place.Generation})
	}
	return head
}

func (s clusterSource) openMap(ctx context.Context) (backup.State, error) {
	c, err := s.node.CopyMeta(ctx)
	if err != nil {
		return nil, err
	}
	settings, _ := c.Map.Settings()
	return &mapState{
		head:    backup.Head{Index: c.Index, Format: uint32(settings.Format), Source: s.node.ID(), TakenAt: time.Now().UTC()},
		records: c.Records,
	}, nil
}

// mapState is what is kept of the map.
type mapState struct {
	head    backup.Head
	records []cluster.MetaRecord
}

// Head implements backup.State.
func (m *mapState) Head() backup.Head { return m.head }

// Next implements backup.State.
func (m *mapState) Next() (key, value []byte, err error) {
	if len(m.records) == 0 {
		return nil, nil, nil
	}
	record := m.records[0]
	m.records = m.records[1:]
	return record.Key, record.Value, nil
}

// Close implements backup.State.
func (m *mapState) Close() error { return nil }
