package judge

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// The recorded conversation of real clients, which interop/openmls makes.
const recordingFile = "../../cmd/parley/dev/conversation/manifest.json"

type recording struct {
	GeneratedAt uint64 `json:"generated_at"`
	Room        struct {
		URI mimi.RoomURI `json:"uri"`
	} `json:"room"`
	HubKey struct {
		Public string `json:"public_hex"`
		Seed   string `json:"seed_hex"`
	} `json:"hub_key"`
	Clients  []client `json:"clients"`
	Steps    []step   `json:"steps"`
	Race     struct{ Alice, Bob step }
	Branches struct{ Alice, Bob []step }
}

type client struct {
	URI          mimi.ClientURI `json:"uri"`
	User         mimi.UserURI   `json:"user"`
	SignatureKey struct {
		Seed string `json:"seed_hex"`
	} `json:"signature_key"`
	KeyPackages []struct {
		KeyPackage []byte `json:"key_package"`
		NotAfter   uint64 `json:"not_after"`
		Ref        string `json:"ref_hex"`
	} `json:"key_packages"`
}

type step struct {
	Name, Kind  string
	From        mimi.ClientURI
	Epoch       mls.Epoch
	Commit      []byte
	Proposal    []byte
	Message     []byte
	Welcome     []byte
	GroupInfo   []byte   `json:"group_info"`
	RatchetTree []byte   `json:"ratchet_tree"`
	Refs        []string `json:"proposal_refs_hex"`
	After       *struct {
		Epoch    mls.Epoch
		TreeHash string `json:"tree_hash_hex"`
	}
}

// hub is one shard that holds every slot, with its replica.
type hub struct {
	t         testing.TB
	recording recording
	store     *fsmtest.Store
	index     uint64
	now       uint64
	mute      bool // it cannot sign
	frozen    bool // the clock stands, so that a refusal by apply leaves no trace at all
}

func newHub(t testing.TB) *hub { return newHubOf(t, fsm.FormatNewest) }

// newHubOf is a hub whose shard is of a format.
func newHubOf(t testing.TB, format fsm.Format) *hub {
	t.Helper()
	text, err := os.ReadFile(recordingFile)
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{t: t, store: fsmtest.NewStore()}
	if err := json.Unmarshal(text, &h.recording); err != nil {
		t.Fatal(err)
	}
	h.now = h.recording.GeneratedAt * 1000
	key, err := hex.DecodeString(h.recording.HubKey.Public)
	if err != nil {
		t.Fatal(err)
	}
	settings := fsm.DefaultSettings(h.recording.Room.URI.Provider())
	settings.HubKeys = [][]byte{key}
	settings.Format = format
	settings.KeyPackageLifetimeMax = 1 << 40 // the recorded KeyPackages are meant to last
	h.apply(fsm.OwnSlots{Shard: 1, Generation: 1, First: 0, Last: fsm.SlotCount - 1})
	h.apply(fsm.EnterSettings{Version: 1, Settings: settings})
	return h
}

func (h *hub) apply(c fsm.Command) fsm.Outcome {
	h.t.Helper()
	h.index++
	if !h.frozen {
		h.now++
	}
	result, err := fsm.Apply(h.store, h.index, fsm.EncodeEntry(fsm.Entry{StampMillis: h.now, Commands: []fsm.Command{c}}))
	if err != nil {
		h.t.Fatal(err)
	}
	return result.Outcomes[0]
}

// do judges and decides a request as a node would, whose replica is never behind. The request goes over the wire on its way.
func (h *hub) do(r Request, err error) fsm.Outcome {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
	carried, err := DecodeRequest(EncodeRequest(r))
	if err != nil {
		h.t.Fatalf("carried to another node: %v", err)
	}
	verdict, err := On(Remembering{Reader: h.store, Groups: noGroups{}, Signers: h}, carried)
	if err != nil {
		h.t.Fatal(err)
	}
	var outcome fsm.Outcome
	switch v := verdict.(type) {
	case Propose:
		outcome = h.apply(v.Command)
	case Answer:
		outcome = v.Outcome
	case Refuse:
		outcome = v.Outcome
	}
	if outcome, err = carried.Complete(h.store, outcome); err != nil {
		h.t.Fatal(err)
	}
	return outcome
}

func want[T fsm.Outcome](t testing.TB, got fsm.Outcome) T {
	t.Helper()
	outcome, ok := got.(T)
	if !ok {
		var wanted T
		t.Fatalf("outcome %T %+v, want %T", got, got, wanted)
	}
	return outcome
}

func (h *hub) client(name string) client {
	h.t.Helper()
	for _, c := range h.recording.Clients {
		if u := c.URI.String(); u[len(u)-len(name):] == name {
			return c
		}
	}
	h.t.Fatalf("no client %s", name)
	return client{}
}

func (h *hub) userOf(uri mimi.ClientURI) mimi.UserURI {
	h.t.Helper()
	for _, c := range h.recording.Clients {
		if c.URI == uri {
			return c.User
		}
	}
	h.t.Fatalf("no client %s", uri)
	return mimi.UserURI{}
}

