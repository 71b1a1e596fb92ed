// Package doctor says what is wrong with a cluster, from what its nodes have found when they looked at themselves, and what to do about it.
// It asks nobody and changes nothing.
package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Level is how grave a finding is.
type Level string

const (
	// Problem: something does not work, or will not soon.
	Problem Level = "problem"
	// Advice: it works, and could be better.
	Advice Level = "advice"
)

// Finding is one thing that an operator should know of.
type Finding struct {
	Level   Level
	Subject string // a node, a shard, a peer, or the cluster
	Text    string
	ToDo    string // a sentence: a command, or where to look
}

// Thresholds beyond which something is found.
const (
	ClockMax        = 500 * time.Millisecond // from there on a node does not lead
	ClockAdvised    = 100 * time.Millisecond
	CertificateLeft = 7 * 24 * time.Hour  // below it is a problem
	CertificateSoon = 21 * 24 * time.Hour // below it is worth a word
	SyncMedianMax   = 50 * time.Millisecond
	SyncAdvised     = 10 * time.Millisecond
	FilesAdvised    = 16384
	LagAdvised      = 10_000 // entries
	MetaSilenceMax  = 10 * time.Second
)

// Cluster is what was found of it as a whole.
type Cluster struct {
	Now        time.Time
	MetaLeader string
	Format     uint32 // of the settings
	Nodes      []Node
	Shards     []Shard
}

// Node is what a node found.
type Node struct {
	ID      string
	Fault   string // why it did not answer; nothing but Alive is known then
	Alive   bool   // by gossip
	Version string
	Knows   uint32 // the newest format; 0 where it does not say

	ClockOffset *time.Duration // from the median; nil where that is not known
	MetaSilence time.Duration

	DiskFault               string
	DiskFree, DiskReserve   uint64 // bytes; DiskFree 0: not known
	SyncMedian, SyncLongest time.Duration
	SetAside                []string
	Cleared                 uint64 // replicas, for damage
	HeldDamaged             int
	FilesMax                uint64

	SealKey   string // the name of the key that it seals with
	SealOpens bool   // the hub's keys can be opened

	Certificates []Certificate
	Gossip       []string          // whom its gossip knows
	Unreachable  map[string]string // nodes that it cannot call
	Peers        map[string]string // whose directories it cannot fetch
	Listen       string            // where others are told to reach it
}

// Certificate is one that a node shows, and when it ends.
type Certificate struct {
	Name  string
	Fault string // why it could not be looked at
	Ends  time.Time
	// Renews: the cluster gives it another by itself in time.
	Renews bool
}

// Shard is one with its replicas.
type Shard struct {
	ID       uint32
	Leader   string
	Wanted   int
	Replicas []Replica
}

// Replica is a node's copy of a shard.
type Replica struct {
	Node       string
	Running    bool
	Voter      bool
	HeldBack   string
	Rebuilding bool
	Behind     uint64 // entries that are decided and not applied
}

// Diagnose lists what is wrong, problems first, otherwise in the order of the subjects.
func Diagnose(c Cluster) []Finding {
	d := &diagnosis{now: c.Now, away: make(map[string]bool)}
	for _, n := range c.Nodes {
		d.away[n.ID] = n.Fault != ""
	}
	d.cluster(c)
	for _, n := range c.Nodes {
		d.node(n)
	}
	d.together(c.Nodes)
	for _, s := range c.Shards {
		d.shard(s)
	}
	d.spared()
	slices.SortStableFunc(d.found, func(a, b Finding) int {
		return cmp.Or(strings.Compare(string(b.Level), string(a.Level)), strings.Compare(a.Subject, b.Subject))
	})
	return d.found
}

type diagnosis struct {
	now   time.Time
	found []Finding
	away  map[string]bool // nodes that do not answer: what follows from it is not said again
	bare  []string        // shards that would not survive one more failure
}

func (d *diagnosis) add(level Level, subject, todo, format string, arguments ...any) {
	d.found = append(d.found, Finding{Level: level, Subject: subject, Text: fmt.Sprintf(format, arguments...), ToDo: todo})
}

func (d *diagnosis) cluster(c Cluster) {
	if c.MetaLeader == "" {
		d.add(Problem, "cluster", "Bring back the nodes that vote in the meta group ('parley cluster status'); without a majority of them nothing of the cluster can be changed.",
			"The meta group has no leader that is known here.")
	}
	newest, all := uint32(0), true
	for i, n := range c.Nodes {
		if n.Fault != "" || n.Knows == 0 {
			all = false
			continue
		}
		if newest == 0 || n.Knows < newest {
			newest = n.Knows
		}
		if i > 0 && n.Version != c.Nodes[0].Version && c.Nodes[0].Version != "" {
			d.add(Advice, "node "+n.ID, "Finish the upgrade: 'parley upgrade check'.", "It runs %s, and %s runs %s.", n.Version, c.Nodes[0].ID, c.Nodes[0].Version)
		}
	}
	if all && newest > c.Format {
		d.add(Advice, "cluster", "'parley upgrade finalize', when no node is to go back to the program before.",
			"Every node knows format %d, and the cluster is of format %d.", newest, c.Format)
	}
}

