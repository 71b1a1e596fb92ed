package mimi

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"parley/mls"
)

// refusal is an input that is wrong in one place, and the field that the error must name.
type refusal struct {
	name  string
	codec string
	input []byte
	field string
}

func TestRefusals(t *testing.T) {
	for _, c := range refusals() {
		err := parseAs(t, c.codec, c.input)
		var malformed *mls.MalformedError
		if !errors.As(err, &malformed) {
			t.Errorf("%s: error %v", c.name, err)
			continue
		}
		if malformed.Field != c.field {
			t.Errorf("%s: field %s (%s), want %s", c.name, malformed.Field, malformed.Reason, c.field)
		}
	}
}

func parseAs(t *testing.T, name string, input []byte) error {
	t.Helper()
	for _, c := range codecs {
		if c.name == name {
			_, err := c.again(input)
			return err
		}
	}
	t.Fatalf("no codec %s", name)
	return nil
}

// poke replaces bytes of an encoding at an offset; a negative one counts from the end.
func poke(encoding []byte, at int, replacement ...byte) []byte {
	out := bytes.Clone(encoding)
	if at < 0 {
		at += len(out)
	}
	copy(out[at:], replacement)
	return out
}

func write(f func(w *mls.Writer)) []byte {
	var w mls.Writer
	f(&w)
	return w.Bytes()
}