// recordBob tells the room whose Bob's clients are, as his provider's answer to a claim does.
func (h *hub) recordBob() {
	h.t.Helper()
	var routes []fsm.KeyPackageRoute
	for _, name := range []string{"bob1", "bob2", "bob3"} {
		c := h.client(name)
		ref, err := hex.DecodeString(c.KeyPackages[0].Ref)
		if err != nil {
			h.t.Fatal(err)
		}
		routes = append(routes, fsm.KeyPackageRoute{
			Ref: mls.KeyPackageRef(ref), Provider: c.User.Provider(), User: c.User, Client: c.URI, NotAfter: c.KeyPackages[0].NotAfter,
		})
	}
	r, err := NewRecordRoutes(h.recording.Room.URI, routes)
	want[fsm.Done](h.t, h.do(constructed(r, err)))
}

func (h *hub) create() fsm.Outcome {
	h.t.Helper()
	s := h.recording.Steps[0]
	return h.do(constructed(NewCreateRoom(h.recording.Room.URI, h.userOf(s.From), s.GroupInfo, s.RatchetTree)))
}

func (h *hub) bundle(s step) []byte {
	h.t.Helper()
	parse := func(b []byte) mls.MLSMessage {
		m, err := mls.ParseMLSMessage(b)
		if err != nil {
			h.t.Fatalf("%s: %v", s.Name, err)
		}
		return m
	}
	if s.Kind == "proposal" {
		return mimi.ProposalBundle{Proposals: []mls.MLSMessage{parse(s.Proposal)}}.Marshal()
	}
	b := mimi.CommitBundle{
		Commit:    parse(s.Commit),
		GroupInfo: mimi.FullGroupInfo{GroupInfo: *parse(s.GroupInfo).Body.(*mls.GroupInfo)},
		Tree:      mimi.FullTree{Encoded: s.RatchetTree},
	}
	if s.Welcome != nil {
		b.Welcome = parse(s.Welcome).Body.(*mls.Welcome)
	}
	return b.Marshal()
}

func (h *hub) update(s step) fsm.Outcome {
	h.t.Helper()
	return h.do(constructed(NewUpdate(h.userOf(s.From).Provider(), h.recording.Room.URI, h.bundle(s))))
}

func (h *hub) submit(s step) fsm.Outcome {
	h.t.Helper()
	m, err := mls.ParseMLSMessage(s.Message)
	if err != nil {
		h.t.Fatal(err)
	}
	user := h.userOf(s.From)
	body := mimi.SubmitMessageRequest{Message: m.Body.(*mls.PrivateMessage), Sender: user}.Marshal()
	return h.do(constructed(NewSubmit(user.Provider(), h.recording.Room.URI, body)))
}

// play sends a step and holds the hub to what the real client expects.
func (h *hub) play(s step) {
	h.t.Helper()
	switch s.Kind {
	case "message":
		want[fsm.Accepted](h.t, h.submit(s))
	case "refused_commit":
		want[fsm.WrongEpoch](h.t, h.update(s))
	case "proposal":
		want[fsm.Accepted](h.t, h.update(s))
	default:
		accepted := want[fsm.Accepted](h.t, h.update(s))
		if again := want[fsm.Accepted](h.t, h.update(s)); again != accepted {
			h.t.Errorf("%s: a retry got %+v, the original %+v", s.Name, again, accepted)
		}
		room := want[fsm.RoomDescribed](h.t, h.do(constructed(NewDescribeRoom(h.recording.Room.URI))))
		if room.Epoch != s.After.Epoch || hex.EncodeToString(room.TreeHash) != s.After.TreeHash {
			h.t.Errorf("%s: epoch %d with tree %x, the client has epoch %d with tree %s", s.Name, room.Epoch, room.TreeHash, s.After.Epoch, s.After.TreeHash)
		}
	}
}

// open plays everything before the race.
func (h *hub) open() {
	h.t.Helper()
	h.recordBob()
	want[fsm.Accepted](h.t, h.create())
	for _, s := range h.recording.Steps[1:] {
		h.play(s)
	}
}

func TestReplayRealConversation(t *testing.T) {
	for winner, choose := range map[string]func(r recording) (first, second step, rest []step){
		"alice wins": func(r recording) (step, step, []step) { return r.Race.Alice, r.Race.Bob, r.Branches.Alice },
		"bob wins":   func(r recording) (step, step, []step) { return r.Race.Bob, r.Race.Alice, r.Branches.Bob },
	} {
		t.Run(winner, func(t *testing.T) {
			h := newHub(t)
			h.open()
			first, second, rest := choose(h.recording)
			h.play(first)
			lost := want[fsm.WrongEpoch](t, h.update(second))
			if lost.Current != second.Epoch+1 || lost.Winner == [32]byte{} {
				t.Errorf("the loser was told %+v", lost)
			}
			for _, s := range rest {
				h.play(s)
			}
		})
	}
}

// SignerOf implements Signers with the recorded key of the hub, unless it is mute.
func (h *hub) SignerOf(public []byte) (*mls.SigningKey, bool) {
	seed, err := hex.DecodeString(h.recording.HubKey.Seed)
	if err != nil {
		h.t.Fatal(err)
	}
	key, err := mls.NewSigningKey(mls.Ed25519, seed)
	if err != nil {
		h.t.Fatal(err)
	}
	return key, !h.mute && string(key.Public()) == string(public)
}
