package fsm_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// script turns the lines of a transcript into commands. A line is a verb, plain words and key=value options. Users, clients and
// rooms are written name@domain, or as the name alone for one of a.example.
type script struct {
	rooms   map[string]*fsmtest.Room
	commits map[string]fsm.AcceptCommit // by label; the same label again is a retry
	objects map[[32]byte]fsm.Command    // that came in pieces, by hash
	hubs    map[string]*deliveredRoom   // of other hubs
}

func newScript() *script {
	return &script{rooms: map[string]*fsmtest.Room{}, commits: map[string]fsm.AcceptCommit{}, objects: map[[32]byte]fsm.Command{}, hubs: map[string]*deliveredRoom{}}
}

// line is one line of a transcript taken apart. A read of something that is not there panics: the transcript is wrong.
type line struct {
	verb    string
	words   []string
	options map[string]string
}

func parseLine(text string) line {
	fields := strings.Fields(text)
	l := line{verb: fields[0], options: map[string]string{}}
	for _, f := range fields[1:] {
		if name, value, found := strings.Cut(f, "="); found {
			l.options[name] = value
		} else {
			l.words = append(l.words, f)
		}
	}
	return l
}

func (l line) number(option string, otherwise uint64) uint64 {
	text, given := l.options[option]
	if !given {
		return otherwise
	}
	return atoi(text)
}

func (l line) text(option, otherwise string) string {
	if text, given := l.options[option]; given {
		return text
	}
	return otherwise
}

func (l line) list(option string) []string {
	if l.options[option] == "" {
		return nil
	}
	return strings.Split(l.options[option], ",")
}

func atoi(text string) uint64 { return must(strconv.ParseUint(text, 10, 64)) }

func uri(kind, name string) string {
	name, domain, given := strings.Cut(name, "@")
	if !given {
		domain = "a.example"
	}
	return "mimi://" + domain + "/" + kind + "/" + name
}

func room(name string) mimi.RoomURI        { return must(mimi.ParseRoomURI(uri("r", name))) }
func user(name string) mimi.UserURI        { return must(mimi.ParseUserURI(uri("u", name))) }
func client(name string) mimi.ClientURI    { return must(mimi.ParseClientURI(uri("d", name))) }
func provider(domain string) mimi.Provider { return must(mimi.ParseProvider(domain)) }
func hashOf(label string) [32]byte         { return sha256.Sum256([]byte(label)) }
func mapped[T any](in []string, f func(string) T) (out []T) {
	for _, v := range in {
		out = append(out, f(v))
	}
	return out
}

func code[T ~uint16](text string) T { return T(atoi(text)) }

func ref(label string) mls.KeyPackageRef { return mls.KeyPackageRef("ref of " + label) }

// slotOf is a room's slot, or the number.
func slotOf(name string) fsm.SlotID {
	if n, err := strconv.ParseUint(name, 10, 16); err == nil {
		return fsm.SlotID(n)
	}
	return fsm.SlotOfRoom(room(name))
}

// slotNamed is a room's slot, the number, or that of a user behind "user:".
func slotNamed(name string) fsm.SlotID {
	if of, yes := strings.CutPrefix(name, "user:"); yes {
		return slotOfUser(of)
	}
	return slotOf(name)
}