func refusals() []refusal {
	request := sampleRequest().Marshal()
	noSuites := sampleRequest()
	noSuites.Suites = nil
	badUser := write(func(w *mls.Writer) {
		appendProtocol(w)
		w.Opaque([]byte("mailto:bob@b.example"))
	})
	listed := KeyMaterialResponse{Status: KeyMaterialNoConsent, User: sampleBob,
		Clients: []ClientKeyMaterial{{Client: sampleClient, Material: MaterialExhausted{}}}}
	response := KeyMaterialResponse{Status: KeyMaterialSuccess, User: sampleBob,
		Clients: []ClientKeyMaterial{{Client: sampleClient, Material: MaterialExhausted{}}}}.Marshal()
	clientAt := len(KeyMaterialResponse{User: sampleBob}.Marshal())
	submit := SubmitMessageRequest{Message: samplePrivate(), Sender: sampleBob}.Marshal()
	tree := mls.Extension{Type: mls.ExtensionRatchetTree, Data: sampleTree().Encoded}
	list := []refusal{
		{"unknown protocol", "KeyMaterialRequest", poke(request, 0, 2), "KeyMaterialRequest.protocol"},
		{"length not minimal", "KeyMaterialRequest", append([]byte{1, 0x40, 1}, request[2:]...), "KeyMaterialRequest.requestingUser"},
		{"eight-byte length", "KeyMaterialRequest", poke(request, 1, 0xc0), "KeyMaterialRequest.requestingUser"},
		{"not a MIMI URI", "KeyMaterialRequest", badUser, "KeyMaterialRequest.requestingUser"},
		{"no ciphersuites", "KeyMaterialRequest", noSuites.Marshal(), "KeyMaterialRequest.acceptableCiphersuites"},
		{"trailing", "KeyMaterialRequest", append(bytes.Clone(request), 1), "KeyMaterialRequest"},
		{"unknown user code", "KeyMaterialResponse", poke(response, 1, 8), "KeyMaterialResponse.userStatus"},
		{"unknown client code", "KeyMaterialResponse", poke(response, clientAt, 3), "KeyMaterialResponse.clients[0].clientStatus"},
		{"clients without consent", "KeyMaterialResponse", listed.Marshal(), "KeyMaterialResponse.clients"},
		{"unknown update code", "UpdateRoomResponse", []byte{4, 0}, "UpdateRoomResponse.responseCode"},
		{"description not UTF-8", "UpdateRoomResponse", []byte{2, 1, 0xff}, "UpdateRoomResponse.errorDescription"},
		{"unknown submit code", "SubmitMessageResponse", []byte{1, 3}, "SubmitMessageResponse.statusCode"},
		{"reserved protocol", "SubmitMessageResponse", []byte{0, 1}, "SubmitMessageResponse.protocol"},
		{"frank neither there nor not", "SubmitMessageResponse", poke(SubmitAccepted{}.Marshal(), -1, 2), "SubmitMessageResponse.frank"},
		{"handshake submitted", "SubmitMessageRequest", append([]byte{1}, sampleCommit().Marshal()...), "SubmitMessageRequest.appMessage"},
		{"private handshake submitted", "SubmitMessageRequest", poke(submit, 1+2+2+6+8, 3), "SubmitMessageRequest.appMessage"},
		{"reserved tree option", "RatchetTreeOption", []byte{0}, "RatchetTreeOption.representation"},
		{"unknown tree option", "RatchetTreeOption", []byte{5}, "RatchetTreeOption.representation"},
		{"tree by http", "RatchetTreeOption", HTTPSTree{URL: "http://a.example/t"}.Marshal(), "RatchetTreeOption.ratchet_tree_url"},
		{"long tree URL", "RatchetTreeOption", HTTPSTree{URL: "https://a.example/" + strings.Repeat("t", TreeURLBytesMax)}.Marshal(),
			"RatchetTreeOption.ratchet_tree_url"},
		{"empty tree", "RatchetTreeOption", []byte{1, 0}, "RatchetTreeOption.ratchet_tree"},
		{"unknown group info option", "GroupInfoOption", []byte{3}, "GroupInfoOption.representation"},
		{"embedded tree", "GroupInfoOption", FullGroupInfo{sampleGroupInfo(tree)}.Marshal(), "GroupInfoOption.groupInfo.extensions"},
		{"no external_pub", "GroupInfoOption", PartialGroupInfo{}.Marshal(), "GroupInfoOption.partialGroupInfo.group_info_extensions"},
		{"tree present", "GroupInfoOption", poke(sampleGroupInfoOptions()[1].Marshal(), 1, 1),
			"GroupInfoOption.partialGroupInfo.ratchet_tree_presence"},
		{"tree added", "GroupInfoOption", poke(sampleGroupInfoOptions()[1].Marshal(), 1, 3),
			"GroupInfoOption.partialGroupInfo.ratchet_tree_presence"},
		{"unknown presence", "GroupInfoOption", poke(sampleGroupInfoOptions()[1].Marshal(), 1, 4),
			"GroupInfoOption.partialGroupInfo.ratchet_tree_presence"},
		{"unknown group info code", "GroupInfoResponse", poke(GroupInfoNoSuchRoom{Room: sampleRoom}.Marshal(), -1, 4), "GroupInfoResponse.status"},
		{"reserved group info code", "GroupInfoResponse", poke(GroupInfoNoSuchRoom{Room: sampleRoom}.Marshal(), -1, 0), "GroupInfoResponse.status"},
		{"null in a role's name", "RoleData", poke(RoleData{[]Role{{Name: "abc"}}}.Marshal(), 1+4+1, 0), "RoleData.roles[0].role_name"},
		{"Commit pending", "GroupInfoRatchetTree", GroupInfoRatchetTree{GroupInfo: sampleGroupInfo(), Tree: OutOfBandTree{},
			Pending: []PendingProposal{{sampleCommit(), 1}}}.Marshal(), "GroupInfoRatchetTreeTBE.pending_proposals[0].proposal"},
		{"joiner's GroupInfo with a tree", "GroupInfoRatchetTree", GroupInfoRatchetTree{GroupInfo: sampleGroupInfo(tree),
			Tree: OutOfBandTree{}}.Marshal(), "GroupInfoRatchetTreeTBE.groupInfo.extensions"},
		{"application data in public", "HandshakeBundle", sampleMessage(mls.ApplicationData("hi")).Marshal(), "HandshakeBundle.proposalOrCommit"},
		{"canOpenJoin elsewhere", "RoleData", RoleData{[]Role{{Index: 2, Capabilities: []Capability{CanOpenJoin}}}}.Marshal(), "RoleData.roles"},
		{"banned elsewhere", "RoleData", RoleData{[]Role{{Index: 2, Name: "banned"}}}.Marshal(), "RoleData.roles"},
		{"minimum above maximum", "RoleData", RoleData{[]Role{{Index: 2, Active: Bounds{Min: 2, Max: pointer(uint32(1))}}}}.Marshal(), "RoleData.roles"},
		{"entry without claims", "PreAuthData", PreAuthData{[]PreAuthRoleEntry{{Role: Role{Index: 2}}}}.Marshal(), "PreAuthData.preauthorized_entries[0].claimset"},
		{"entry for role 0", "PreAuthData", PreAuthData{[]PreAuthRoleEntry{{Claims: samplePreAuth().Entries[0].Claims}}}.Marshal(), "PreAuthData.preauthorized_entries[0].target_role"},
		{"no parent", "BaseRoomPolicy", BaseRoomPolicy{ParentDependent: true}.Marshal(), "BaseRoomPolicy.parent_room"},
		{"parent of an independent room", "BaseRoomPolicy", BaseRoomPolicy{ParentRooms: []string{sampleRoom.String()}}.Marshal(), "BaseRoomPolicy.parent_room"},
		{"parent that is no room", "BaseRoomPolicy", BaseRoomPolicy{ParentDependent: true, ParentRooms: []string{sampleBob.String()}}.Marshal(), "BaseRoomPolicy.parent_room"},
		{"a bool that is none", "BaseRoomPolicy", poke(BaseRoomPolicy{}.Marshal(), 0, 2), "BaseRoomPolicy.fixed_membership"},
		{"unknown strategy", "OperationalParameters", OperationalParameters{Pending: PendingProposalPolicy{Strategy: 3}}.Marshal(), "OperationalParameters.pending_proposal_policy.pending_proposal_strategy"},
		{"delays crossed", "OperationalParameters", OperationalParameters{Pending: PendingProposalPolicy{Strategy: PendingRandomDelay, MinDelayMillis: 1}}.Marshal(), "OperationalParameters.pending_proposal_policy.minimum_delay_ms"},
		{"times crossed", "OperationalParameters", OperationalParameters{BufferTime: MinDefaultMaxTime{Default: 1}}.Marshal(), "OperationalParameters.buffer_incoming_message_time.default_time"},
		{"optionality", "StatusNotificationPolicy", []byte{0, 3}, "StatusNotificationPolicy.read_receipts"},
		{"autodetection required", "LinkPreviewPolicy", LinkPreviewPolicy{Autodetect: Required, ProxyUse: Forbidden}.Marshal(), "LinkPreviewPolicy.autodetect_hyperlinks_in_text"},
		{"no proxy", "LinkPreviewPolicy", LinkPreviewPolicy{}.Marshal(), "LinkPreviewPolicy.link_preview_proxy"},
		{"nobody logs", "LoggingPolicy", LoggingPolicy{Logging: Required}.Marshal(), "LoggingPolicy.logging_clients"},
		{"logging is undefined", "LoggingPolicy", []byte{3}, "LoggingPolicy.logging"},
		{"the banned share", "HistoryPolicy", HistoryPolicy{Roles: []uint32{2, 1}}.Marshal(), "HistoryPolicy.roles_that_can_share"},
		{"nobody shares", "HistoryPolicy", HistoryPolicy{Roles: []uint32{0}}.Marshal(), "HistoryPolicy.roles_that_can_share"},
		{"a local bot's role", "BotPolicy", BotPolicy{[]Bot{{Local: true, Role: 2}}}.Marshal(), "BotPolicy.allowed_bots[0].bot_role_index"},
		{"durations crossed", "MessageExpiration", MessageExpiration{Min: 2, Max: 1}.Marshal(), "MessageExpiration.min_expiration_duration"},
		{"duration outside", "MessageExpiration", MessageExpiration{Max: 1, Default: pointer(uint32(2))}.Marshal(), "MessageExpiration.default_expiration_duration"},
		{"upload elsewhere", "AssetPolicy", poke(AssetPolicy{}.Marshal(), 0, 3), "AssetPolicy.asset_upload_location"},
		{"upload to several hubs", "AssetPolicy", AssetPolicy{Upload: UploadHub}.Marshal(), "AssetPolicy.upload_domains"},
		{"the default is forbidden", "AssetPolicy", AssetPolicy{Downloads: DownloadPrivacy{Forbidden: []DownloadPrivacyType{0}}}.Marshal(), "AssetPolicy.download_privacy.default_download_type"},
		{"allowed and forbidden", "AssetPolicy", AssetPolicy{Downloads: DownloadPrivacy{Allowed: []DownloadPrivacyType{1}, Forbidden: []DownloadPrivacyType{1}}}.Marshal(), "AssetPolicy.download_privacy.forbidden_download_types"},
		{"download undefined", "AssetPolicy", AssetPolicy{Downloads: DownloadPrivacy{Default: 3}}.Marshal(), "AssetPolicy.download_privacy.default_download_type"},
		{"role twice", "RoleData", RoleData{[]Role{{Index: 2}, {Index: 2}}}.Marshal(), "RoleData.roles"},
	}
	return append(list, messageRefusals()...)
}

