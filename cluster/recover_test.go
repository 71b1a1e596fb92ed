package cluster

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// lossOfTwo is a cluster of three of which two are lost for good, and with them the end of what was decided.
type lossOfTwo struct {
	*testCluster
	room    *fsmtest.Room // as its members know it, the lost part included
	known   fsmtest.Room  // as the survivor does
	lost    []fsm.AcceptCommit
	bob     mimi.UserURI
	given   mls.KeyPackageRef // in the lost part
	waiting fsm.ClaimKeyPackages
}

func loseTwo(t *testing.T) *lossOfTwo {
	t.Helper()
	settings := fsm.DefaultSettings(provider(t, "a.example"))
	settings.Claims = fsm.ClaimRules{ConsentDefault: fsm.ConsentAllow}
	l := &lossOfTwo{testCluster: threeNodesWith(t, nil, settings), bob: user(t, "bob")}
	l.awaitVoters() // n3 among them, whose copy is all that will be left
	l.awaitSettings()
	l.room = fsmtest.NewRoom(room(t, "club"), 0, []mimi.UserURI{user(t, "alice"), l.bob}, []mimi.Provider{provider(t, "a.example")})
	_, l.room.Settings = l.nodes["n1"].Map().Settings()
	l.propose("n1", l.room.Create())
	shard, _ := l.nodes["n1"].Map().ShardOfSlot(fsm.SlotOfRoom(l.room.URI))
	l.room.Incarnation = l.incarnationIn(shard.ID, l.room.URI)
	phone, err := mimi.ParseClientURI("mimi://a.example/d/bob1")
	if err != nil {
		t.Fatal(err)
	}
	upload := fsm.UploadKeyPackages{User: l.bob, Client: phone}
	now := uint64(time.Now().Unix())
	for i := range 3 {
		upload.Packages = append(upload.Packages, fsm.KeyPackageFacts{
			Ref: mls.KeyPackageRef(fmt.Sprint("package ", i)), Suite: 1, NotBefore: now - 10, NotAfter: now + 1000, Message: []byte{byte(i)},
		})
	}
	l.propose("n1", upload)
	l.commit("n1", "kept")
	l.known = *l.room
	l.awaitApplied("n3")
	l.stop("n3")

	l.lost = append(l.lost, l.commit("n1", "lost 1"), l.commit("n1", "lost 2"))
	l.waiting = fsm.ClaimKeyPackages{
		User: l.bob, Requester: user(t, "alice"), Provider: provider(t, "a.example"), Suites: []mls.CipherSuite{1}, ReplayKey: [32]byte{1}, ReplayMillis: 60_000,
	}
	claimed, _ := l.propose("n1", l.waiting)
	l.given = claimed.(fsm.Claimed).Clients[0].Ref
	l.stop("n1")
	l.stop("n2")
	return l
}

func (l *lossOfTwo) propose(node string, c fsm.Command) (fsm.Outcome, uint64) {
	l.t.Helper()
	outcome, index, err := l.nodes[node].Propose(l.context(), c)
	if err != nil {
		l.t.Fatalf("%T: %v", c, err)
	}
	return outcome, index
}

// commit brings the room to its next epoch.
func (l *lossOfTwo) commit(node, label string) fsm.AcceptCommit {
	l.t.Helper()
	c := l.room.Commit(fsmtest.Next{Label: label})
	if outcome, _ := l.propose(node, c); kindOf(outcome) != "fsm.Accepted" {
		l.t.Fatalf("the Commit %s got %#v", label, outcome)
	}
	l.room.Advance(c)
	return c
}

func kindOf(o fsm.Outcome) string { return fmt.Sprintf("%T", o) }

// awaitApplied waits until a node has applied what the others have decided.
func (l *lossOfTwo) awaitApplied(id string) {
	l.t.Helper()
	for _, other := range l.nodes { // one of them leads, and knows how much is decided
		eventually(l.t, id+" has applied all", func() bool {
			for _, ahead := range other.View().Replicas {
				for _, r := range l.nodes[id].View().Replicas {
					if r.Shard == ahead.Shard && r.Applied < ahead.Commit {
						return false
					}
				}
			}
			return true
		})
	}
}

func (l *lossOfTwo) dir(id string) SurvivingDir { return SurvivingDir{DataDir: l.configs[id].DataDir} }

// plan is made from the one survivor.
func (l *lossOfTwo) plan(lost ...string) (RecoveryPlan, error) {
	l.t.Helper()
	survey, err := l.dir("n3").Survey()
	if err != nil {
		l.t.Fatal(err)
	}
	return PlanRecovery([]Survivor{survey}, lost, uint64(time.Now().UnixMilli()))
}

