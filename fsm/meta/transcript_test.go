package meta_test

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

var rewrite = flag.Bool("rewrite", false, "write what happens into testdata instead of comparing with it")

// A transcript is a sequence of blocks with an empty line between them. A block is some commands, a line of ---- and what they
// came to. Lines beginning with # are kept. `go test ./fsm/meta -rewrite` writes the results anew. "show" prints the map.
func TestTranscripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, entries := play(t, string(data))
			replay(t, entries)
			switch {
			case *rewrite:
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			case got != string(data):
				t.Errorf("it came otherwise:\n%s", got)
			}
		})
	}
}

// play runs a transcript on an empty store, and returns it with what happened, and the entries of its log.
func play(t *testing.T, script string) (string, [][]byte) {
	t.Helper()
	store := fsmtest.NewStore()
	var out strings.Builder
	var entries [][]byte
	for i, block := range strings.Split(strings.TrimSpace(script), "\n\n") {
		input, _, _ := strings.Cut(strings.TrimSpace(block)+"\n", "\n----\n")
		if i > 0 {
			out.WriteString("\n")
		}
		var results []string
		for _, line := range strings.Split(strings.TrimSpace(input), "\n") {
			out.WriteString(line + "\n")
			switch {
			case strings.HasPrefix(line, "#"):
			case line == "show":
				results = append(results, show(t, store))
			default:
				c := parseCommand(t, line)
				entries = append(entries, meta.EncodeCommand(c))
				results = append(results, apply(t, store, uint64(len(entries)), c))
			}
		}
		if len(results) > 0 {
			out.WriteString("----\n" + strings.Join(results, "\n") + "\n")
		}
	}
	return out.String(), entries
}

// apply applies a command and checks what holds after any: a refusal and a repetition change nothing, versions rise by one.
func apply(t *testing.T, store *fsmtest.Store, index uint64, c meta.Command) string {
	t.Helper()
	before, digest := readMap(t, store), digestOf(t, store)
	outcome, err := meta.Apply(store, index, meta.EncodeCommand(c))
	if err != nil {
		t.Fatal(err)
	}
	after, changed := readMap(t, store), digestOf(t, store) != digest
	if err := after.Check(); err != nil {
		t.Errorf("entry %d: %v", index, err)
	}
	switch outcome := outcome.(type) {
	case meta.Refused:
		if _, recorded := c.(meta.Audited); changed && !recorded {
			t.Errorf("entry %d was refused and changed the state", index)
		}
		return "refused: " + outcome.Reason
	case meta.Done:
		want := before.Version() + uint64(btoi(changed && !besideMap(c, before, after)))
		if begun, yes := c.(meta.BeginGeneration); yes && changed {
			want = max(want, begun.Generation.Above()+1)
		}
		if outcome.Version != want || after.Version() != want {
			t.Errorf("entry %d: version %d, in the map %d, not %d", index, outcome.Version, after.Version(), want)
		}
		again, err := meta.Apply(store.Clone(), index+1, meta.EncodeCommand(c))
		if err != nil || again != outcome {
			t.Errorf("entry %d again: %v, %v", index, again, err)
		}
		if !changed {
			return fmt.Sprintf("unchanged %d", outcome.Version)
		}
		return fmt.Sprintf("done %d", outcome.Version)
	default:
		t.Fatalf("outcome %T", outcome)
		return ""
	}
}