// messageRefusals are bundles and FanoutMessages of MLS messages that do not belong there.
func messageRefusals() []refusal {
	private := mls.MLSMessage{Body: samplePrivate()}
	welcome := mls.MLSMessage{Body: sampleWelcome()}
	keyPackage := mls.MLSMessage{Body: pointer(sampleKeyPackage())}
	handshake := samplePrivate()
	handshake.ContentType = mls.ContentCommit
	nobody := sampleBundles()[0].(CommitBundle)
	nobody.Welcome = &mls.Welcome{Suite: 1, EncryptedGroupInfo: opaque(1, 9)}
	fanout := func(message mls.MLSMessage, behind ...byte) []byte {
		return write(func(w *mls.Writer) {
			w.Uint64(1)
			message.AppendTo(w)
			w.Fixed(behind)
		})
	}
	return []refusal{
		{"bundle of a PrivateMessage", "HandshakeBundle", private.Marshal(), "HandshakeBundle.proposalOrCommit"},
		{"bundle of a Welcome", "HandshakeBundle", welcome.Marshal(), "HandshakeBundle.proposalOrCommit"},
		{"Welcome for nobody", "HandshakeBundle", nobody.Marshal(), "HandshakeBundle.welcome.secrets"},
		{"Commit among Proposals", "HandshakeBundle",
			ProposalBundle{[]mls.MLSMessage{sampleProposal(), sampleProposal(), sampleCommit()}}.Marshal(), "HandshakeBundle.moreProposals[1]"},
		{"PrivateMessage among Proposals", "HandshakeBundle",
			ProposalBundle{[]mls.MLSMessage{sampleProposal(), private}}.Marshal(), "HandshakeBundle.moreProposals[0]"},
		{"fanout of a KeyPackage", "FanoutMessage", fanout(keyPackage), "FanoutMessage.message"},
		{"fanout of a private handshake", "FanoutMessage", fanout(mls.MLSMessage{Body: handshake}, 0), "FanoutMessage.message"},
		{"Welcome without a tree", "FanoutMessage", fanout(welcome, DistributionServiceTree{}.Marshal()...), "FanoutMessage.ratchetTreeOption"},
		{"Welcome with a tree elsewhere", "FanoutMessage", fanout(welcome, OutOfBandTree{}.Marshal()...), "FanoutMessage.ratchetTreeOption"},
		{"Commit stapled", "FanoutMessage",
			FanoutMessage{Event: FanoutCommit{sampleCommit(), []mls.MLSMessage{sampleCommit()}}}.Marshal(), "FanoutMessage.externalProposals[0]"},
	}
}

