package fsm_test

import (
	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

var (
	alice = user("alice")
	bob   = user("bob@b.example")
	club  = room("club")
	hub   = provider("a.example")
	peer  = provider("b.example")
)

// sampleFacts is small, so that the pinned encodings can be read.
func sampleFacts() fsm.RoomFacts {
	return fsm.RoomFacts{
		Epoch: 3, GroupContext: []byte("context"), InterimTranscriptHash: []byte("interim"), GroupInfo: []byte("info"), TreeWidth: 7,
		TreeChanges:  []fsm.TreeChange{{Index: 1, Node: []byte("node")}, {Index: 2}, {Index: 3, Node: []byte{}}},
		Participants: []fsm.Participant{{User: alice, Role: 2}, {User: bob, Role: 1}},
		Destinations: []mimi.Provider{hub, peer},
	}
}

type named[T any] struct {
	name  string
	value T
}

// sampleCommands has every command with every field set, and those with optional parts a second time without them.
func sampleCommands() []named[fsm.Command] {
	hash := hashOf("hash")
	return []named[fsm.Command]{
		{"Fence", fsm.Fence{}},
		{"OwnSlots", fsm.OwnSlots{Shard: 2, Generation: 3, First: 683, Last: 1365}},
		{"EnterSettings", fsm.EnterSettings{Version: 4, Settings: firstSettings(hub, provider("a2.example"))}},
		{"Sweep", fsm.Sweep{Max: 500}},
		{"CreateRoom", fsm.CreateRoom{
			Room: club, Creator: alice, GroupID: "group", Suite: 1, Facts: sampleFacts(),
			Clients: []fsm.ClientOfUser{{Client: client("alice1"), User: alice}}, RequestHash: hash,
		}},
		{"AcceptCommit", fsm.AcceptCommit{
			Room:       club,
			Reads:      fsm.ReadSet{Incarnation: 9, GroupID: "group", Epoch: 2, GroupContextHash: hash, Enforcement: 4, Proposals: []mls.ProposalRef{"p1", "p2"}},
			CommitHash: hashOf("commit"), Commit: []byte("commit"), Sender: alice, Facts: sampleFacts(),
			Welcomes:  []fsm.WelcomeDelivery{{Destination: peer, Welcome: []byte("welcome"), RatchetTree: []byte("tree")}},
			ValidFrom: 10, ValidUntil: 20, Notified: []mimi.Provider{hub, peer},
		}},
		{"AcceptCommit, bare", fsm.AcceptCommit{Room: club, Facts: fsm.RoomFacts{Epoch: 1}}},
		{"SubmitProposals", fsm.SubmitProposals{
			Room: club, GroupID: "group", Epoch: 2, Sender: bob,
			Proposals: []fsm.PendingProposal{{Ref: "p1", Message: []byte("proposal"), AcceptedMillis: 5}}, BundleHash: hash,
		}},
		{"SubmitProposals, external", fsm.SubmitProposals{Room: club, GroupID: "group", Epoch: 2}},
		{"SubmitMessage", fsm.SubmitMessage{Room: club, GroupID: "group", Epoch: 2, Sender: bob, Hash: hash, Message: []byte("message")}},
		{"TakeLease", fsm.TakeLease{Room: club, Requester: bob, Client: "bob1", DurationMillis: 9000}},
		{"UploadKeyPackages", fsm.UploadKeyPackages{User: bob, Client: client("bob1@b.example"), Packages: []fsm.KeyPackageFacts{samplePackage()}}},
		{"ClaimKeyPackages", fsm.ClaimKeyPackages{
			User: bob, Requester: alice, Provider: hub, Room: club, Suites: []mls.CipherSuite{1, 7}, Extensions: []mls.ExtensionType{6},
			Proposals: []mls.ProposalType{8, 10}, Credentials: []mls.CredentialType{1}, Exclude: client("bob2@b.example"), ReplayKey: hash, ReplayMillis: 60_000,
		}},
		{"ClaimKeyPackages, for no room", fsm.ClaimKeyPackages{User: bob, Requester: alice, Provider: hub, Suites: []mls.CipherSuite{1}}},
		{"RecordKeyPackageRefs", fsm.RecordKeyPackageRefs{Room: club, Refs: []fsm.KeyPackageRoute{
			{Ref: "ref", Provider: peer, User: bob, Client: client("bob1@b.example"), NotAfter: 99}, {Ref: "ref2", Provider: peer},
		}}},
		{"ReceiveFanout", fsm.ReceiveFanout{Room: club, Hub: peer, BodyHash: hash, Messages: []fsm.FanoutItem{{Hash: hashOf("m"), Bytes: []byte("fanout")}}}},
		{"Acknowledge", fsm.Acknowledge{At: 129, Destination: peer, Sequences: []uint64{1, 2, 1 << 40}}},
		{"AcknowledgeThrough", fsm.AcknowledgeThrough{At: 129, Destination: hub, Through: 1 << 40}},
		{"AcknowledgeEvents", fsm.AcknowledgeEvents{Room: fsm.HashOfRoom(club), Name: fsm.NameOfClient(client("alice1")), Through: 7, Positions: []uint64{9, 1 << 40}}},
		{"PutPiece", fsm.PutPiece{At: 129, Object: hash, Index: 3, Bytes: []byte("piece")}},
		{"ApplyPieces", fsm.ApplyPieces{At: 129, Object: hash, Count: 4, Bytes: 1 << 20, Kind: fsm.KindAcceptCommit}},
		{"ReceiveInternal", fsm.ReceiveInternal{At: fsm.SlotOfUser(bob), From: 129, First: 7, Effects: []fsm.Effect{
			fsm.KeyPackagesConsumed{User: bob, Refs: []mls.KeyPackageRef{"ref", "ref2"}},
		}}},
		{"DropInternal", fsm.DropInternal{At: 129, To: 130, Next: 8}},
		{"Judged", fsm.Judged{Settings: 4, Command: fsm.TakeLease{Room: club, Requester: bob, Client: "bob1", DurationMillis: 9000}}},
		{"EnterSettings, with a format", fsm.EnterSettings{Version: 4, Settings: secondSettings(hub)}},
		{"AcceptCommit, by a joining code", fsm.AcceptCommit{Room: club, Facts: fsm.RoomFacts{Epoch: 1}, JoiningCode: sampleCode().ID}},
		{"AcceptCommit, with other policy", fsm.AcceptCommit{Room: club, Facts: fsm.RoomFacts{Epoch: 1}, PolicyChanges: mimi.RolesChanged}},
		{"QueueSubmissions", fsm.QueueSubmissions{Room: room("theirs@b.example"), Submissions: []fsm.OutboundSubmission{
			{Receipt: mimi.Receipt(hash), Kind: mimi.SubmissionMessage, Body: []byte("message")}, {Receipt: mimi.Receipt{1}, Kind: mimi.SubmissionProposals},
		}}},
		{"SettleSubmissions", fsm.SettleSubmissions{At: 129, Hub: peer, Settled: []fsm.SettledSubmission{{Number: 7, Verdict: sampleVerdict()}}}},
		{"TakeLease, by a joining code", fsm.TakeLease{Room: club, Requester: bob, Client: "bob1", LeaseGrounds: fsm.LeaseGrounds{
			Peer: peer, Right: fsm.LeaseByCode, GroupContextHash: hash, Member: true,
			Code: fsm.PresentedCode{ID: sampleCode().ID, Known: true, Key: []byte("key")},
		}}},
		{"CreateJoiningCode", fsm.CreateJoiningCode{
			Room: club, ID: sampleCode().ID, Creator: alice, Role: 2, Uses: 3, LifetimeMillis: 4000, Lock: sampleCode().Lock, GroupContextHash: hash,
		}},
		{"RevokeJoiningCode", fsm.RevokeJoiningCode{Room: club, ID: sampleCode().ID, GroupContextHash: hash}},
		{"EnterSettings, of exclusive resources", fsm.EnterSettings{Version: 4, Settings: thirdSettings(hub)}},
		{"EnterSettings, of bulk", fsm.EnterSettings{Version: 5, Settings: fourthSettings(hub)}},
		{"SetConsents", fsm.SetConsents{User: bob, Entries: []fsm.ConsentEntry{
			{Requester: alice, Consent: fsm.ConsentRevoked}, {Requester: alice, Room: club, Consent: fsm.ConsentGranted, Millis: 7},
		}}},
		{"DeleteKeyPackages", fsm.DeleteKeyPackages{User: bob, Client: client("bob1@b.example"), Refs: []mls.KeyPackageRef{"ref", "ref2"}}},
		{"DeleteKeyPackages, all", fsm.DeleteKeyPackages{User: bob, Client: client("bob1@b.example"), All: true}},
		{"SetConsentPolicy", fsm.SetConsentPolicy{User: bob, Policy: fsm.ConsentNobody}},
		{"RecordDeparture", fsm.RecordDeparture{User: bob, Client: client("bob1@b.example")}},
		{"RecordDeparture, of a user", fsm.RecordDeparture{User: bob}},
		{"SettleDepartures", fsm.SettleDepartures{Room: club, GroupContextHash: hash, Gone: []fsm.Departing{
			{User: bob}, {User: alice, Client: client("alice1")},
		}}},
		{"DestroyRoom", fsm.DestroyRoom{Room: club, Incarnation: 9, GroupContextHash: hash, Farewell: []fsm.PendingProposal{
			{Ref: "p1", Message: []byte("proposal"), AcceptedMillis: 5},
		}}},
		{"ContinueRoom", fsm.ContinueRoom{Ended: "group", Create: fsm.CreateRoom{
			Room: club, Creator: alice, GroupID: "next group", Suite: 1, Facts: sampleFacts(), RequestHash: hash,
		}}},
		{"ReserveGroup", fsm.ReserveGroup{Group: "group", Room: club}},
		{"ReserveMembers", fsm.ReserveMembers{Set: fsm.MemberSetOf([]mimi.UserURI{bob, alice}), Room: club, Instead: 3}},
		{"ForgoMembers", fsm.ForgoMembers{Room: club, Set: fsm.MemberSetOf([]mimi.UserURI{bob, alice}), Number: 3, GroupContextHash: hash}},
		{"CreateRoom, of reserved participants", fsm.CreateRoom{
			Room: club, Creator: alice, GroupID: "group", Suite: 1, Facts: sampleFacts(), Rules: sampleRules(), Members: 4,
		}},
		{"ContinueRoom, of reserved participants", fsm.ContinueRoom{Ended: "group", Create: fsm.CreateRoom{
			Room: club, Creator: alice, GroupID: "next group", Suite: 1, Facts: sampleFacts(), Members: 4,
		}}},
		{"CreateRoom, of a dependant", fsm.CreateRoom{
			Room: club, Creator: alice, GroupID: "group", Suite: 1, Facts: sampleFacts(), Rules: sampleRules(), Members: 4, Parent: room("parent"),
		}},
		{"ContinueRoom, of a dependant", fsm.ContinueRoom{Ended: "group", Create: fsm.CreateRoom{
			Room: club, Creator: alice, GroupID: "next group", Suite: 1, Facts: sampleFacts(), Parent: room("parent"),
		}}},
		{"ReceiveInternal, of dependants", fsm.ReceiveInternal{At: fsm.SlotOfRoom(club), From: 129, First: 7, Effects: []fsm.Effect{
			fsm.DependsOn{Parent: club, Dependant: room("sub")}, fsm.DependsNoMore{Parent: club, Dependant: room("sub")},
			fsm.ParentParticipants{Dependant: club, Joined: []mimi.UserURI{alice, bob}, Left: []mimi.UserURI{alice}, Whole: true},
			fsm.ParentParticipants{Dependant: club},
		}}},
		{"AcceptCommit, that renews Proposals", fsm.AcceptCommit{
			Room: club, Reads: fsm.ReadSet{Departures: 3}, Facts: fsm.RoomFacts{Epoch: 1},
			Renewed: []fsm.PendingProposal{{Ref: "p1", Message: []byte("proposal"), AcceptedMillis: 5}},
		}},
		{"AcceptCommit, that ends the group", fsm.AcceptCommit{Room: club, Facts: fsm.RoomFacts{Epoch: 1}, ReInit: []byte("re_init")}},
		{"ReceiveInternal, of rooms and users", fsm.ReceiveInternal{At: fsm.SlotOfUser(bob), From: 129, First: 7, Effects: []fsm.Effect{
			fsm.RoomJoined{User: bob, Room: club}, fsm.RoomLeft{User: bob, Room: club},
		}}},
		{"ReceiveInternal, of windows", fsm.ReceiveInternal{At: fsm.SlotOfRoom(club), From: 129, First: 7, Effects: []fsm.Effect{
			fsm.WindowOpened{Name: fsm.NameOfClient(client("alice1")), Room: club}, fsm.WindowsClosed{Name: fsm.NameOfUser(alice), Room: club},
			fsm.MemberLost{Name: fsm.NameOfUser(alice)}, fsm.EndWindows{Room: club, Name: fsm.NameOfUser(alice)},
		}}},
		{"ReceiveInternal, of departures", fsm.ReceiveInternal{At: fsm.SlotOfRoom(club), From: 129, First: 7, Effects: []fsm.Effect{
			fsm.Departed{Room: club, Who: fsm.Departing{User: bob, Client: client("bob1@b.example")}, Millis: 5},
			fsm.Departed{Room: club, Who: fsm.Departing{User: bob}, Millis: 6},
		}}},
		{"CreateRoom, with rules", fsm.CreateRoom{Room: club, Creator: alice, GroupID: "group", Suite: 1, Facts: sampleFacts(), Rules: sampleRules()}},
		{"AcceptCommit, with a ruling", fsm.AcceptCommit{Room: club, Facts: fsm.RoomFacts{Epoch: 1}, Ruling: fsm.Ruling{
			Made: true, Member: true, Committer: 4, Removals: []fsm.Removal{{Leaf: 2}, {Leaf: 3, Self: true}},
			Clients: []fsm.ClientOfUser{{Client: client("alice1"), User: alice}}, Leaves: []fsm.Leave{{Ref: "p1", Client: true, Leaf: 5, Due: true}},
			Rules: sampleRules(),
		}}},
		{"ReceiveBodies", fsm.ReceiveBodies{Room: room("elsewhere@b.example"), Hub: peer, Bodies: []fsm.HubBody{
			{Hash: hash, Messages: sampleHubMessages(), Notices: []mimi.Notice{mimi.RoomDestroyed{}}}, {Hash: hashOf("second")},
		}, Groups: []mls.GroupID{"group", "next group"}}},
		{"ReceiveBodies, of no room", fsm.ReceiveBodies{Hub: peer, Bodies: []fsm.HubBody{{Hash: hash, Notices: []mimi.Notice{mimi.UserDeleted{User: bob, Millis: 3}}}}}},
		{"FollowGroup", fsm.FollowGroup{Hub: peer, Group: "group", Room: room("elsewhere@b.example")}},
		{"Acknowledge, of rooms", fsm.Acknowledge{At: 129, Destination: peer, Sequences: []uint64{3}, Rooms: []fsm.RoomTaken{{Room: club, Through: 9}, {Through: 2}}}},
		{"SubmitProposals, with leaves", fsm.SubmitProposals{Room: club, GroupID: "group", Epoch: 2, Sender: bob, Leaves: []fsm.Leave{
			{Ref: "p1", Client: true, Leaf: 3, Self: true, Due: true}, {Ref: "p2", User: bob, Due: true}, {Ref: "p1", User: bob, Silent: true},
		}}},
		{"SubmitBatch", fsm.SubmitBatch{Room: club, Tell: true, Again: true, Messages: []fsm.BatchMessage{
			{GroupID: "group", Epoch: 2, Sender: bob, Hash: hash, Message: []byte("message")}, {GroupID: "group", Sender: alice, Fault: "no"},
		}}},
		{"RecordVerdicts", fsm.RecordVerdicts{Room: club, Provider: peer, Tell: true, Verdicts: []mimi.Verdict{
			{Receipt: hash, Code: mimi.VerdictInvalid, Current: 2, Reason: "no"}, {Receipt: hashOf("m"), Code: mimi.VerdictAccepted, AcceptedMillis: 5, Current: 2},
		}}},
		{"BeginSlotExport", fsm.BeginSlotExport{At: 129, Move: 7, To: 2}},
		{"DropSlotMarks", fsm.DropSlotMarks{At: 129, Move: 7, Through: 1 << 40, Last: []byte{0x10, 1}}},
		{"FreezeSlot", fsm.FreezeSlot{At: 129, Move: 7}},
		{"ThawSlot", fsm.ThawSlot{At: 129, Move: 7}},
		{"ReleaseSlot", fsm.ReleaseSlot{At: 129, Move: 7, To: 2, Generation: 3}},
		{"ImportSlotPage", fsm.ImportSlotPage{
			At: 129, Move: 7, From: 1, Sequence: 4, Index: 1 << 40, Format: fsm.FormatResize, Through: []byte{0x10, 2}, Whole: true,
			Records: []fsm.SlotRecord{
				fsm.SlotValue{Key: []byte{0x10, 1}, Value: []byte("value")}, fsm.SlotGone{Key: []byte{0x10, 2}},
				fsm.SlotPart{Key: []byte{0x31, 1}, Offset: 3, Total: 9, Hash: hash, Bytes: []byte("part")},
			},
		}},
		{"ImportSlotPage, the last", fsm.ImportSlotPage{At: 129, Move: 7, From: 1, Sequence: 5, Index: 9, Format: fsm.FormatResize, Through: []byte{0x10, 2}, Whole: true, Complete: true}},
		{"DropSlotImport", fsm.DropSlotImport{At: 129, Move: 7}},
		{"ActivateSlot", fsm.ActivateSlot{At: 129, Move: 7, Sequence: 5, Generation: 3, Clock: 9000, IndexBase: 1 << 40, Settings: 4}},
		{"BeginGeneration", fsm.BeginGeneration{Generation: 2, EndedMillis: 5, Slots: []fsm.SlotRuling{{Slot: 7, Shard: 3, Generation: 4}}}},
		{"FastForwardRoom", fsm.FastForwardRoom{
			Room: club, Generation: 2, Incarnation: 9, GroupID: "group", Suite: 1, Facts: sampleFacts(),
			Clients: []fsm.ClientOfUser{{Client: client("alice1"), User: alice}}, Rules: sampleRules(),
			Seen:        []fsm.EpochSeen{{Provider: peer, Answer: fsm.SeenEpoch, Epoch: 2}, {Provider: hub, Answer: fsm.SeenWaived}},
			RequestHash: hash,
		}},
		{"Salvage", fsm.Salvage{Commands: []fsm.Command{fsm.SubmitBatch{Room: club, Tell: true, Again: true, Messages: []fsm.BatchMessage{
			{GroupID: "group", Epoch: 2, Sender: bob, Hash: hash, Message: []byte("message")},
		}}}}},
		{"CreateRoom, in a later generation", fsm.CreateRoom{
			Room: club, Creator: alice, GroupID: "group", Suite: 1, Facts: sampleFacts(), RequestHash: hash, Rules: sampleRules(), Generation: 2,
		}},
	}
}

func sampleHubMessages() []fsm.HubMessage {
	return []fsm.HubMessage{
		{Hash: hashOf("m"), Bytes: []byte("fanout"), HubMessageFacts: fsm.HubMessageFacts{
			Kind: fsm.HubCommit, Group: "group", Epoch: 7, Joins: true, Needs: []mls.ProposalRef{"p1", "p2"}, Offers: []mls.ProposalRef{"p3"}, Next: "next group",
		}},
		{Hash: hashOf("w"), Bytes: []byte("welcome"), HubMessageFacts: fsm.HubMessageFacts{Kind: fsm.HubWelcome, Welcomed: []mls.KeyPackageRef{"ref"}, Alone: true}},
	}
}

func sampleRules() fsm.RoomRules {
	tolerance := uint8(3)
	return fsm.RoomRules{Silent: []uint32{1, 4}, EpochTolerance: &tolerance}
}

// firstSettings are such as a cluster of the first format has, secondSettings such as raise a shard.
func thirdSettings(domains ...mimi.Provider) fsm.Settings {
	s := fsm.DefaultSettings(domains...)
	s.Format = fsm.FormatExclusive
	return s
}

func fourthSettings(domains ...mimi.Provider) fsm.Settings {
	s := fsm.DefaultSettings(domains...)
	s.Format = fsm.FormatBulk
	s.Bulk = fsm.BulkRules{OutboxRetentionMillis: 1 << 20, ReceiptMillis: 1 << 21, InboxRetentionMillis: 1 << 22, ClientInboxes: true, HubGapMillis: 1 << 23, DeletionsTo: []mimi.Provider{peer},
		QueueMillis: 1 << 23, QueueItemsMax: 5, QueueBytesMax: 1000}
	return s
}

func firstSettings(domains ...mimi.Provider) fsm.Settings {
	s := fsm.DefaultSettings(domains...)
	s.LeaveGraceMillis, s.Claims = 0, fsm.ClaimRules{}
	s.Format = fsm.FormatFirst
	return s
}

func secondSettings(domains ...mimi.Provider) fsm.Settings {
	s := fsm.DefaultSettings(domains...)
	s.LeaveGraceMillis, s.Claims = 0, fsm.ClaimRules{} // its format has none
	s.Format = fsm.FormatQueues
	return s
}

func sampleCode() fsm.JoiningCode {
	return fsm.JoiningCode{
		ID: fsm.CodeIDOf([]byte("code")), Creator: alice, Role: 2, Uses: 3, Used: 1, CreatedMillis: 4, ExpiresMillis: 5, State: fsm.CodeRevoked,
		Lock: fsm.PassphraseLock{Salt: []byte("salt"), Rounds: 6, Key: []byte("key")},
	}
}

func samplePackage() fsm.KeyPackageFacts {
	return fsm.KeyPackageFacts{
		Ref: "ref", Suite: 1, NotBefore: 10, NotAfter: 20, LastResort: true, Extensions: []mls.ExtensionType{6, 7},
		Proposals: []mls.ProposalType{8}, Credentials: []mls.CredentialType{1, 2}, Message: []byte("package"),
	}
}

// sampleOutcomes has every outcome with every field set.
func sampleOutcomes() []named[fsm.Outcome] {
	lease := fsm.LeaseGranted{Token: 3, UntilMillis: 4, Epoch: 5}
	return []named[fsm.Outcome]{
		{"Done", fsm.Done{}},
		{"Accepted", fsm.Accepted{Millis: 1, Epoch: 2}},
		{"WrongEpoch", fsm.WrongEpoch{Current: 3, Winner: hashOf("winner")}},
		{"SubmissionsQueued", fsm.SubmissionsQueued{Answers: []mimi.SubmissionAnswer{
			{State: mimi.SubmissionQueued, Verdict: mimi.Verdict{Receipt: mimi.Receipt{1}}}, mimi.DecidedAnswer(sampleVerdict()),
			{State: mimi.SubmissionNotTaken, Verdict: mimi.Verdict{Receipt: mimi.Receipt{2}, Reason: "full"}, RetryAfterSeconds: 5},
		}}},
		{"EpochTooOld", fsm.EpochTooOld{Current: 4}},
		{"NotAllowed", fsm.NotAllowed{Reason: "no"}},
		{"InvalidProposal", fsm.InvalidProposal{Refs: []mls.ProposalRef{"p1"}, Reason: "gone"}},
		{"NoSuchRoom", fsm.NoSuchRoom{}},
		{"ReadSetChanged", fsm.ReadSetChanged{Index: 7}},
		{"MovedTo", fsm.MovedTo{Shard: 2, Generation: 3}},
		{"LeaseGranted", lease},
		{"LeaseHeld", fsm.LeaseHeld{UntilMillis: 9, NowMillis: 8}},
		{"Uploaded", fsm.Uploaded{Stored: 1, Known: 2, Refused: []mls.KeyPackageRef{"ref"}, Left: 4}},
		{"Claimed", fsm.Claimed{User: bob, Code: mimi.KeyMaterialPartialSuccess, Clients: []fsm.ClaimedClient{
			{Client: client("bob1@b.example"), Code: mimi.KeyMaterialClientSuccess, Ref: "ref", KeyPackage: []byte("package"), NotAfter: 20},
			{Client: client("bob2@b.example"), Code: mimi.KeyMaterialClientExhausted},
		}}},
		{"Disclosed", fsm.Disclosed{
			Lease: lease, Suite: 1, GroupInfo: []byte("info"), RatchetTree: []byte("tree"),
			Pending: []fsm.PendingProposal{{Ref: "p1", Message: []byte("proposal"), AcceptedMillis: 6}}, Epoch: 6,
		}},
		{"RoomDescribed", fsm.RoomDescribed{
			Room: club, GroupID: "group", Suite: 1, Epoch: 2, TreeHash: []byte("hash"), Participants: sampleFacts().Participants,
			Destinations: sampleFacts().Destinations, Pending: 3,
		}},
		{"Acknowledged", fsm.Acknowledged{Items: 7, More: true}},
		{"MissingPieces", fsm.MissingPieces{Indexes: []uint16{0, 3}}},
		{"SlotFull", fsm.SlotFull{}},
		{"BodiesReceived", fsm.BodiesReceived{Taken: 3, Stop: fsm.StopGroups, Groups: []mls.GroupID{"group", "next group"}}},
		{"Received", fsm.Received{Next: 8}},
		{"JoiningCodeMade", fsm.JoiningCodeMade{Code: sampleCode()}},
		{"JoiningCodes", fsm.JoiningCodes{Codes: []fsm.JoiningCode{sampleCode(), {ID: fsm.CodeIDOf([]byte("other")), Creator: alice}}}},
		{"Damped", fsm.Damped{UntilMillis: 9, NowMillis: 8, Reason: "wait"}},
		{"FormatNotReached", fsm.FormatNotReached{Needs: 2, Has: 1}},
		{"KeyPackagesDeleted", fsm.KeyPackagesDeleted{Deleted: 1, Claimed: []mls.KeyPackageRef{"ref"}, Left: 3}},
		{"InventoryRead", fsm.InventoryRead{User: bob, Known: true, Clients: []fsm.ClientStock{
			{Client: client("bob1@b.example"), Reserved: 2, Stocks: []fsm.SuiteStock{{Suite: 1, LastResort: true, Count: 3, Earliest: 4, Latest: 5}}},
		}}},
		{"ClaimThrottled", fsm.ClaimThrottled{UntilMillis: 9, NowMillis: 8, Reason: "later"}},
		{"ConsentsRead", fsm.ConsentsRead{
			User: bob, Policy: fsm.ConsentAsCluster, InForce: fsm.ConsentAsk, Count: 2, Continue: []byte("next"),
			Entries: []fsm.ConsentEntry{{Requester: alice, Room: club, Consent: fsm.ConsentGranted, Millis: 7}},
		}},
		{"RoomAwaits", fsm.RoomAwaits{
			Room:    fsm.RoomDescribed{Room: club, GroupID: "group", Suite: 1, Epoch: 2, TreeHash: []byte("hash")},
			GroupID: "next group", Suite: 3,
		}},
		{"MembersReserved", fsm.MembersReserved{Room: club, Number: 4}},
		{"MembersHeld", fsm.MembersHeld{Room: club}},
		{"RoomEnded", fsm.RoomEnded{Status: fsm.RoomDestroyed, Millis: 7}},
		{"BatchDecided", fsm.BatchDecided{Verdicts: []fsm.BatchVerdict{
			{Verdict: mimi.Verdict{Receipt: hashOf("m"), Code: mimi.VerdictAccepted, AcceptedMillis: 5, Current: 2}},
			{Verdict: mimi.Verdict{Receipt: hashOf("n"), Code: mimi.VerdictEpochTooOld, Current: 9, Reason: "over"}, Undecided: true},
		}}},
		{"SubmissionsRead", fsm.SubmissionsRead{Verdicts: []mimi.Verdict{{Receipt: hashOf("m"), Code: mimi.VerdictAccepted, AcceptedMillis: 5, Current: 2}}}},
		{"MoveRefused", fsm.MoveRefused{Move: 8, Stage: fsm.SlotFrozen, Reason: "late"}},
		{"PageTaken", fsm.PageTaken{Sequence: 4}},
		{"StaleRoom", fsm.StaleRoom{Generation: 2, Epoch: 3, SinceMillis: 4}},
		{"OtherGeneration", fsm.OtherGeneration{Current: 2}},
		{"FollowedEpoch", fsm.FollowedEpoch{Known: true, GroupID: "group", Epoch: 3}},
		{"StaleRoomList", fsm.StaleRoomList{Whole: true, Rooms: []fsm.StaleRoomEntry{{Room: club, StaleRoom: fsm.StaleRoom{Generation: 2, Epoch: 3, SinceMillis: 4}}}}},
		{"StaleRoomDescribed", fsm.StaleRoomDescribed{
			Room:  fsm.RoomDescribed{Room: club, GroupID: "group", Suite: 1, Epoch: 2, TreeHash: []byte("hash")},
			Stale: fsm.StaleRoom{Generation: 2, Epoch: 2, SinceMillis: 4},
		}},
	}
}

// realEntry is one that a fuzzer can begin with: its Commit passes the proof.
func realEntry() fsm.Entry {
	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	r.Incarnation = 1
	club := fsm.SlotOfRoom(club)
	return fsm.Entry{StampMillis: 1000, Commands: []fsm.Command{
		fsm.OwnSlots{Shard: 1, Generation: 1, First: club, Last: club},
		fsm.EnterSettings{Version: 1, Settings: fsm.DefaultSettings(hub)},
		r.Create(), r.Propose(0, alice, "p1"), r.Commit(fsmtest.Next{Label: "c", Proposals: []mls.ProposalRef{"p1"}}), r.Message("m", 1, bob),
	}}
}

func sampleVerdict() mimi.Verdict {
	return mimi.Verdict{Receipt: mimi.Receipt{3}, Code: mimi.VerdictEpochTooOld, Current: 12, Reason: "seven is over"}
}