// besideMap reports whether a command has left the map's version as it was, and may: how far a job is, and what the audit log says, is not
// of the map.
func besideMap(c meta.Command, before, after *meta.Map) bool {
	switch c.(type) {
	case meta.ReportJob, meta.SteerJob, meta.EndJob:
		return true
	case meta.Audited:
		return before.Version() == after.Version()
	default:
		return false
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// replay applies the entries again, with a snapshot and its restoration before each, and compares the states.
func replay(t *testing.T, entries [][]byte) {
	t.Helper()
	straight, restored := fsmtest.NewStore(), fsmtest.NewStore()
	for i, entry := range entries {
		var snapshot bytes.Buffer
		if err := fsm.WriteSnapshot(&snapshot, restored); err != nil {
			t.Fatal(err)
		}
		restored = fsmtest.NewStore()
		if err := fsm.ReadSnapshot(&snapshot, restored.Set); err != nil {
			t.Fatal(err)
		}
		for _, store := range []*fsmtest.Store{straight, restored} {
			if _, err := meta.Apply(store, uint64(i+1), entry); err != nil {
				t.Fatal(err)
			}
		}
		if digestOf(t, straight) != digestOf(t, restored) {
			t.Fatalf("after entry %d the restored state differs", i+1)
		}
	}
}

func digestOf(t *testing.T, store *fsmtest.Store) [32]byte {
	t.Helper()
	sum, err := fsm.Digest(store)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func readMap(t *testing.T, store *fsmtest.Store) *meta.Map {
	t.Helper()
	m, err := meta.ReadMap(store)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func show(t *testing.T, store *fsmtest.Store) string {
	t.Helper()
	m := readMap(t, store)
	settings, version := m.Settings()
	lines := []string{
		fmt.Sprintf("cluster %q version %d replication %d shards %d", m.ClusterID(), m.Version(), m.ReplicationFactor(), m.ShardsWanted()),
		fmt.Sprintf("settings of version %d domains %v window %d hub keys %d", version, settings.Domains, settings.EpochWindow, len(settings.HubKeys)),
	}
	if g := m.Generation(); g > fsm.FirstGeneration {
		lines = append(lines, fmt.Sprintf("generation %d, what was before ended by %d", g, m.HistoryEndedMillis()))
	}
	for _, n := range m.Nodes() {
		lines = append(lines, fmt.Sprintf("node %s %s %s", n.ID, n.ClusterAddr, n.State))
	}
	for _, n := range m.Nodes() {
		if d := m.Duty(n.ID); d.Millis > 0 {
			lines = append(lines, fmt.Sprintf("node %s is %s since %d, successor %q by %q: %q", n.ID, d.Kind, d.Millis, d.Successor, d.By, d.Why))
		}
		if zone, told := m.ZoneOf(n.ID); told {
			lines = append(lines, fmt.Sprintf("node %s in zone %q", n.ID, zone))
		}
	}
	if p, version := m.Placement(); version > 0 {
		lines = append(lines, fmt.Sprintf("placement of version %d: %+v", version, p))
	}
	for _, s := range m.Successions() {
		lines = append(lines, fmt.Sprintf("shard %d goes from %s to %s", s.Shard, s.Leaves, s.Joins))
	}
	for _, s := range m.Shards() {
		lines = append(lines, fmt.Sprintf("shard %d.%d %d-%d %v %s", s.ID, s.Generation, s.First, s.Last, s.Replicas, s.State))
	}
	for slot := range fsm.SlotID(fsm.SlotCount) {
		if place, _ := m.PlaceOfSlot(slot); place.Generation > 1 {
			lines = append(lines, fmt.Sprintf("slot %d in shard %d, generation %d", slot, place.Shard, place.Generation))
		}
	}
	for _, move := range m.Moves() {
		lines = append(lines, fmt.Sprintf("slot %d on its way from shard %d to %d, in move %d", move.Slot, move.From, move.To, move.Move))
	}
	for _, p := range m.Peers() {
		lines = append(lines, fmt.Sprintf("peer %s %v %v trust %q serverAuth %v private %v", p.Domain, p.Domains, p.DirectoryURLs, p.TrustPEM, p.AcceptServerAuth, p.AllowPrivateAddresses))
	}
	for _, h := range m.Holds() {
		lines = append(lines, fmt.Sprintf("peer %s %s", h.Domain, h))
	}
	for _, k := range m.Tokens() {
		lines = append(lines, fmt.Sprintf("token %s %q %x %v", k.ID, k.Name, k.SecretHash[:4], k.Scopes))
	}
	for _, k := range m.HubKeys() {
		text := fmt.Sprintf("hub key scheme %d %x sealed %q development %v", k.Scheme, k.Public[:4], k.Sealed, k.DevelopmentOnly)
		if k.AddedMillis > 0 {
			text += fmt.Sprintf(" added %d", k.AddedMillis)
		}
		lines = append(lines, text)
	}
	for _, k := range m.ServiceKeys() {
		lines = append(lines, fmt.Sprintf("key for %s, algorithm %d: %s sealed %q added %d", k.Purpose, k.Algorithm, k.Name, k.Sealed, k.AddedMillis))
	}
	if ca, has := m.CA(); has {
		lines = append(lines, fmt.Sprintf("CA %q sealed %q", ca.Certificate, ca.Sealed))
	}
	for _, k := range m.JoinTokens() {
		lines = append(lines, fmt.Sprintf("join token %s for %q until %d used by %q", k.ID, k.Node, k.Until, k.UsedBy))
	}
	for _, c := range m.Certificates() {
		lines = append(lines, fmt.Sprintf("certificate %s of %s until %d barred %q", c.Serial, c.Node, c.NotAfter, m.Barred(c.Node, c.Serial)))
	}
	for _, n := range m.Nodes() {
		if reason := m.Barred(n.ID, []byte("?")); reason != "" {
			lines = append(lines, fmt.Sprintf("another certificate of %s is barred: %s", n.ID, reason))
		}
	}
	for _, k := range m.GossipKeys() {
		lines = append(lines, fmt.Sprintf("gossip key %s sealed %q primary %v", k.ID, k.Sealed, k.Primary))
	}
	if m.Clock() > 0 {
		lines = append(lines, fmt.Sprintf("clock %d", m.Clock()))
	}
	return strings.Join(append(lines, showBeside(t, store)...), "\n")
}

// showBeside is what is not of the map.
func showBeside(t *testing.T, store *fsmtest.Store) (lines []string) {
	t.Helper()
	jobs, err := meta.ReadJobs(store)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		lines = append(lines, fmt.Sprintf("job %d.%d %s %q area %q key %s by %q %s created %d updated %d step %d %q units %d/%d bytes %d/%d error %q",
			j.ID, j.Revision, j.Kind, j.Spec, j.Area, j.Key, j.By, j.State, j.CreatedMillis, j.UpdatedMillis, j.Step, j.Text,
			j.UnitsDone, j.UnitsTotal, j.BytesDone, j.BytesTotal, j.Error))
	}
	entries, err := meta.ReadAudit(store, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		lines = append(lines, fmt.Sprintf("audit %d at %d %q %s %q done %v %q", e.Sequence, e.Millis, e.By, e.Verb, e.What, e.Done, e.Came))
	}
	return lines
}

// line is a command of a transcript: a verb, then words, then key=value.
type line struct {
	t     *testing.T
	words []string
	named map[string]string
}

func parseCommand(t *testing.T, text string) meta.Command {
	t.Helper()
	l := line{t: t, named: make(map[string]string)}
	text, inner, _ := strings.Cut(text, " : ")
	for _, word := range strings.Fields(text) {
		if name, value, named := strings.Cut(word, "="); named {
			l.named[name] = value
		} else {
			l.words = append(l.words, word)
		}
	}
	switch l.word(0) {
	case "audited":
		c := meta.Audited{By: l.named["by"], Verb: l.word(1), What: l.named["what"], Failed: l.named["failed"], Stamp: uint64(l.number("at", 0))}
		copy(c.Key[:], l.named["key"])
		if inner != "" {
			c.Command = parseCommand(t, inner)
		}
		return c
	case "init":
		return meta.InitCluster{ClusterID: l.word(1), Settings: l.settings(), ReplicationFactor: uint32(l.number("replication", 3)), Shards: uint32(l.number("shards", 6))}
	case "settings":
		return meta.PutSettings{Settings: l.settings()}
	case "change-settings":
		return meta.ChangeSettings{Version: uint64(l.number("version", 0)), Settings: l.settings()}
	case "add-node":
		return meta.AddNode{Node: l.node()}
	case "update-node":
		return meta.UpdateNode{Node: l.node()}
	case "place":
		return meta.PlaceShards{Shards: []meta.Shard{l.shard()}}
	case "place-empty":
		return meta.PlaceShards{Shards: []meta.Shard{meta.EmptyShard(fsm.ShardID(l.int(l.word(1))), uint64(l.number("generation", 1)), l.list("on"))}}
	case "begin-moves", "end-moves", "retire":
		return l.slotCommand()
	case "place-evenly":
		return meta.PlaceShards{Shards: meta.EvenShards(l.number("shards", 6), l.list("nodes"), l.number("replication", 3))}
	case "assign":
		return meta.AssignNode{Stamp: uint64(l.number("at", 0)), Duty: meta.Duty{
			Node: l.word(1), Kind: meta.DutyKind(l.number("duty", 0)), Successor: l.named["successor"], By: l.named["by"], Why: l.named["why"],
		}}
	case "dismiss":
		return meta.DismissNode{Node: l.word(1), Stamp: uint64(l.number("at", 0))}
	case "generation":
		c := meta.BeginGeneration{
			Generation: fsm.Generation(l.int(l.word(1))), EndedMillis: uint64(l.number("ended", 0)), Lost: l.list("lost"), Stamp: uint64(l.number("at", 0)),
		}
		for _, shard := range l.list("shards") {
			c.Shards = append(c.Shards, meta.ShardLeft{ID: fsm.ShardID(l.int(shard)), Replicas: l.list("on")})
		}
		return c
	case "tell-zone":
		return meta.TellZone{Zone: meta.Zone{Node: l.word(1), Name: l.named["zone"]}}
	case "placement":
		return meta.ChangePlacement{Version: uint64(l.number("version", 0)), Stamp: uint64(l.number("at", 0)), Rules: meta.PlacementRules{
			Paused: l.named["paused"] == "yes", ReplaceAfterMillis: uint64(l.number("after", 900_000)), BytesPerSecond: uint64(l.number("rate", 0)),
			ReplicationFactor: uint32(l.number("replication", 3)), By: l.named["by"], Why: l.named["why"],
		}}
	case "replicas":
		return meta.ChangeReplicas{Shard: fsm.ShardID(l.int(l.word(1))), Was: l.list("was"), Replicas: l.list("on"), Leaves: l.named["leaves"]}
	case "activate":
		return meta.ActivateShard{ID: fsm.ShardID(l.int(l.word(1)))}
	case "put-peer":
		return meta.PutPeer{Peer: l.peer()}
	case "remove-peer":
		return meta.RemovePeer{Domain: l.provider(l.word(1))}
	case "pause-peer", "resume-peer":
		return meta.HoldPeer{Stamp: uint64(l.number("at", 0)), Hold: meta.Hold{
			Domain: l.provider(l.word(1)), Paused: l.word(0) == "pause-peer", By: l.named["by"], Why: l.named["why"],
		}}
	case "put-token":
		return meta.PutToken{Token: l.token()}
	case "revoke-token":
		return meta.RevokeToken{ID: l.word(1)}
	case "add-hub-key":
		return meta.AddHubKey{Key: l.hubKey(), Stamp: uint64(l.number("at", 0))}
	case "add-service-keys":
		c := meta.AddServiceKeys{Stamp: uint64(l.number("at", 0))}
		for _, word := range l.words[1:] { // such as franking:1:A:x
			parts := strings.Split(word, ":")
			purpose, _ := meta.ParsePurpose(parts[0])
			c.Keys = append(c.Keys, meta.ServiceKey{
				Purpose: purpose, Algorithm: uint16(l.int(parts[1])), Name: []byte(parts[2]), Sealed: []byte(parts[3]),
			})
		}
		return c
	case "put-hub-key":
		return meta.PutHubKey{Key: l.hubKey()}
	}
	return l.trustCommand(text)
}

// slotCommand reads slots as 7,8,9, and moves as 7:move:generation.
func (l line) slotCommand() meta.Command {
	l.t.Helper()
	switch l.word(0) {
	case "begin-moves":
		c := meta.BeginMoves{To: fsm.ShardID(l.number("to", 0))}
		for _, word := range l.list("slots") {
			c.Slots = append(c.Slots, fsm.SlotID(l.int(word)))
		}
		return c
	case "end-moves":
		var c meta.EndMoves
		for _, word := range l.words[1:] {
			parts := strings.Split(word, ":")
			c.Moves = append(c.Moves, meta.SlotMoved{
				Slot: fsm.SlotID(l.int(parts[0])), Move: uint64(l.int(parts[1])), Generation: uint64(l.int(parts[2])),
			})
		}
		return c
	default:
		return meta.RetireShard{ID: fsm.ShardID(l.int(l.word(1)))}
	}
}

func (l line) trustCommand(text string) meta.Command {
	l.t.Helper()
	stamp := uint64(l.number("at", 0))
	switch l.word(0) {
	case "put-ca":
		return meta.PutCA{CA: meta.CA{Certificate: []byte(l.word(1)), Sealed: []byte(l.named["sealed"])}}
	case "invite":
		k := meta.JoinToken{ID: l.word(1), Node: l.named["for"]}
		if secret := l.named["secret"]; secret != "" {
			k.SecretHash = sha256.Sum256([]byte(secret))
		}
		return meta.PutJoinToken{Token: k, Millis: uint64(l.number("millis", 1000)), Stamp: stamp}
	case "uninvite":
		return meta.RevokeJoinToken{ID: l.word(1)}
	case "enrol":
		return meta.EnrolNode{
			TokenID: l.named["token"], SecretHash: sha256.Sum256([]byte(l.named["secret"])), KeyHash: sha256.Sum256([]byte(l.named["key"])),
			Certificate: l.certificate(), Stamp: stamp,
		}
	case "record":
		return meta.RecordCertificate{Certificate: l.certificate(), Stamp: stamp}
	case "revoke":
		return meta.RevokeCertificates{Node: l.word(1), Stamp: stamp}
	case "put-gossip-key":
		return meta.PutGossipKey{Key: meta.GossipKey{ID: l.word(1), Sealed: []byte(l.named["sealed"])}}
	case "use-gossip-key":
		return meta.UseGossipKey{ID: l.word(1)}
	case "remove-gossip-key":
		return meta.RemoveGossipKey{ID: l.word(1)}
	case "reseal":
		return meta.Reseal{Secrets: l.resealed()}
	}
	return l.operatorCommand(text)
}

func (l line) operatorCommand(text string) meta.Command {
	l.t.Helper()
	id, stamp, revision := uint64(l.number("job", 0)), uint64(l.number("at", 0)), uint64(l.number("revision", 0))
	progress := meta.JobProgress{
		Step: uint64(l.number("step", 0)), Text: l.named["text"], UnitsDone: uint64(l.number("units", 0)), UnitsTotal: uint64(l.number("of", 0)),
		BytesDone: uint64(l.number("bytes", 0)), BytesTotal: uint64(l.number("of-bytes", 0)),
	}
	switch l.word(0) {
	case "put-job", "plan-job":
		return meta.PutJob{
			Kind: l.word(1), Area: l.named["area"], Spec: []byte(l.named["spec"]), Key: l.named["key"], By: l.named["by"],
			Planned: l.word(0) == "plan-job", Stamp: stamp,
		}
	case "report-job":
		return meta.ReportJob{ID: id, Revision: revision, Progress: progress, Stamp: stamp}
	case "steer-job":
		wishes := map[string]meta.JobWish{"cancel": meta.WishCancel, "pause": meta.WishPause, "resume": meta.WishGoOn, "apply": meta.WishBegin}
		return meta.SteerJob{ID: id, Wish: wishes[l.word(1)], Stamp: stamp}
	case "end-job":
		return meta.EndJob{ID: id, Revision: revision, State: meta.JobState(l.number("state", 0)), Error: l.named["error"], Progress: progress, Stamp: stamp}
	}
	l.t.Fatalf("%q is no command", text)
	return nil
}

func (l line) certificate() meta.Certificate {
	return meta.Certificate{Serial: []byte(l.named["serial"]), Node: l.word(1), NotAfter: uint64(l.number("until", 9000)), Revoked: l.named["revoked"] == "yes"}
}

// resealed reads words such as ca:old:new, hub:A:old:new and gossip:k1:old:new.
func (l line) resealed() (list []meta.Resealed) {
	for _, word := range l.words[1:] {
		parts := strings.Split(word, ":")
		var r meta.Resealed
		switch parts[0] {
		case "ca":
			r.Kind = meta.SecretCA
		case "hub":
			r.Kind, r.Name = meta.SecretHubKey, bytes.Repeat([]byte(parts[1]), 32)
		case "service":
			purpose, _ := meta.ParsePurpose(parts[1])
			r.Kind, r.Name = meta.SecretServiceKey, append([]byte{byte(purpose)}, parts[2]...)
		case "gossip":
			r.Kind, r.Name = meta.SecretGossipKey, []byte(parts[1])
		}
		r.Was, r.Sealed = sha256.Sum256([]byte(parts[len(parts)-2])), []byte(parts[len(parts)-1])
		list = append(list, r)
	}
	return list
}

func (l line) word(i int) string {
	if i >= len(l.words) {
		return ""
	}
	return l.words[i]
}

func (l line) int(text string) int {
	l.t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

func (l line) number(name string, otherwise int) int {
	if text, given := l.named[name]; given {
		return l.int(text)
	}
	return otherwise
}

func (l line) list(name string) []string {
	if l.named[name] == "" {
		return nil
	}
	return strings.Split(l.named[name], ",")
}

func (l line) provider(domain string) mimi.Provider {
	l.t.Helper()
	p, err := mimi.ParseProvider(domain)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

func (l line) providers(name string) (list []mimi.Provider) {
	for _, domain := range l.list(name) {
		list = append(list, l.provider(domain))
	}
	return list
}

func (l line) settings() fsm.Settings {
	s := fsm.DefaultSettings(l.providers("domains")...)
	s.EpochWindow = uint32(l.number("window", int(s.EpochWindow)))
	s.Format = fsm.Format(l.number("format", int(s.Format)))
	s.LeaseMinMillis = uint64(l.number("lease-min", int(s.LeaseMinMillis)))
	s.Format = fsm.Format(l.number("format", int(s.Format)))
	return s
}

func (l line) node() meta.Node {
	incarnation := "disk-of-" + l.word(1)
	if other := l.list("incarnation"); len(other) > 0 {
		incarnation = other[0]
	}
	return meta.Node{ID: l.word(1), Incarnation: incarnation, ClusterAddr: l.word(2), State: meta.NodeState(l.number("state", int(meta.NodeActive)))}
}

func (l line) shard() meta.Shard {
	return meta.Shard{
		ID: fsm.ShardID(l.int(l.word(1))), Generation: uint64(l.number("generation", 1)), First: fsm.SlotID(l.number("first", 0)),
		Last: fsm.SlotID(l.number("last", 0)), Replicas: l.list("on"), State: meta.ShardState(l.number("state", int(meta.ShardCreating))),
	}
}

func (l line) peer() meta.Peer {
	return meta.Peer{
		Domain: l.provider(l.word(1)), Domains: l.providers("domains"), DirectoryURLs: l.list("at"), TrustPEM: []byte(l.named["trust"]),
		AcceptServerAuth: l.named["server-auth"] == "yes", AllowPrivateAddresses: l.named["private"] == "yes",
	}
}

func (l line) token() meta.Token {
	k := meta.Token{ID: l.word(1), Name: l.named["name"]}
	if secret := l.named["secret"]; secret != "" {
		k.SecretHash = sha256.Sum256([]byte(secret))
	}
	for _, name := range l.list("scopes") {
		scope, err := meta.ParseScope(name)
		if err != nil {
			scope = 99
		}
		k.Scopes = append(k.Scopes, scope)
	}
	return k
}

func (l line) hubKey() meta.HubKey {
	return meta.HubKey{
		Scheme: mls.SignatureScheme(l.number("scheme", int(mls.Ed25519))), Public: bytes.Repeat([]byte(l.word(1)), 32)[:32],
		Sealed: []byte(l.named["sealed"]), DevelopmentOnly: l.named["development"] == "yes",
	}
}