func TestEnumNames(t *testing.T) {
	for want, got := range map[string]interface{ String() string }{
		"mls10":                  ProtocolMLS10,
		"noConsentForThisRoom":   KeyMaterialNoConsentForRoom,
		"userDeleted":            KeyMaterialUserDeleted,
		"KeyMaterialUserCode(8)": KeyMaterialUserCode(8),
		"nothingCompatible":      KeyMaterialNothingCompatible,
		"invalidProposal":        UpdateCodeInvalidProposal,
		"epochTooOld":            SubmitCodeEpochTooOld,
		"noSuchRoom":             GroupInfoCodeNoSuchRoom,
		"distributionService":    TreeRepresentationDistributionService,
		"removed":                RatchetTreeRemoved,
		"partial":                GroupInfoPartial,
		"canSendMessage":         CanSendMessage,
		"capability 0xf001":      Capability(0xf001),
	} {
		if got.String() != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestCodes: each answer has the code that it is encoded with.
func TestCodes(t *testing.T) {
	for _, m := range []SubmitMessageResponse{SubmitAccepted{}, SubmitNotAllowed{}, SubmitEpochTooOld{}} {
		if got := m.Marshal()[1]; got != uint8(m.Code()) {
			t.Errorf("%s is written %d", m.Code(), got)
		}
	}
	for _, m := range []RatchetTreeOption{sampleTree(), HTTPSTree{}, OutOfBandTree{}, DistributionServiceTree{}} {
		if got := m.Marshal()[0]; got != uint8(m.Representation()) {
			t.Errorf("%s is written %d", m.Representation(), got)
		}
	}
}

// TestDescriptionIsClean: what cannot be in a text is replaced, never sent.
func TestDescriptionIsClean(t *testing.T) {
	dirty := UpdateRoomResponse{Description: "a\x00b\xffc", Result: UpdateNotAllowed{}}
	got, err := ParseUpdateRoomResponse(dirty.Marshal())
	if err != nil || got.Description != "a\ufffdb\ufffdc" {
		t.Errorf("%q, %v", got.Description, err)
	}
}

// TestNumbers holds the numbers that the drafts assign.
func TestNumbers(t *testing.T) {
	if ComponentMessageExpiration != 0x30 || ComponentRoles != 0x25 || ComponentJoinLinks != 0x2a || ComponentParticipantList != 0x22 {
		t.Error("component numbers have moved")
	}
	if CanAddParticipant != 0 || CanSendMessage != 0x100 || CanChangeRoleDefinitions != 0x503 || CanUseJoinCode != 9 {
		t.Error("capability numbers have moved")
	}
}
