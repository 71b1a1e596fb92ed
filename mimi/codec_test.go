package mimi

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"parley/mls"
)

// codec is a message type with samples of every shape that it has; again parses and marshals.
type codec struct {
	name    string
	samples [][]byte
	again   func([]byte) ([]byte, error)
}

func codecOf[T interface{ Marshal() []byte }](name string, parse func([]byte) (T, error), samples ...T) codec {
	c := codec{name: name, again: func(b []byte) ([]byte, error) {
		v, err := parse(b)
		if err != nil {
			return nil, err
		}
		return v.Marshal(), nil
	}}
	for _, s := range samples {
		c.samples = append(c.samples, s.Marshal())
	}
	return c
}

var codecs = []codec{
	codecOf("KeyMaterialRequest", ParseKeyMaterialRequest, sampleRequest()),
	codecOf("KeyMaterialResponse", ParseKeyMaterialResponse,
		KeyMaterialResponse{Status: KeyMaterialUserUnknown, User: sampleBob},
		KeyMaterialResponse{Status: KeyMaterialPartialSuccess, User: sampleBob, Clients: []ClientKeyMaterial{
			{Client: sampleClient, Material: ClaimedKeyPackage{sampleKeyPackage()}},
			{Client: sampleClient, Material: MaterialExhausted{}},
			{Client: sampleClient, Material: NothingCompatible{}},
			{Client: sampleClient, Material: NothingCompatible{pointer(sampleCapabilities())}},
		}}),
	codecOf("HandshakeBundle", ParseHandshakeBundle, sampleBundles()...),
	codecOf("GroupInfoOption", ParseGroupInfoOption, sampleGroupInfoOptions()...),
	codecOf[RatchetTreeOption]("RatchetTreeOption", ParseRatchetTreeOption,
		sampleTree(),
		HTTPSTree{URL: "https://a.example/tree", Signature: opaque(1, 3)},
		OutOfBandTree{opaque(1, 3)}, DistributionServiceTree{}),
	codecOf("UpdateRoomResponse", ParseUpdateRoomResponse,
		UpdateRoomResponse{Result: UpdateSuccess{1234}},
		UpdateRoomResponse{Description: "too late", Result: UpdateWrongEpoch{8}},
		UpdateRoomResponse{Description: "no", Result: UpdateNotAllowed{}},
		UpdateRoomResponse{Description: "not pending", Result: UpdateInvalidProposal{[]mls.ProposalRef{"one", ""}}},
		UpdateRoomResponse{Description: "inline", Result: UpdateInvalidProposal{}}),
	codecOf("SubmitMessageRequest", ParseSubmitMessageRequest, SubmitMessageRequest{Message: samplePrivate(), Sender: sampleBob}),
	codecOf[SubmitMessageResponse]("SubmitMessageResponse", ParseSubmitMessageResponse,
		SubmitAccepted{AcceptedMillis: 5}, SubmitAccepted{AcceptedMillis: 5, Frank: &sampleFrank},
		SubmitNotAllowed{}, SubmitEpochTooOld{9}),
	codecOf("Frank", ParseFrank, sampleFrank),
	codecOf("FanoutMessage", ParseFanoutMessage, sampleFanout()...),
	codecOf("GroupInfoRequest", ParseGroupInfoRequest, sampleGroupInfoRequest(), GroupInfoRequest{Suite: 2, Credential: sampleCredential}),
	codecOf[GroupInfoResponse]("GroupInfoResponse", ParseGroupInfoResponse,
		sampleGranted(), GroupInfoNotAuthorized{Room: sampleRoom}, GroupInfoNoSuchRoom{Room: sampleRoom}),
	codecOf("GroupInfoRatchetTree", ParseGroupInfoRatchetTree,
		GroupInfoRatchetTree{
			GroupInfo: sampleGroupInfo(), Tree: sampleTree(), Pending: []PendingProposal{{sampleProposal(), 99}, {sampleProposal(), 100}},
		}),
	codecOf("ParticipantListData", ParseParticipantListData, ParticipantListData{},
		ParticipantListData{[]UserRolePair{{User: sampleAlice, Role: 4}, {User: sampleBob, Role: 2}}}),
	codecOf("ParticipantListUpdate", ParseParticipantListUpdate, ParticipantListUpdate{
		ChangedRoles: []UserIndexRolePair{{1, 2}}, Removed: []uint32{0, 7}, Added: []UserRolePair{{User: sampleBob, Role: 2}},
	}),
	codecOf("RoleData", ParseRoleData, RoleData{[]Role{{}, sampleRole()}}),
	codecOf("RoomMetaData", ParseRoomMetaData, RoomMetaData{
		URI: sampleRoom.String(), Name: "Club", Avatar: "https://a.example/i.png", Subject: "all", Mood: "calm",
		Descriptions: []RichDescription{{MediaType: "text/plain", Language: "en", Content: []byte("A club")}, {}},
	}),
	codecOf("PreAuthData", ParsePreAuthData, PreAuthData{}, samplePreAuth()),
	codecOf("BaseRoomPolicy", ParseBaseRoomPolicy, BaseRoomPolicy{}, BaseRoomPolicy{
		FixedMembership: true, ParentDependent: true, ParentRooms: []string{sampleRoom.String()}, MultiDevice: true, MaxClients: pointer(uint32(9)),
		MaxUsers: pointer(uint32(4)), PseudonymsAllowed: true, Persistent: true, Discoverable: true, Components: []mls.ComponentID{0x25, 0x26},
	}),
	codecOf("OperationalParameters", ParseOperationalParameters, OperationalParameters{}, sampleOperational()),
	codecOf("StatusNotificationPolicy", ParseStatusNotificationPolicy, StatusNotificationPolicy{}, StatusNotificationPolicy{Required, Forbidden}),
	codecOf("JoinLinkPolicy", ParseJoinLinkPolicy, JoinLinkPolicy{}, JoinLinkPolicy{true, "https://a.example/join", true, 60}),
	codecOf("LinkPreviewPolicy", ParseLinkPreviewPolicy, LinkPreviewPolicy{ProxyUse: Forbidden},
		LinkPreviewPolicy{Send: Required, Automatic: Forbidden, Proxies: []string{"https://a.example/preview"}}),
	codecOf("AssetPolicy", ParseAssetPolicy, AssetPolicy{}, sampleAssets()),
	codecOf("LoggingPolicy", ParseLoggingPolicy, LoggingPolicy{}, LoggingPolicy{Logging: Forbidden},
		LoggingPolicy{Required, []string{"mimi://a.example/d/logger"}, "https://a.example/log.json", "https://a.example/log"}),
	codecOf("HistoryPolicy", ParseHistoryPolicy, HistoryPolicy{}, HistoryPolicy{Sharing: Forbidden}, HistoryPolicy{Required, []uint32{2, 3}, true, 600}),
	codecOf("BotPolicy", ParseBotPolicy, BotPolicy{}, BotPolicy{[]Bot{{Name: "helper", Local: true}, {Name: "poker", Role: 5, TargetsMessages: true, PerUserContent: true}}}),
	codecOf("MessageExpiration", ParseMessageExpiration, MessageExpiration{}, MessageExpiration{Expiring: Forbidden},
		MessageExpiration{Required, 5, 50, pointer(uint32(9))}),
	codecOf("JoinLinks", ParseJoinLinks, JoinLinks{[]byte("a"), {}}),
	codecOf("JoinLinksUpdate", ParseJoinLinksUpdate, JoinLinksUpdate{Removed: []uint32{1}, Added: JoinLinks{[]byte("b")}}),
}

