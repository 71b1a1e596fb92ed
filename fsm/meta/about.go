package meta

import "fmt"

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
	case InitCluster:
		return fmt.Sprintf("cluster %s of %v, %d shards, %d replicas", c.ClusterID, c.Settings.Domains, c.Shards, c.ReplicationFactor)
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
	case UseGossipKey:
		return "gossip key " + c.ID + " encrypts"
	case RemoveGossipKey:
		return "gossip key " + c.ID
	case PutCA:
		return "the key of the cluster's CA"
	case EnrolNode:
		return fmt.Sprintf("node %s, by invitation %s", c.Certificate.Node, c.TokenID)
	case RecordCertificate:
		return fmt.Sprintf("certificate %x of node %s", c.Certificate.Serial, c.Certificate.Node)
	case Reseal:
		return fmt.Sprintf("%d secrets", len(c.Secrets))
	case PutJob:
		return fmt.Sprintf("job of kind %s, %d bytes", c.Kind, len(c.Spec))
	case SteerJob:
		return fmt.Sprintf("job %d", c.ID)
	case EndJob:
		return fmt.Sprintf("job %d: %s", c.ID, c.State)
	default:
		return aboutPlaces(c)
	}
}

// aboutPlaces goes on where about ends.
func aboutPlaces(c Command) string {
	switch c := c.(type) {
	case PutSettings:
		return "settings"
	case ChangeSettings:
		return fmt.Sprintf("settings, as of version %d", c.Version)
	case PlaceShards:
		return fmt.Sprintf("%d shards", len(c.Shards))
	case ActivateShard:
		return fmt.Sprintf("shard %d", c.ID)
	case RetireShard:
		return fmt.Sprintf("shard %d", c.ID)
	case BeginMoves:
		return fmt.Sprintf("%d slots to shard %d", len(c.Slots), c.To)
	case EndMoves:
		return fmt.Sprintf("%d slots", len(c.Moves))
	case TellZone:
		return fmt.Sprintf("node %s is in zone %q", c.Zone.Node, c.Zone.Name)
	case ReportJob:
		return fmt.Sprintf("job %d", c.ID)
	case BeginGeneration:
		return fmt.Sprintf("generation %d, without %v", c.Generation, c.Lost)
	case RestoreCluster:
		return fmt.Sprintf("backup %s, generation %d, page %d of %d", c.Restore.Backup, c.Restore.Generation, c.Page, c.Pages)
	case EndRestore:
		return "backup " + c.Backup
	default:
		return fmt.Sprintf("command %d", c.kind())
	}
}