func (l *lossOfTwo) recover() RecoveryPlan {
	l.t.Helper()
	plan, err := l.plan("n1", "n2")
	if err == nil {
		err = l.dir("n3").Recover(plan)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return plan
}

// What two of three nodes had decided and took with them is decided a second time by nobody: no Commit of an epoch that was used, no KeyPackage
// that was given. The nodes that come back with what they had are refused, and end.
func TestRecoveryFromOneOfThree(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	l := loseTwo(t)
	plan := l.recover()
	if len(plan.Groups) != 3 || plan.Generation != 2 {
		t.Fatalf("the plan is %+v", plan)
	}
	n3 := l.start("n3")
	l.awaitActive(2)
	eventually(t, "the map is of generation 2", func() bool { return n3.Map().Generation() == 2 })
	second := l.known.Commit(fsmtest.Next{Label: "second of its epoch"})
	_, version := n3.Map().Settings()
	second.Reads.Enforcement = version
	if outcome, _ := l.propose("n3", second); kindOf(outcome) != "fsm.StaleRoom" {
		t.Fatalf("a second Commit of an epoch got %#v", outcome)
	}
	if outcome, _ := l.propose("n3", l.known.Forward(2)); kindOf(outcome) != "fsm.Accepted" {
		// The epoch that the hub has last seen is where a member may say that the group is; here one says better.
		t.Logf("forward to the hub's own epoch: %#v", outcome)
	}
	claim := l.waiting
	claim.ReplayKey = [32]byte{2}
	for range 3 {
		outcome, _ := l.propose("n3", claim)
		for _, c := range outcome.(fsm.Claimed).Clients {
			if c.Code == mimi.KeyMaterialClientSuccess {
				t.Errorf("a claim got %s, and %s was given before", c.Ref, l.given)
			}
		}
	}
	l.oldNodeEnds("n1")
}

// oldNodeEnds opens a lost node's directory beside the cluster that goes on without it.
func (l *lossOfTwo) oldNodeEnds(id string) {
	l.t.Helper()
	l.start(id)
	eventually(l.t, id+" hears that it is over", func() bool {
		err, ended := l.fatal.Load(id)
		superseded := (*SupersededError)(nil)
		return ended && errors.As(err.(error), &superseded)
	})
	l.stop(id)
	l.fatal.Delete(id)
	if _, err := Open(l.configs[id]); err == nil || !strings.Contains(err.Error(), "generation 2") {
		l.t.Errorf("it opens again: %v", err)
	}
}

// A room goes forward to the epoch that its members are in, and the Commits that were lost are not accepted a second time.
func TestRecoveredRoomGoesForward(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	l := loseTwo(t)
	l.recover()
	l.start("n3")
	l.awaitActive(2)
	forward := l.room.Forward(2)
	outcome, _ := l.propose("n3", forward)
	if outcome.(fsm.Accepted).Epoch != l.room.Epoch {
		t.Fatalf("the room goes to %#v", outcome)
	}
	l.room.Incarnation = l.incarnation()
	l.awaitSettings() // the recovery has changed them
	_, l.room.Settings = l.nodes["n3"].Map().Settings()
	for i, c := range l.lost {
		c.Reads.Incarnation, c.Reads.Enforcement = l.room.Incarnation, l.room.Settings
		if outcome, _ := l.propose("n3", c); kindOf(outcome) != "fsm.WrongEpoch" {
			t.Errorf("lost Commit %d got %#v", i, outcome)
		}
	}
	l.commit("n3", "after")
}

// incarnation is the room's at the survivor, which has decided something about it just now.
func (l *lossOfTwo) incarnation() uint64 {
	l.t.Helper()
	n := l.nodes["n3"]
	shard, _ := n.Map().ShardOfSlot(fsm.SlotOfRoom(l.room.URI))
	view, err := n.replica(shard.ID).view()
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() { _ = view.Close() }()
	room, found, err := fsm.ReadRoom(view, l.room.URI)
	if err != nil || !found {
		l.t.Fatalf("the room is not there: %v", err)
	}
	return room.Incarnation
}

// Wherever a recovery is cut off, the node does not start before it has ended, and done again it comes to the same.
func TestRecoveryIsCutOffAnywhere(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	l := loseTwo(t)
	tail := l.tail()
	plan, err := l.plan("n1", "n2")
	if err != nil {
		t.Fatal(err)
	}
	whole := l.copied()
	var points []string
	whole.Reached = func(point string) { points = append(points, point) }
	if err := whole.Recover(plan); err != nil {
		t.Fatal(err)
	}
	want, err := whole.Survey()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("it has the steps %v", points)
	for _, at := range points {
		dir := l.copied()
		if !cutOffAt(t, dir, plan, at) {
			t.Fatalf("it does not come to %s", at)
		}
		config := l.configs["n3"]
		config.DataDir = dir.DataDir
		if at != points[0] {
			if _, err := Open(config); err == nil || !strings.Contains(err.Error(), "recovery") {
				t.Errorf("cut off at %s, the node opens: %v", at, err)
			}
		}
		if err := dir.Recover(plan); err != nil {
			t.Errorf("cut off at %s, then: %v", at, err)
		}
		if got, err := dir.Survey(); err != nil || fmt.Sprintf("%+v", got.Groups) != fmt.Sprintf("%+v", want.Groups) || got.Generation != 2 {
			t.Errorf("cut off at %s it came to %+v, not %+v: %v", at, got, want, err)
		}
	}
	if err := whole.Recover(plan); err != nil {
		t.Errorf("once more: %v", err)
	}
	config := l.configs["n3"]
	config.DataDir = whole.DataDir
	l.configs["n3"] = config
	l.start("n3")
	l.awaitActive(2)
	l.checkTail(tail)
}

// cutOffAt recovers a directory up to a point, and reports whether it came to that.
func cutOffAt(t *testing.T, dir SurvivingDir, plan RecoveryPlan, at string) (cut bool) {
	t.Helper()
	type cutOff struct{}
	defer func() {
		if r := recover(); r != nil {
			if _, cut = r.(cutOff); !cut {
				panic(r)
			}
		}
	}()
	dir.Reached = func(point string) {
		if point == at {
			panic(cutOff{})
		}
	}
	if err := dir.Recover(plan); err != nil {
		t.Fatal(err)
	}
	return false
}

// copied is a copy of the survivor's directory.
func (l *lossOfTwo) copied() SurvivingDir {
	l.t.Helper()
	dir := l.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(l.configs["n3"].DataDir)); err != nil {
		l.t.Fatal(err)
	}
	return SurvivingDir{DataDir: dir}
}