func (d *diagnosis) node(n Node) {
	subject := "node " + n.ID
	if n.Fault != "" {
		d.add(Problem, subject, "Look whether its process runs and its cluster port can be reached; its log says more. If it is gone for good, replace it.",
			"It does not answer: %s", n.Fault)
		return
	}
	d.clock(subject, n)
	d.disk(subject, n)
	for _, c := range n.Certificates {
		d.certificate(subject, c)
	}
	if !n.SealOpens {
		d.add(Problem, subject, "Give it the seal key of the cluster (cluster.seal_key_file or seal_key_command), and restart it.",
			"It cannot open the hub's keys: its seal key is not the cluster's.")
	}
	if n.FilesMax > 0 && n.FilesMax < FilesAdvised {
		d.add(Advice, subject, "Raise the limit of open files (LimitNOFILE=65536 of the service).", "It may open %d files, and each connection and table is one.", n.FilesMax)
	}
	if n.MetaSilence > MetaSilenceMax {
		d.add(Problem, subject, "Look at the network between it and the meta group's leader.",
			"It has not heard of the meta group's leader for %s, and takes no new connections of peers.", n.MetaSilence.Round(time.Second))
	}
	for _, other := range slices.Sorted(maps.Keys(n.Unreachable)) {
		if d.away[other] {
			continue
		}
		d.add(Problem, subject, "Look at firewalls and at cluster.advertise: each node has to reach each other's cluster port, by TCP.",
			"It cannot call node %s: %s", other, n.Unreachable[other])
	}
	for _, peer := range slices.Sorted(maps.Keys(n.Peers)) {
		d.add(Problem, "peer "+peer, "Look at the name, the network and the peer's certificate ('parley peer list'); ask the peer.",
			"Node %s cannot fetch its directory: %s", n.ID, n.Peers[peer])
	}
	if wildcard(n.Listen) {
		d.add(Problem, subject, "Set cluster.advertise to an address that the other nodes can reach.", "It tells the other nodes to reach it at %s.", n.Listen)
	}
}

// wildcard reports whether an address names no machine.
func wildcard(address string) bool {
	return strings.HasPrefix(address, "0.0.0.0:") || strings.HasPrefix(address, "[::]:") || strings.HasPrefix(address, ":")
}

func (d *diagnosis) clock(subject string, n Node) {
	const todo = "Let a time service set its clock (chrony, systemd-timesyncd)."
	switch {
	case n.ClockOffset == nil:
		d.add(Advice, subject, "Look again when a majority of the nodes that it votes with answers.", "How far its clock is off is not known.")
	case n.ClockOffset.Abs() > ClockMax:
		d.add(Problem, subject, todo, "Its clock is %s off the median, and so it leads nothing.", n.ClockOffset.Round(time.Millisecond))
	case n.ClockOffset.Abs() > ClockAdvised:
		d.add(Advice, subject, todo, "Its clock is %s off the median; from %s on it leads nothing.", n.ClockOffset.Round(time.Millisecond), ClockMax)
	}
}

func (d *diagnosis) disk(subject string, n Node) {
	const mib = 1 << 20
	if n.DiskFault != "" {
		d.add(Problem, subject, "Look at its data directory and its disk.", "Its disk could not be looked at: %s", n.DiskFault)
	}
	switch {
	case n.DiskFree == 0:
	case n.DiskFree < n.DiskReserve:
		d.add(Problem, subject, "Make room, or give it a larger disk, at once: below a quarter of the reserve it stops.",
			"Its disk's reserve is touched: %d MiB are free of the %d that it keeps. It takes nothing new for what it leads.", n.DiskFree/mib, n.DiskReserve/mib)
	case n.DiskFree < 4*n.DiskReserve:
		d.add(Advice, subject, "Make room, or give it a larger disk.", "%d MiB are free on its disk; it takes nothing new below %d.", n.DiskFree/mib, n.DiskReserve/mib)
	}
	switch {
	case n.SyncMedian > SyncMedianMax:
		d.add(Problem, subject, "Give its data directory a disk of its own, with a write cache that survives a loss of power.",
			"A small durable write takes %s (median; the longest %s): each decision waits for two of them.", n.SyncMedian.Round(time.Millisecond/10), n.SyncLongest.Round(time.Millisecond/10))
	case n.SyncMedian > SyncAdvised:
		d.add(Advice, subject, "A disk with a write cache that survives a loss of power makes every decision quicker.",
			"A small durable write takes %s (median; the longest %s).", n.SyncMedian.Round(time.Millisecond/10), n.SyncLongest.Round(time.Millisecond/10))
	}
	if n.Cleared > 0 || len(n.SetAside) > 0 {
		d.add(Problem, subject, "Look at its disk (smartctl, dmesg). What was set aside can be removed from the data directory when it has been looked at.",
			"It has found damage: %d replicas were cleared since it started, set aside is %s.", n.Cleared, cmp.Or(strings.Join(n.SetAside, ", "), "nothing"))
	}
	if n.HeldDamaged > 0 {
		d.add(Problem, subject, "Look at data_dir/held/aside, and remove what you have looked at: submissions that were held may be lost.",
			"%d parts of its journal could not be read.", n.HeldDamaged)
	}
}