func (s *script) command(text string) fsm.Command {
	l := parseLine(text)
	switch l.verb {
	case "fence":
		return fsm.Fence{}
	case "own-slots":
		return fsm.OwnSlots{Shard: 1, Generation: 1, First: slotOf(l.words[0]), Last: slotOf(l.words[1])}
	case "settings":
		return s.settings(l)
	case "sweep":
		return fsm.Sweep{Max: uint32(atoi(l.words[0]))}
	case "upload":
		return s.upload(l)
	case "claim":
		return fsm.ClaimKeyPackages{
			User: user(l.words[0]), Requester: user(l.text("by", "alice")), Provider: provider(l.text("from", "a.example")),
			Room:   optional(l.text("room", "club"), room),
			Suites: mapped(l.list("suites"), code[mls.CipherSuite]), Extensions: mapped(l.list("extensions"), code[mls.ExtensionType]),
			Exclude: optional(l.options["exclude"], client), ReplayKey: hashOf(l.options["key"]), ReplayMillis: l.number("replay", 60_000),
		}
	case "delete":
		c := fsm.DeleteKeyPackages{User: user(l.words[0]), Client: client(l.words[1]), Refs: mapped(l.words[2:], ref)}
		c.All = len(c.Refs) == 0
		return c
	case "consent":
		return consents(l)
	case "policy-of":
		return fsm.SetConsentPolicy{User: user(l.words[0]), Policy: must(fsm.ParseConsentPolicy(l.words[1]))}
	case "routes":
		return fsm.RecordKeyPackageRefs{Room: room(l.words[0]), Refs: mapped(l.words[1:], func(w string) fsm.KeyPackageRoute {
			return fsm.KeyPackageRoute{
				Ref: ref(w), Provider: provider("b.example"), User: user("bob@b.example"), Client: client("bob1@b.example"), NotAfter: l.number("until", 0),
			}
		})}
	case "receive":
		return fsm.ReceiveFanout{
			Room: room(l.words[0]), Hub: provider(l.options["hub"]), BodyHash: hashOf(strings.Join(l.words, " ")),
			Messages: mapped(l.words[1:], func(w string) fsm.FanoutItem {
				return fsm.FanoutItem{Hash: hashOf(w), Bytes: fanoutOf(w)}
			}),
		}
	case "deliver":
		return s.deliver(l)
	case "follow":
		return fsm.FollowGroup{Hub: provider(l.words[0]), Group: mls.GroupID(l.words[1]), Room: room(l.words[2])}
	case "carry":
		return s.carry(l)
	case "drop":
		return fsm.DropInternal{At: slotOf(l.words[0]), To: slotOfUser(l.words[1]), Next: atoi(l.words[2])}
	case "judged":
		version, inner, _ := strings.Cut(strings.TrimPrefix(text, "judged "), " ")
		return fsm.Judged{Settings: atoi(version), Command: s.command(inner)}
	case "put", "spoil", "name":
		return s.pieceCommand(text)
	case "local-routes":
		return fsm.RecordKeyPackageRefs{Room: room(l.words[0]), Refs: mapped(l.words[2:], func(w string) fsm.KeyPackageRoute {
			return fsm.KeyPackageRoute{Ref: ref(w), Provider: provider("a.example"), User: user(l.words[1]), NotAfter: l.number("until", 5000)}
		})}
	case "ack":
		return fsm.Acknowledge{
			At: slotNamed(l.words[0]), Destination: provider(l.words[1]), Sequences: mapped(l.words[2:], atoi), Rooms: mapped(l.list("through"), roomTaken),
		}
	default:
		return s.roomCommand(l)
	}
}

// roomTaken reads ROOM/SEQUENCE.
func roomTaken(text string) fsm.RoomTaken {
	name, through, _ := strings.Cut(text, "/")
	return fsm.RoomTaken{Room: optional(name, room), Through: atoi(through)}
}

func (s *script) roomCommand(l line) fsm.Command {
	name := l.words[0]
	if l.verb == "create" {
		if _, made := s.rooms[name]; !made || l.options["again"] != "" {
			r := fsmtest.NewRoom(room(name), mls.Epoch(l.number("epoch", 0)), mapped(l.list("users"), user), mapped(l.list("to"), provider))
			if made {
				return r.Create()
			}
			s.rooms[name] = r
		}
		return s.rooms[name].Create()
	}
	r, made := s.rooms[name]
	if !made {
		r = fsmtest.NewRoom(room(name), 0, mapped([]string{"nobody"}, user), nil)
	}
	switch epoch := mls.Epoch(l.number("epoch", uint64(r.Epoch))); l.verb {
	case "commit":
		return s.commit(r, l)
	case "join":
		return s.join(r, l)
	case "code":
		return createCode(r, l)
	case "revoke":
		return revokeCode(r, l)
	case "ask":
		return ask(r, l)
	case "propose":
		return r.Propose(epoch, user("alice"), l.words[1:]...)
	case "batch":
		return batch(r, l)
	case "verdicts":
		return verdicts(r, l)
	case "message":
		return r.Message(l.words[1], epoch, user(l.options["by"]))
	case "lease":
		return fsm.TakeLease{Room: r.URI, Requester: user(l.options["by"]), Client: l.options["client"], DurationMillis: l.number("millis", 0)}
	default:
		panic("the transcript has the unknown verb " + l.verb)
	}
}

