package doctor

import (
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// healthy is a cluster of three nodes of which nothing is to be said.
func healthy() Cluster {
	c := Cluster{Now: now, MetaLeader: "n1", Format: 6}
	names := []string{"n1", "n2", "n3"}
	for _, id := range names {
		offset := 3 * time.Millisecond
		c.Nodes = append(c.Nodes, Node{
			ID: id, Alive: true, Version: "v2", Knows: 6, ClockOffset: &offset, DiskFree: 100 << 30, DiskReserve: 1 << 30, SyncMedian: time.Millisecond,
			FilesMax: 65536, SealKey: "aa", SealOpens: true, Gossip: names, Listen: "10.0.0.1:7400",
			Certificates: []Certificate{{Name: "peer listener", Ends: now.Add(60 * 24 * time.Hour)}},
		})
	}
	shard := Shard{ID: 1, Leader: "n1", Wanted: 3}
	for _, id := range names {
		shard.Replicas = append(shard.Replicas, Replica{Node: id, Running: true, Voter: true})
	}
	c.Shards = append(c.Shards, shard)
	return c
}

// Each thing that an operator gets wrong is found, as what it is, and nothing else is.
func TestDiagnose(t *testing.T) {
	if found := Diagnose(healthy()); len(found) != 0 {
		t.Fatalf("a healthy cluster: %+v", found)
	}
	offset := func(d time.Duration) *time.Duration { return &d }
	for name, test := range map[string]struct {
		spoil   func(*Cluster)
		level   Level
		subject string
		text    string
	}{
		"no meta leader":           {func(c *Cluster) { c.MetaLeader = "" }, Problem, "cluster", "meta group"},
		"an older program":         {func(c *Cluster) { c.Nodes[1].Version = "v1" }, Advice, "node n2", "v1"},
		"a format to raise":        {func(c *Cluster) { c.Format = 5 }, Advice, "cluster", "format 5"},
		"a node that is away":      {func(c *Cluster) { c.Nodes[2].Fault = "timeout" }, Problem, "node n3", "timeout"},
		"a clock that is off":      {func(c *Cluster) { c.Nodes[0].ClockOffset = offset(-2 * time.Second) }, Problem, "node n1", "-2s"},
		"a clock that drifts":      {func(c *Cluster) { c.Nodes[0].ClockOffset = offset(200 * time.Millisecond) }, Advice, "node n1", "200ms"},
		"a clock nobody knows":     {func(c *Cluster) { c.Nodes[0].ClockOffset = nil }, Advice, "node n1", "not known"},
		"a full disk":              {func(c *Cluster) { c.Nodes[0].DiskFree = 900 << 20 }, Problem, "node n1", "900 MiB"},
		"a disk that fills":        {func(c *Cluster) { c.Nodes[0].DiskFree = 3 << 30 }, Advice, "node n1", "3072 MiB"},
		"a disk that fails":        {func(c *Cluster) { c.Nodes[0].DiskFault = "input/output error" }, Problem, "node n1", "input/output"},
		"a slow disk":              {func(c *Cluster) { c.Nodes[0].SyncMedian = 80 * time.Millisecond }, Problem, "node n1", "80ms"},
		"a disk that is not quick": {func(c *Cluster) { c.Nodes[0].SyncMedian = 20 * time.Millisecond }, Advice, "node n1", "20ms"},
		"damage":                   {func(c *Cluster) { c.Nodes[0].Cleared = 2 }, Problem, "node n1", "2 replicas"},
		"a damaged engine":         {func(c *Cluster) { c.Nodes[0].SetAside = []string{"log.damaged-1"} }, Problem, "node n1", "log.damaged-1"},
		"a damaged journal":        {func(c *Cluster) { c.Nodes[0].HeldDamaged = 1 }, Problem, "node n1", "journal"},
		"few files":                {func(c *Cluster) { c.Nodes[0].FilesMax = 1024 }, Advice, "node n1", "1024"},
		"a wrong seal key":         {func(c *Cluster) { c.Nodes[0].SealOpens = false }, Problem, "node n1", "seal key"},
		"two seal keys":            {func(c *Cluster) { c.Nodes[2].SealKey = "bb" }, Problem, "cluster", "bb at n3"},
		"no word of the leader":    {func(c *Cluster) { c.Nodes[0].MetaSilence = time.Minute }, Problem, "node n1", "1m0s"},
		"a firewall":               {func(c *Cluster) { c.Nodes[0].Unreachable = map[string]string{"n2": "refused"} }, Problem, "node n1", "n2: refused"},
		"a firewall for gossip":    {func(c *Cluster) { c.Nodes[1].Gossip = []string{"n1", "n2"} }, Problem, "node n2", "node n3"},
		"a peer that is away":      {func(c *Cluster) { c.Nodes[0].Peers = map[string]string{"b.example": "no such host"} }, Problem, "peer b.example", "no such host"},
		"an address of nobody":     {func(c *Cluster) { c.Nodes[0].Listen = "0.0.0.0:7400" }, Problem, "node n1", "0.0.0.0"},
		"a certificate that ended": {func(c *Cluster) { c.Nodes[0].Certificates[0].Ends = now.Add(-time.Hour) }, Problem, "node n1", "has ended"},
		"one that ends soon":       {func(c *Cluster) { c.Nodes[0].Certificates[0].Ends = now.Add(50 * time.Hour) }, Problem, "node n1", "50h"},
		"one that ends":            {func(c *Cluster) { c.Nodes[0].Certificates[0].Ends = now.Add(10 * 24 * time.Hour) }, Advice, "node n1", "10 days"},
		"one that cannot be read":  {func(c *Cluster) { c.Nodes[0].Certificates[0].Fault = "no such file" }, Problem, "node n1", "no such file"},
		"no leader":                {func(c *Cluster) { c.Shards[0].Leader = "" }, Problem, "shard 1", "no leader"},
		"a replica too few":        {func(c *Cluster) { c.Shards[0].Wanted = 4 }, Problem, "shard 1", "3 replicas of the 4"},
		"a replica that lags":      {func(c *Cluster) { c.Shards[0].Replicas[1].Behind = 20_000 }, Advice, "shard 1", "20000 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			c := healthy()
			test.spoil(&c)
			found := Diagnose(c)
			if len(found) != 1 {
				t.Fatalf("%+v", found)
			}
			f := found[0]
			if f.Level != test.level || f.Subject != test.subject || !strings.Contains(f.Text, test.text) || f.ToDo == "" {
				t.Errorf("%+v", f)
			}
		})
	}
}

// What leaves a shard with nothing to spare is said beside its cause, problems first.
func TestDiagnoseWhatIsLeft(t *testing.T) {
	for name, spoil := range map[string]func(*Replica){
		"away":      func(r *Replica) { r.Running = false },
		"held back": func(r *Replica) { r.HeldBack = "damaged" },
		"no vote":   func(r *Replica) { r.Voter, r.Rebuilding = false, true },
	} {
		c := healthy()
		spoil(&c.Shards[0].Replicas[2])
		found := Diagnose(c)
		if len(found) != 2 || found[0].Level != Problem || !strings.Contains(found[0].Text+found[1].Text, "One more failure") {
			t.Errorf("%s: %+v", name, found)
		}
	}
}