func (d *diagnosis) certificate(subject string, c Certificate) {
	left := c.Ends.Sub(d.now)
	todo := fmt.Sprintf("Put a new certificate into the files of the %s; they are read again when they change.", c.Name)
	if c.Renews {
		todo = "It is renewed by itself from the middle of its life on, which needs the meta group and the CA's key: look at the node's log."
	}
	switch {
	case c.Fault != "":
		d.add(Problem, subject, todo, "The certificate of the %s cannot be read: %s", c.Name, c.Fault)
	case left <= 0:
		d.add(Problem, subject, todo, "The certificate of the %s has ended at %s.", c.Name, c.Ends.UTC().Format(time.RFC3339))
	case left < CertificateLeft:
		d.add(Problem, subject, todo, "The certificate of the %s ends in %s.", c.Name, left.Round(time.Hour))
	case left < CertificateSoon:
		d.add(Advice, subject, todo, "The certificate of the %s ends in %d days.", c.Name, int(left/(24*time.Hour)))
	}
}

// together compares what the nodes say of each other.
func (d *diagnosis) together(nodes []Node) {
	for _, a := range nodes {
		for _, b := range nodes {
			if a.ID == b.ID || a.Fault != "" || b.Fault != "" || slices.Contains(a.Gossip, b.ID) {
				continue
			}
			d.add(Problem, "node "+a.ID, "Let the gossip port through, TCP and UDP, both ways, and compare cluster.seeds and the gossip keys ('parley keyring list').",
				"Its gossip does not know node %s.", b.ID)
		}
	}
	keys := make(map[string][]string)
	for _, n := range nodes {
		if n.SealKey != "" {
			keys[n.SealKey] = append(keys[n.SealKey], n.ID)
		}
	}
	if len(keys) > 1 {
		var sides []string
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			sides = append(sides, fmt.Sprintf("%s at %s", key, strings.Join(keys[key], " ")))
		}
		d.add(Problem, "cluster", "Give all nodes one seal key; while it is being replaced, the old one under cluster.old_seal_key_files, then 'parley cluster reseal'.",
			"The nodes seal with different keys: %s.", strings.Join(sides, "; "))
	}
}

func (d *diagnosis) shard(s Shard) {
	subject := fmt.Sprintf("shard %d", s.ID)
	if s.Leader == "" {
		d.add(Problem, subject, "Bring back a majority of its replicas' nodes.", "It has no leader: what needs a decision waits.")
	}
	if len(s.Replicas) < s.Wanted {
		d.add(Problem, subject, "Add nodes, or lower the number of replicas.", "It has %d replicas of the %d that are wanted.", len(s.Replicas), s.Wanted)
	}
	voters := 0
	for _, r := range s.Replicas {
		switch {
		case r.HeldBack != "":
			d.add(Problem, subject, "It is rebuilt by itself from the others, if a majority of them answers; the log of its node says what it waits for.",
				"Its replica on %s is held back: %s", r.Node, strings.TrimSpace(r.HeldBack))
		case !r.Running && d.away[r.Node]:
		case !r.Running:
			d.add(Problem, subject, "Bring its node back, or replace the node.", "Its replica on %s does not run.", r.Node)
		case r.Rebuilding, !r.Voter:
			d.add(Advice, subject, "Wait: 'parley cluster status' says how far it is.", "Its replica on %s does not vote yet.", r.Node)
		case r.Behind > LagAdvised:
			d.add(Advice, subject, "Look at the load and the disk of its node.", "Its replica on %s is %d entries behind.", r.Node, r.Behind)
		}
		if r.Running && r.Voter && r.HeldBack == "" {
			voters++
		}
	}
	if s.Leader != "" && s.Wanted >= 3 && 2*(voters-1) <= len(s.Replicas) {
		d.bare = append(d.bare, fmt.Sprintf("%d (%d of %d vote)", s.ID, voters, len(s.Replicas)))
	}
}

func (d *diagnosis) spared() {
	if len(d.bare) > 0 {
		d.add(Problem, "cluster", "Bring the missing replicas back before anything else is taken down.",
			"One more failure would leave these shards without a majority: %s.", strings.Join(d.bare, ", "))
	}
}
