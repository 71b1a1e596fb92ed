// Package replay plays a recorded conversation of MLS clients to the part of the hub that follows groups, and compares what the
// hub comes to with what the clients came to. A client that passes here sends handshakes that this hub accepts. The rules of a
// MIMI room, such as who may add whom, are not asked.
package replay

import (
	"bytes"
	"fmt"
	"time"

	"parley/mls"
)

// player is a hub that follows one group.
type player struct {
	atSeconds uint64
	group     *mls.PublicGroup // nil where there is none yet, or it was lost
	lostAt    int              // the step at which the clients' group could not be followed any more; 0 for none
	pending   map[mls.ProposalRef]*mls.PublicMessage
	refused   map[mls.ProposalRef]int // the steps of Proposals of this epoch that the hub refused
	encrypted int                     // the last step of this epoch that sent a Proposal as PrivateMessage; 0 for none
	last      *mls.Staged             // the Commit that began this epoch; nil where the hub took the group up
	tag       []byte                  // the confirmation tag of this epoch
}

// Play replays the transcript at a time in seconds since 1970. It goes on after a difference: where the clients went another way
// than the hub, the hub takes the group up again from their GroupInfo and tree, so that one fault is not counted for many.
func (t *Transcript) Play(atSeconds uint64) Report {
	report := Report{
		Folder: t.folder, Suite: t.suite, Generator: t.generator, At: time.Unix(int64(atSeconds), 0).UTC(), Count: len(t.steps),
	}
	p := &player{atSeconds: atSeconds}
	for i, s := range t.steps {
		r := Result{Step: i + 1, Kind: s.Kind, Who: s.Who, File: s.sent()}
		if s.Kind == kindCreateGroup {
			p.createGroup(&r, s)
			t.checkSuite(&r, p.group)
		} else {
			p.play(&r, s)
		}
		if r.OK = len(r.Differences) == 0; r.OK {
			report.OK++
		}
		report.Steps = append(report.Steps, r)
	}
	return report
}

// checkSuite compares a new group's suite with the transcript's.
func (t *Transcript) checkSuite(r *Result, group *mls.PublicGroup) {
	if group != nil && t.suiteID.given && uint64(group.Suite().ID) != t.suiteID.value {
		r.differs("suite_id", fmt.Sprint(t.suiteID.value), fmt.Sprint(uint16(group.Suite().ID)))
	}
}

// play takes a step that sends something.
func (p *player) play(r *Result, s step) {
	field, sent := "commit", s.Commit
	switch {
	case sent != nil:
	case s.File != nil:
		field, sent = "file", s.File
	case s.Welcome != nil:
		field, sent = "welcome", s.Welcome
	default:
		r.differs("file", "a message: the step names a file, commit or welcome", "none of them")
		return
	}
	message, err := mls.ParseMLSMessage(sent.content)
	if err != nil {
		r.differs(field, "an MLSMessage", unreadable(sent, err))
		p.follow(r, s)
		return
	}
	if want := s.wants(message.Body); want != "" {
		r.differs(field, want, kindOf(message.Body))
		p.follow(r, s)
		return
	}
	if packaged, ok := message.Body.(*mls.KeyPackage); ok {
		p.keyPackage(r, s, packaged)
		return
	}
	if p.group == nil {
		p.withoutGroup(r, s, field)
		return
	}
	p.receive(r, s, field, message.Body)
}

// receive gives a message of the group to that part of the hub which takes it.
func (p *player) receive(r *Result, s step, field string, body mls.Body) {
	switch m := body.(type) {
	case *mls.PublicMessage:
		switch m.Content.Body.(type) {
		case mls.Commit:
			p.commit(r, s, field, m)
		case mls.Proposal:
			p.proposal(r, s, field, m)
		default:
			r.differs(field, "accepted", "refused: application data must not be sent in the clear (RFC 9420 §6.1)")
		}
	case *mls.PrivateMessage:
		if m.ContentType == mls.ContentApplication {
			p.application(r, m)
		} else {
			p.encryptedHandshake(r, s, field, m)
		}
	case *mls.Welcome:
		p.welcome(r, field, m)
	case *mls.GroupInfo:
		r.Found = fmt.Sprintf("GroupInfo of epoch %d", m.Context.Epoch)
		compareGroupInfo(r, field, p.group, p.tag, *m)
	}
}

// withoutGroup is a step that needs a group where the hub has none.
func (p *player) withoutGroup(r *Result, s step, field string) {
	got := "not tried: no step before has created a group"
	if p.lostAt > 0 {
		got = fmt.Sprintf("not tried: the hub could not follow the group at step %d", p.lostAt)
	}
	r.differs(field, "accepted", got)
	p.follow(r, s)
}

// refuse is what becomes of a step whose handshake the hub refuses. It differs unless the step says that the clients are where
// they were: then they have refused it too.
func (p *player) refuse(r *Result, s step, field, reason string) {
	if s.tellsEpoch() {
		var there Result
		if compareEpoch(&there, s, p.group, p.tag); len(there.Differences) == 0 {
			r.Found = "refused, and the clients stay where they are: " + reason
			return
		}
	}
	r.differs(field, s.acceptance(), "refused: "+reason)
	p.follow(r, s)
}

// follow takes the group up where the clients say that they are after a step that the hub did not come along with. Where they do
// not say, the group stays as it was; where what they say cannot be taken up, it is lost.
func (p *player) follow(r *Result, s step) {
	if !s.beginsEpoch() {
		return
	}
	group, info, err := takenUp(s)
	if err != nil {
		p.group, p.lostAt = nil, r.Step
		return
	}
	p.goOn(r, group, info)
}

// diverge follows the clients after a step that the hub came along with, where their GroupInfo and tree are of another epoch or
// state than the hub's: what they send from now on would not fit the hub's own.
func (p *player) diverge(r *Result, s step) {
	group, info, err := takenUp(s)
	if err == nil && !bytes.Equal(group.ContextBytes(), p.group.ContextBytes()) {
		p.goOn(r, group, info)
	}
}

func (p *player) goOn(r *Result, group *mls.PublicGroup, info mls.GroupInfo) {
	p.enter(group, nil, info.ConfirmationTag)
	r.note("the hub goes on from the step's GroupInfo and tree, in epoch %d", group.Epoch())
}

// enter is the beginning of an epoch, by a Commit or, where the group was taken up, nil.
func (p *player) enter(group *mls.PublicGroup, by *mls.Staged, tag []byte) {
	*p = player{
		atSeconds: p.atSeconds, group: group, last: by, tag: tag,
		pending: make(map[mls.ProposalRef]*mls.PublicMessage), refused: make(map[mls.ProposalRef]int),
	}
}