// tail puts what the survivor had not applied behind its log: a Commit that may have been decided otherwise, and a message.
func (l *lossOfTwo) tail() fsm.SubmitMessage {
	l.t.Helper()
	message := l.known.Message("in the tail", l.known.Epoch, l.bob)
	commit := l.known.Commit(fsmtest.Next{Label: "in the tail"})
	s, err := l.dir("n3").open()
	if err != nil {
		l.t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			l.t.Fatal(err)
		}
	}()
	survey, err := s.survey()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, shard := range survey.Map.Shards {
		for _, run := range shard.Slots {
			if slot := fsm.SlotOfRoom(l.known.URI); slot < run.First || slot > run.Last {
				continue
			}
			g, _ := survey.group(uint32(shard.ID))
			stores := groupStores{quarantines: s.quarantines, id: g.Group, state: s.state.Group(g.Group)}
			if err := s.openRaftStores(&stores); err != nil {
				l.t.Fatal(err)
			}
			entry := fsm.EncodeEntry(fsm.Entry{StampMillis: g.HubMillis, Commands: []fsm.Command{commit, message}})
			if err := stores.log.StoreLogs([]*raft.Log{{Index: g.Last + 1, Term: g.LastTerm, Type: raft.LogCommand, Data: entry}}); err != nil {
				l.t.Fatal(err)
			}
			if err := stores.close(); err != nil {
				l.t.Fatal(err)
			}
		}
	}
	return message
}

// checkTail finds the message accepted, and the Commit not.
func (l *lossOfTwo) checkTail(message fsm.SubmitMessage) {
	l.t.Helper()
	n := l.nodes["n3"]
	shard, _ := n.Map().ShardOfSlot(fsm.SlotOfRoom(message.Room))
	eventually(l.t, "the tail is salvaged", func() bool {
		view, err := n.replica(shard.ID).view()
		if err != nil {
			l.t.Fatal(err)
		}
		defer func() { _ = view.Close() }()
		_, accepted, err := fsm.ReadKnownMessage(view, message.Room, message.GroupID, message.Epoch, message.Hash)
		if err != nil {
			l.t.Fatal(err)
		}
		room, _, err := fsm.ReadRoom(view, message.Room)
		if err != nil || room.Epoch != l.known.Epoch {
			l.t.Fatalf("the room is in epoch %d: %v", room.Epoch, err)
		}
		return accepted
	})
}

