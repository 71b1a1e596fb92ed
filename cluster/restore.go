package cluster

import (
	"fmt"

	"parley/fsm"
	"parley/fsm/meta"
)

// RestoreOptions are what a cluster is made of that was lost. Its slots come by a job, once its shards have been placed.
type RestoreOptions struct {
	Backup     string         // its ID
	Location   string         // of the store
	Node       string         // that alone can open the location; empty: any can
	Cluster    string         // the lost cluster's ID, which is this one's: node and CA are made for it
	Generation fsm.Generation // that the lost cluster was in
	Records    []MetaRecord   // of its map
}

// beginnings are the commands that make the cluster. They may be repeated.
func (n *Node) beginnings(options InitOptions) []meta.Command {
	if options.Restore == nil {
		return []meta.Command{meta.InitCluster{
			ClusterID: n.config.Credentials.ClusterID(), Settings: options.Settings,
			ReplicationFactor: uint32(options.Replication), Shards: uint32(options.Shards),
		}}
	}
	r := options.Restore
	pages := restorePages(r.Records)
	commands := make([]meta.Command, len(pages))
	for i, records := range pages {
		commands[i] = meta.RestoreCluster{
			Restore:   meta.Restore{Backup: r.Backup, Location: r.Location, Node: r.Node, Generation: r.Generation + 1},
			ClusterID: r.Cluster, ReplicationFactor: uint32(options.Replication), Shards: uint32(options.Shards),
			Page: uint32(i + 1), Pages: uint32(len(pages)), Records: records,
		}
	}
	return commands
}

// restorePages cuts records into what entries can hold, one page at least.
func restorePages(records []MetaRecord) (pages [][]meta.RestoreRecord) {
	pages = append(pages, nil)
	bytes := 0
	for _, record := range records {
		if bytes += len(record.Key) + len(record.Value); bytes > meta.RestorePageBytes && len(pages[len(pages)-1]) > 0 {
			pages, bytes = append(pages, nil), len(record.Key)+len(record.Value)
		}
		pages[len(pages)-1] = append(pages[len(pages)-1], meta.RestoreRecord(record))
	}
	return pages
}

// checkRestore refuses a restore that cannot work here.
func (n *Node) checkRestore(r *RestoreOptions) error {
	switch {
	case r == nil:
		return nil
	case r.Cluster != n.ClusterID():
		return &RefusedError{fmt.Sprintf(
			"the backup is of cluster %q and this node has credentials of %q: what is sealed in the backup opens in a cluster of its ID alone", r.Cluster, n.ClusterID())}
	default:
		return r.CheckSealKeys(n.sealKeys())
	}
}

// CheckSealKeys refuses a backup whose hub keys none of the keys opens: the cluster could sign nothing that its rooms accept.
func (r *RestoreOptions) CheckSealKeys(keys [][32]byte) error {
	records := make([]meta.RestoreRecord, len(r.Records))
	for i, record := range r.Records {
		records[i] = meta.RestoreRecord(record)
	}
	was, err := meta.ReadRestored(records)
	if err != nil {
		return &RefusedError{fmt.Sprintf("what backup %s has of the cluster's map cannot be read: %v", r.Backup, err)}
	}
	for _, key := range was.HubKeys() {
		if _, err := unseal(keys, key.Sealed, hubKeyContext(r.Cluster, key.Public)); err != nil {
			return &RefusedError{fmt.Sprintf("a hub key of backup %s cannot be opened (%v): the node needs the seal key of the lost cluster, under seal_key_file or old_seal_key_files", r.Backup, err)}
		}
	}
	return nil
}

// birthOf is the first command of a shard's log: it owns its slots from then on. In a cluster that is being restored they come out of a
// backup, each when all of it is there; a shard that owned them before would serve them empty.
func (r *replica) birthOf(place meta.Shard) fsm.OwnSlots {
	birth := fsm.OwnSlots{Shard: r.shard, Generation: place.Generation, First: place.First, Last: place.Last}
	if r.node.Map().Restoring() {
		birth.First, birth.Last = 1, 0
	}
	return birth
}