func pointer[T any](v T) *T { return &v }

func sampleGroupInfoOptions() []GroupInfoOption {
	return []GroupInfoOption{
		FullGroupInfo{sampleGroupInfo()},
		PartialGroupInfo{Presence: NoRatchetTree, Extensions: sampleGroupInfo().Extensions, Signature: opaque(1, 64)},
		PartialGroupInfo{Presence: RatchetTreeRemoved, Extensions: sampleGroupInfo().Extensions, Signature: opaque(1, 64)},
	}
}

func sampleBundles() []HandshakeBundle {
	return []HandshakeBundle{
		CommitBundle{Commit: sampleCommit(), Welcome: sampleWelcome(), GroupInfo: FullGroupInfo{sampleGroupInfo()}, Tree: sampleTree()},
		CommitBundle{Commit: sampleCommit(), GroupInfo: sampleGroupInfoOptions()[1], Tree: DistributionServiceTree{}},
		ProposalBundle{[]mls.MLSMessage{sampleProposal()}},
		ProposalBundle{[]mls.MLSMessage{sampleProposal(), sampleProposal(), sampleProposal()}},
	}
}

func sampleFanout() []FanoutMessage {
	return []FanoutMessage{
		{Millis: 1, Event: FanoutApplication{Message: samplePrivate()}},
		{Millis: 2, Event: FanoutApplication{Message: samplePrivate(), Frank: &sampleFrank}},
		{Millis: 3, Event: FanoutWelcome{Welcome: sampleWelcome(), Tree: sampleTree()}},
		{Millis: 4, Event: FanoutWelcome{Welcome: sampleWelcome(), Tree: HTTPSTree{URL: "https://a.example/tree"}}},
		{Millis: 5, Event: FanoutProposals{[]mls.MLSMessage{sampleProposal(), sampleProposal()}}},
		{Millis: 6, Event: FanoutCommit{Commit: sampleCommit()}},
		{Millis: 7, Event: FanoutCommit{Commit: sampleCommit(), ExternalProposals: []mls.MLSMessage{sampleProposal()}}},
	}
}