// What would lose more than has to be lost is refused, and says what to do.
func TestRecoveryIsRefused(t *testing.T) {
	survivor := func(node string, last uint64, voters ...string) Survivor {
		var groups []SurvivorGroup
		for group := range uint32(2) {
			groups = append(groups, SurvivorGroup{Group: group, Applied: last, Last: last, LastTerm: 2, Term: 2, Voters: voters})
		}
		groups[1].Slots = []SlotRun{{First: 0, Last: fsm.SlotCount - 1, Generation: 1}}
		known := &SurvivingMap{Generation: 1, Shards: []SurvivingShard{{ID: 1, State: "active", Replicas: voters, Slots: groups[1].Slots}}}
		for _, v := range voters {
			known.Nodes = append(known.Nodes, SurvivingNode{ID: v})
		}
		return Survivor{ClusterID: "c", Node: node, Incarnation: node, Generation: 1, Map: known, Groups: groups}
	}
	three := []string{"n1", "n2", "n3"}
	unusable := survivor("n3", 5, three...)
	unusable.Groups[1].Unusable = "damaged"
	older := survivor("n2", 5, three...)
	older.Generation = 2
	recovering := survivor("n3", 5, three...)
	recovering.Recovering = true
	for name, test := range map[string]struct {
		surveys []Survivor
		lost    []string
		wants   string
	}{
		"a quorum is there":          {[]Survivor{survivor("n1", 5, three...), survivor("n2", 5, three...)}, []string{"n3"}, "nothing is lost"},
		"a node is not spoken for":   {[]Survivor{survivor("n3", 5, three...)}, []string{"n1"}, "node n2"},
		"a lost node is there":       {[]Survivor{survivor("n3", 5, three...)}, []string{"n1", "n2", "n3"}, "said to be lost"},
		"nobody knows the lost node": {[]Survivor{survivor("n3", 5, three...)}, []string{"n1", "n2", "n9"}, "n9"},
		"a shard has no survivor":    {[]Survivor{unusable}, []string{"n1", "n2"}, "shard 1"},
		"generations differ":         {[]Survivor{survivor("n3", 5, three...), older}, []string{"n1"}, "generation"},
		"it is under way":            {[]Survivor{recovering}, []string{"n1", "n2"}, "has not ended"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := PlanRecovery(test.surveys, test.lost, 1)
			refused := (*RefusedError)(nil)
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.wants) {
				t.Errorf("it is %v", err)
			}
		})
	}
	five := []string{"n1", "n2", "n3", "n4", "n5"}
	plan, err := PlanRecovery([]Survivor{survivor("n4", 7, five...), survivor("n5", 9, five...)}, []string{"n1", "n2", "n3"}, 1)
	if err != nil || plan.Groups[1].Source != "n5" || fmt.Sprint(plan.Groups[1].Replicas) != "[n5 n4]" || plan.Groups[1].Term != 3 {
		t.Errorf("of two the better one is not taken: %+v, %v", plan, err)
	}
}

// A slot that two shards have goes to the one that it came to last, and one that none has begins with nothing where the map has it.
func TestRecoveryRulesSlots(t *testing.T) {
	shard := func(id uint32, runs ...SlotRun) SurvivorGroup {
		return SurvivorGroup{Group: id, Applied: 5, Last: 5, LastTerm: 1, Voters: []string{"n1", "n2", "n3"}, Slots: runs}
	}
	all := []string{"n1", "n2", "n3"}
	known := &SurvivingMap{Generation: 1, Nodes: []SurvivingNode{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}, Shards: []SurvivingShard{
		{ID: 1, State: "active", Replicas: all, Slots: []SlotRun{{First: 0, Last: 9, Generation: 1}}},
		{ID: 2, State: "active", Replicas: all, Slots: []SlotRun{{First: 10, Last: 20, Generation: 2}}},
	}}
	survey := Survivor{ClusterID: "c", Node: "n1", Generation: 1, Map: known, Groups: []SurvivorGroup{
		shard(0), shard(1, SlotRun{0, 10, 1}), shard(2, SlotRun{10, 19, 2}),
	}}
	plan, err := PlanRecovery([]Survivor{survey}, []string{"n2", "n3"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := []SlotOfPlan{{Slot: 10, Shard: 2, Generation: 3}, {Slot: 20, Shard: 2, Generation: 3, Empty: true}}
	for _, group := range plan.Groups[1:] {
		if fmt.Sprint(group.Slots) != fmt.Sprint(want) {
			t.Errorf("shard %d rules %+v", group.Group, group.Slots)
		}
	}
}