func (s *script) settings(l line) fsm.Command {
	c := fsm.EnterSettings{Version: atoi(l.words[0]), Settings: fsm.DefaultSettings(mapped(l.list("domains"), provider)...)}
	c.Settings.Format = fsm.Format(l.number("format", uint64(fsm.FormatFirst)))
	c.Settings.Bulk.OutboxRetentionMillis = l.number("keep", 0)
	c.Settings.EpochWindow = uint32(l.number("window", uint64(c.Settings.EpochWindow)))
	if policy := l.options["consent"]; policy != "" {
		c.Settings.Claims.ConsentDefault = must(fsm.ParseConsentPolicy(policy))
	}
	if l.options["quotas"] == "off" {
		c.Settings.Claims = fsm.ClaimRules{ConsentDefault: c.Settings.Claims.ConsentDefault}
	}
	rules := &c.Settings.Claims
	for option, into := range map[string]*uint32{
		"low": &rules.LowWater, "pair": &rules.PerPairMax, "per-room": &rules.PerRoomMax, "floor": &rules.Floor, "below-floor": &rules.BelowFloorMax,
	} {
		*into = uint32(l.number(option, uint64(*into)))
	}
	rules.WindowMillis = l.number("claim-window", rules.WindowMillis)
	rules.LastResortForOwn = l.options["last-resort"] == "own"
	c.Settings.KeyPackagesPerClientMax = uint32(l.number("packages", uint64(c.Settings.KeyPackagesPerClientMax)))
	return c
}

// optional reads a name that may be empty, or the word none, for none.
func optional[T any](name string, read func(string) T) (none T) {
	if name == "" || name == "none" {
		return none
	}
	return read(name)
}

// consents reads "consent USER grant=REQUESTER[/ROOM],… revoke=… forget=…", in the order forget, grant, revoke.
func consents(l line) fsm.Command {
	c := fsm.SetConsents{User: user(l.words[0])}
	for _, one := range []struct {
		option  string
		consent fsm.Consent
	}{{"forget", fsm.ConsentForgotten}, {"grant", fsm.ConsentGranted}, {"revoke", fsm.ConsentRevoked}} {
		for _, whom := range l.list(one.option) {
			requester, in, _ := strings.Cut(whom, "/")
			c.Entries = append(c.Entries, fsm.ConsentEntry{Requester: user(requester), Room: optional(in, room), Consent: one.consent})
		}
	}
	return c
}

// upload reads KeyPackages as label or label:suite.
func (s *script) upload(l line) fsm.Command {
	return fsm.UploadKeyPackages{User: user(l.words[0]), Client: client(l.words[1]), Packages: mapped(l.words[2:], func(w string) fsm.KeyPackageFacts {
		label, suite, given := strings.Cut(w, ":")
		if !given {
			suite = "1"
		}
		return fsm.KeyPackageFacts{
			Ref: ref(label), Suite: code[mls.CipherSuite](suite), NotBefore: l.number("from", 0), NotAfter: l.number("until", 5000),
			LastResort: l.options["last-resort"] != "", Extensions: mapped(l.list("extensions"), code[mls.ExtensionType]), Message: []byte("package " + label),
		}
	})}
}

func (s *script) commit(r *fsmtest.Room, l line) fsm.Command {
	label := l.words[0] + "/" + l.words[1]
	c, made := s.commits[label]
	if !made {
		n := fsmtest.Next{
			Label: label, Proposals: mapped(l.list("refs"), func(w string) mls.ProposalRef { return mls.ProposalRef(w) }),
			ValidFrom: l.number("from", 0), ValidUntil: l.number("until", 0), Destinations: mapped(l.list("to"), provider),
		}
		if users := l.list("users"); users != nil {
			n.Participants = fsmtest.ParticipantsOf(mapped(users, user))
		}
		if refs := l.list("welcome"); refs != nil {
			n.Welcomes = []fsm.WelcomeDelivery{fsmtest.Welcome(provider("b.example"), mapped(refs, ref)...)}
		}
		c = r.Commit(n)
		s.commits[label] = c
	}
	c.Reads.Incarnation += l.number("incarnation", 0)
	c.Reads.Enforcement = l.number("enforcement", c.Reads.Enforcement)
	switch l.options["forge"] {
	case "interim":
		c.Facts.InterimTranscriptHash = []byte("forged")
	case "epoch":
		c.Facts.Epoch++
	case "context":
		c.Facts.GroupContext = append([]byte{0}, c.Facts.GroupContext...)
	case "commit":
		c.Commit = c.Commit[:len(c.Commit)-1]
	case "width":
		c.Facts.TreeWidth = 0
	}
	return c
}