func TestIdentity(t *testing.T) {
	for _, c := range codecs {
		for i, sample := range c.samples {
			if got, err := c.again(sample); err != nil || !bytes.Equal(got, sample) {
				t.Errorf("%s, sample %d: %v\n got %x\nwant %x", c.name, i, err, got, sample)
			}
		}
	}
}

// TestCutAndTrailing: nothing but the whole encoding is taken.
func TestCutAndTrailing(t *testing.T) {
	for _, c := range codecs {
		for i, sample := range c.samples {
			for n := range sample {
				if got, err := c.again(sample[:n]); !isMalformed(err) {
					t.Fatalf("%s, sample %d, cut to %d of %d bytes: %x, %v", c.name, i, n, len(sample), got, err)
				}
			}
			if got, err := c.again(append(bytes.Clone(sample), 0)); !isMalformed(err) {
				t.Errorf("%s, sample %d with a trailing byte: %x, %v", c.name, i, got, err)
			}
		}
	}
}

func isMalformed(err error) bool {
	var malformed *mls.MalformedError
	return errors.As(err, &malformed)
}

// TestHostileLengths puts huge lengths everywhere: reading must not allocate more than the input could justify.
func TestHostileLengths(t *testing.T) {
	const slack = 64 << 10
	for _, c := range codecs {
		for i, sample := range c.samples {
			for at := 0; at+4 <= len(sample); at++ {
				hostile := bytes.Clone(sample)
				copy(hostile[at:], []byte{0xbf, 0xff, 0xff, 0xff})
				if used := allocated(func() { _, _ = c.again(hostile) }); used > slack {
					t.Fatalf("%s, sample %d: %d bytes allocated with a huge length at %d", c.name, i, used, at)
				}
			}
		}
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// fuzzIdentity: what is taken is written as it was read. The rare leniencies that normalise are listed by the caller.
func fuzzIdentity(f *testing.F, name string, normalised func(in, out []byte) bool) {
	for _, c := range codecs {
		if c.name != name {
			continue
		}
		for _, sample := range c.samples {
			f.Add(sample)
		}
		f.Fuzz(func(t *testing.T, in []byte) {
			out, err := c.again(in)
			if err != nil {
				if !isMalformed(err) {
					t.Fatalf("not a MalformedError: %v", err)
				}
				return
			}
			if bytes.Equal(in, out) {
				return
			}
			if normalised == nil || !normalised(in, out) {
				t.Fatalf("read  %x\nwrote %x", in, out)
			}
			if again, err := c.again(out); err != nil || !bytes.Equal(again, out) {
				t.Fatalf("the normal form is not stable: %x, %v", again, err)
			}
		})
		return
	}
	f.Fatalf("no codec %s", name)
}

func FuzzKeyMaterialRequest(f *testing.F)  { fuzzIdentity(f, "KeyMaterialRequest", nil) }
func FuzzKeyMaterialResponse(f *testing.F) { fuzzIdentity(f, "KeyMaterialResponse", nil) }
func FuzzHandshakeBundle(f *testing.F) {
	// The Welcome's MLSMessage header is taken and not given back.
	fuzzIdentity(f, "HandshakeBundle", func(in, out []byte) bool { return len(in) == len(out)+len(welcomeHeader) })
}
func FuzzGroupInfoOption(f *testing.F)          { fuzzIdentity(f, "GroupInfoOption", nil) }
func FuzzRatchetTreeOption(f *testing.F)        { fuzzIdentity(f, "RatchetTreeOption", nil) }
func FuzzUpdateRoomResponse(f *testing.F)       { fuzzIdentity(f, "UpdateRoomResponse", nil) }
func FuzzSubmitMessageRequest(f *testing.F)     { fuzzIdentity(f, "SubmitMessageRequest", nil) }
func FuzzSubmitMessageResponse(f *testing.F)    { fuzzIdentity(f, "SubmitMessageResponse", nil) }
func FuzzPreAuthData(f *testing.F)              { fuzzIdentity(f, "PreAuthData", nil) }
func FuzzBaseRoomPolicy(f *testing.F)           { fuzzIdentity(f, "BaseRoomPolicy", nil) }
func FuzzOperationalParameters(f *testing.F)    { fuzzIdentity(f, "OperationalParameters", nil) }
func FuzzAssetPolicy(f *testing.F)              { fuzzIdentity(f, "AssetPolicy", nil) }
func FuzzLinkPreviewPolicy(f *testing.F)        { fuzzIdentity(f, "LinkPreviewPolicy", nil) }
func FuzzLoggingPolicy(f *testing.F)            { fuzzIdentity(f, "LoggingPolicy", nil) }
func FuzzHistoryPolicy(f *testing.F)            { fuzzIdentity(f, "HistoryPolicy", nil) }
func FuzzBotPolicy(f *testing.F)                { fuzzIdentity(f, "BotPolicy", nil) }
func FuzzMessageExpiration(f *testing.F)        { fuzzIdentity(f, "MessageExpiration", nil) }
func FuzzJoinLinkPolicy(f *testing.F)           { fuzzIdentity(f, "JoinLinkPolicy", nil) }
func FuzzStatusNotificationPolicy(f *testing.F) { fuzzIdentity(f, "StatusNotificationPolicy", nil) }
func FuzzFrank(f *testing.F)                    { fuzzIdentity(f, "Frank", nil) }
func FuzzFanoutMessage(f *testing.F)            { fuzzIdentity(f, "FanoutMessage", nil) }
func FuzzGroupInfoRequest(f *testing.F)         { fuzzIdentity(f, "GroupInfoRequest", nil) }
func FuzzGroupInfoResponse(f *testing.F)        { fuzzIdentity(f, "GroupInfoResponse", nil) }
func FuzzGroupInfoRatchetTree(f *testing.F)     { fuzzIdentity(f, "GroupInfoRatchetTree", nil) }
func FuzzParticipantListData(f *testing.F)      { fuzzIdentity(f, "ParticipantListData", nil) }
func FuzzParticipantListUpdate(f *testing.F)    { fuzzIdentity(f, "ParticipantListUpdate", nil) }
func FuzzRoleData(f *testing.F)                 { fuzzIdentity(f, "RoleData", nil) }
func FuzzRoomMetaData(f *testing.F)             { fuzzIdentity(f, "RoomMetaData", nil) }
func FuzzJoinLinks(f *testing.F)                { fuzzIdentity(f, "JoinLinks", nil) }
func FuzzJoinLinksUpdate(f *testing.F)          { fuzzIdentity(f, "JoinLinksUpdate", nil) }

// FuzzNotify reads whole notify bodies.
func FuzzNotify(f *testing.F) {
	var body []byte
	for _, m := range sampleFanout() {
		body = append(body, m.Marshal()...)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, in []byte) {
		messages, err := ParseFanout(in)
		if err != nil {
			return
		}
		var out []byte
		for _, m := range messages {
			out = append(out, m.Marshal()...)
		}
		if !bytes.Equal(in, out) {
			t.Fatalf("read  %x\nwrote %x", in, out)
		}
	})
}
