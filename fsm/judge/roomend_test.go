package judge

import (
	"slices"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// reInit is one that keeps all but the group_id.
func (m *maker) reInit() mls.ReInit {
	m.t.Helper()
	return mls.ReInit{GroupID: "next group", Version: mls.MLS10, Suite: 1, Extensions: slices.Clone(m.state().group.Context().Extensions)}
}

// successor is the creation of the group that follows, by alice alone, at its first epoch.
func (m *maker) successor(alter func(*mlstest.Config)) (*mlstest.Group, Request) {
	m.t.Helper()
	alice := m.client("alice1")
	config := mlstest.Config{
		Suite: 1, Seed: 7, Members: 1, GroupID: "next group", Extensions: m.lastExtensions(),
		Leaf: func(leaf *mls.LeafNode) { leaf.Credential = basic(alice.URI.String()) },
	}
	if alter != nil {
		alter(&config)
	}
	group, err := mlstest.New(config)
	m.ok(err)
	info := group.GroupInfo()
	r, err := NewCreateRoom(m.recording.Room.URI, alice.User, info.Marshal(), group.Tree())
	m.ok(err)
	return group, r
}

// lastExtensions are those of the room's group, whether it has ended or not.
func (m *maker) lastExtensions() mls.Extensions {
	m.t.Helper()
	room, _, err := fsm.ReadRoom(m.store, m.recording.Room.URI)
	m.ok(err)
	context, err := mls.ParseGroupContext(room.GroupContext)
	m.ok(err)
	return context.Extensions
}

func (m *maker) destroy() fsm.Outcome {
	m.t.Helper()
	return m.do(constructed(NewDestroyRoom(m.recording.Room.URI)))
}

// Members of standard providers hear of the end of a room by a Remove of each, in the hub's name; then the room answers that it is gone.
func TestDestroyRoom(t *testing.T) {
	m := openMaker(t)
	won := m.commit("alice1", false, inline(m.rename()))
	m.accepted("a.example", won)
	late := m.commit("alice1", false, inline(m.rename()))
	leaves := []mls.LeafIndex{m.leaf("alice1"), m.leaf("bob1"), m.leaf("bob2"), m.leaf("bob3")}
	state := m.state()
	asked, err := m.groupInfoRequest("bob3", "b.example")
	destroyed := want[fsm.Accepted](t, m.destroy())
	if again := want[fsm.Accepted](t, m.destroy()); again != destroyed {
		t.Errorf("destroyed again: %+v, first %+v", again, destroyed)
	}
	var farewell []mls.Proposal
	m.ok(fsm.ReadOutbox(m.store, fsm.SlotOfRoom(state.URI), provider(t, "b.example"), 0, func(item fsm.OutboxItem) (bool, error) {
		farewell = nil
		messages, err := mimi.ParseFanout(item.Body)
		for _, message := range messages {
			sent, ok := message.Event.(mimi.FanoutProposals)
			if !ok {
				continue
			}
			for _, part := range sent.Proposals {
				if _, err := state.group.VerifyProposal(publicOf(part), state.now); err == nil {
					farewell = append(farewell, publicOf(part).Content.Body.(mls.Proposal))
				}
			}
		}
		return true, err
	}))
	m.wantRemovals(farewell, leaves)
	ended := fsm.RoomEnded{Status: fsm.RoomDestroyed, Millis: destroyed.Millis}
	from := provider(t, "a.example")
	if o := m.send(from, late); o != fsm.Outcome(ended) {
		t.Errorf("a Commit gets %T%+v", o, o)
	}
	if again := want[fsm.Accepted](t, m.send(from, won)); again.Epoch != 4 {
		t.Errorf("the retry of an accepted Commit gets %+v", again)
	}
	if o := m.do(constructed(NewDescribeRoom(state.URI))); o != fsm.Outcome(ended) {
		t.Errorf("a look at it gets %T%+v", o, o)
	}
	want[fsm.NoSuchRoom](t, m.do(asked, err))
	if o := m.create(); o != fsm.Outcome(ended) {
		t.Errorf("its creation gets %T%+v", o, o)
	}
}

// ending is a house whose admin may send a ReInit, and which members may rename.
func ending() *house {
	return newHouse().allow(roleAdmin, mimi.CanSendMLSReinitProposal).allow(roleMember, mimi.CanChangeRoomName)
}

// A ReInit ends the group. The room waits, and goes on with the group that was announced, and no other.
func TestReInit(t *testing.T) {
	m := ending().open(t)
	last := m.commit("alice1", false, inline(m.reInit()))
	asked, err := m.groupInfoRequest("bob3", "b.example")
	m.accepted("a.example", last)
	from := provider(t, "a.example")
	want[fsm.RoomEnded](t, m.do(asked, err))

	for name, c := range map[string]struct {
		alter  func(*mlstest.Config)
		reason string
	}{
		"group_id": {func(c *mlstest.Config) { c.GroupID = "another" }, "the group_id is not the one that the ReInit announced"},
		"suite":    {func(c *mlstest.Config) { c.Suite = 3 }, "the cipher suite is not the one that the ReInit announced"},
		"extensions": {func(c *mlstest.Config) {
			senders, err := mls.ParseExternalSenders(senderData(c.Extensions))
			m.ok(err)
			c.Extensions = c.Extensions.With(mls.ExtensionExternalSenders, append(senders, senders...).Marshal())
		}, "the extensions are not those that the ReInit announced"},
		"epoch": {func(c *mlstest.Config) { c.Epoch = 2 }, "the group that follows a ReInit is taken up in its epoch 0 or 1"},
	} {
		_, r := m.successor(c.alter)
		if no := want[fsm.NotAllowed](t, m.do(r, nil)); no.Reason != c.reason {
			t.Errorf("another %s is refused because %q", name, no.Reason)
		}
	}
	awaits := want[fsm.RoomAwaits](t, m.do(constructed(NewDescribeRoom(m.recording.Room.URI))))
	if awaits.GroupID != "next group" || awaits.Suite != 1 || awaits.Room.Epoch != m.lastEpoch() {
		t.Errorf("the room awaits %+v", awaits)
	}
	group, r := m.successor(nil)
	created := want[fsm.Accepted](t, m.do(r, nil))
	if again := want[fsm.Accepted](t, m.do(r, nil)); again != created || created.Epoch != 0 {
		t.Errorf("created as %+v, again %+v", created, again)
	}
	if described := want[fsm.RoomDescribed](t, m.do(constructed(NewDescribeRoom(m.recording.Room.URI)))); described.GroupID != "next group" || len(described.Participants) != len(newHouse().list) {
		t.Errorf("the room is %+v", described)
	}
	if again := want[fsm.Accepted](t, m.send(from, last)); again.Epoch != awaits.Room.Epoch {
		t.Errorf("the retry of the last Commit gets %+v", again)
	}
	step, err := group.Commit(mlstest.Plan{Path: true})
	m.ok(err)
	m.accepted("a.example", mimi.CommitBundle{
		Commit: mls.MLSMessage{Body: step.Message}, GroupInfo: mimi.FullGroupInfo{GroupInfo: step.GroupInfo}, Tree: mimi.DistributionServiceTree{},
	})
}

// lastEpoch is that of the room's group, whether it has ended or not.
func (m *maker) lastEpoch() mls.Epoch {
	m.t.Helper()
	room, _, err := fsm.ReadRoom(m.store, m.recording.Room.URI)
	m.ok(err)
	return room.Epoch
}

func senderData(extensions mls.Extensions) []byte {
	data, _ := extensions.Get(mls.ExtensionExternalSenders)
	return data
}

// After a ReInit nothing of the old group is taken, from whoever has not heard of it.
func TestNothingAfterReInit(t *testing.T) {
	m := ending().open(t)
	loser := m.commit("bob1", false, inline(renamed("Den")))
	m.accepted("a.example", m.commit("alice1", false, inline(m.reInit())))
	ended := want[fsm.RoomEnded](t, m.send(provider(t, "b.example"), loser))
	if ended.Status != fsm.RoomReinitialised || ended.Millis == 0 {
		t.Errorf("told %+v", ended)
	}
}

func TestReInitKeepsTheRoom(t *testing.T) {
	dictionary := func(m *maker, extensions mls.Extensions, change func(mls.AppDataDictionary) mls.AppDataDictionary) mls.Extensions {
		d, err := extensions.Dictionary()
		m.ok(err)
		return extensions.With(mls.ExtensionAppDataDictionary, change(d).Marshal())
	}
	for name, c := range map[string]struct {
		alter  func(*maker, *mls.ReInit)
		reason string
	}{
		"version":      {func(_ *maker, p *mls.ReInit) { p.Version = 2 }, "version or cipher suite"},
		"suite":        {func(_ *maker, p *mls.ReInit) { p.Suite = 0xf000 }, "version or cipher suite"},
		"no group_id":  {func(_ *maker, p *mls.ReInit) { p.GroupID = "" }, "no other group_id"},
		"its group_id": {func(m *maker, p *mls.ReInit) { p.GroupID = m.state().GroupID }, "no other group_id"},
		"no hub": {func(_ *maker, p *mls.ReInit) {
			p.Extensions = p.Extensions.With(mls.ExtensionExternalSenders, mls.ExternalSenders{}.Marshal())
		}, "external_senders"},
		"another list": {func(m *maker, p *mls.ReInit) {
			list := mimi.ParticipantListData{Participants: []mimi.UserRolePair{{User: m.client("alice1").User, Role: 1}}}
			p.Extensions = dictionary(m, p.Extensions, func(d mls.AppDataDictionary) mls.AppDataDictionary {
				return d.With(mimi.ComponentParticipantList, list.Marshal())
			})
		}, "component 0x0022"},
		"other roles": {func(m *maker, p *mls.ReInit) {
			p.Extensions = dictionary(m, p.Extensions, func(d mls.AppDataDictionary) mls.AppDataDictionary {
				return d.With(mimi.ComponentRoles, mimi.RoleData{}.Marshal())
			})
		}, "component 0x0025"},
	} {
		t.Run(name, func(t *testing.T) {
			m := openMaker(t)
			p := m.reInit()
			c.alter(m, &p)
			m.refused("a.example", m.commit("alice1", false, inline(p)), c.reason)
		})
	}
}

// In a shard of an older format a room keeps its group.
func TestReInitBeforeItsFormat(t *testing.T) {
	m := &maker{hub: newHubOf(t, fsm.FormatRevocations), entropy: openMaker(t).entropy}
	m.open()
	m.refused("a.example", m.commit("alice1", false, inline(m.reInit())), "a room keeps its group")
}