// carry reads "carry ROOM USER FIRST REFS...", with the references of one effect between commas.
func (s *script) carry(l line) fsm.Command {
	c := fsm.ReceiveInternal{At: slotOfUser(l.words[1]), From: slotOf(l.words[0]), First: atoi(l.words[2])}
	for _, refs := range l.words[3:] {
		c.Effects = append(c.Effects, fsm.KeyPackagesConsumed{User: user(l.words[1]), Refs: mapped(strings.Split(refs, ","), ref)})
	}
	return c
}

func slotOfUser(name string) fsm.SlotID { return fsm.SlotOfUser(user(name)) }

// pieceCommand reads "put I N command", for piece I when the command is cut into N; "spoil I N command", the same with other bytes;
// and "name N command".
func (s *script) pieceCommand(text string) fsm.Command {
	verb, rest, _ := strings.Cut(text, " ")
	index := uint64(0)
	if verb != "name" {
		first, behind, _ := strings.Cut(rest, " ")
		index, rest = atoi(first), behind
	}
	count, inner, _ := strings.Cut(rest, " ")
	command := s.command(inner)
	encoded := fsm.EncodeCommand(command)
	object := sha256.Sum256(encoded)
	s.objects[object] = command
	if verb == "name" {
		return fsm.ApplyPieces{At: command.Slot(), Object: object, Count: uint16(atoi(count)), Bytes: uint32(len(encoded)), Kind: kindOf(encoded)}
	}
	size := len(encoded)/int(atoi(count)) + 1
	piece := slices.Clone(encoded[int(index)*size : min(len(encoded), int(index+1)*size)])
	if verb == "spoil" {
		piece[0] ^= 1
	}
	return fsm.PutPiece{At: command.Slot(), Object: object, Index: uint16(index), Bytes: piece}
}

// kindOf is the number of an encoded command.
func kindOf(encoded []byte) fsm.CommandKind {
	return fsm.CommandKind(encoded[1])<<8 | fsm.CommandKind(encoded[2])
}

// adopt lets the rooms follow what was accepted.
func (s *script) adopt(index uint64, c fsm.Command, o fsm.Outcome) {
	if named, yes := c.(fsm.ApplyPieces); yes {
		c = s.objects[named.Object]
	}
	if judged, yes := c.(fsm.Judged); yes {
		c = judged.Command
	}
	accepted, ok := o.(fsm.Accepted)
	if !ok {
		return
	}
	for _, r := range s.rooms {
		switch c := c.(type) {
		case fsm.CreateRoom:
			if r.URI == c.Room && r.Incarnation == 0 {
				r.Incarnation = index
			}
		case fsm.AcceptCommit:
			if r.URI == c.Room && accepted.Epoch == r.Epoch+1 {
				r.Advance(c)
			}
		}
	}
}

// fanoutOf is a FanoutMessage of an application message.
func fanoutOf(label string) []byte {
	r := fsmtest.NewRoom(room("elsewhere@hub.example"), 0, mapped([]string{"nobody"}, user), nil)
	var w mls.Writer
	mimi.AppendFanoutApplication(&w, 1, r.Message(label, 0, mimi.UserURI{}).Message, nil)
	return w.Bytes()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("the test is wrong: %v", err))
	}
	return v
}

func code64(text string) mls.Epoch { return mls.Epoch(atoi(text)) }

func refOfProposal(label string) mls.ProposalRef { return mls.ProposalRef(label) }

// labels are what fsmtest marks handshake messages with.
func labels(messages []mls.MLSMessage) (list []string) {
	for _, m := range messages {
		list = append(list, string(m.Body.(*mls.PublicMessage).Content.AuthenticatedData))
	}
	return list
}
