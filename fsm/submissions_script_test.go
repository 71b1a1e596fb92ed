package fsm_test

import (
	"fmt"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// Lines of transcripts on what is submitted in bulk:
//
//	batch club m1/alice m2/bob@b.example@0 m3/alice!fault tell=yes again=yes
//	verdicts club p1 of=b.example code=11 tell=yes
//
// A message is known by its label, behind which stand its sender, its epoch where that is not the present one, and what was found wrong
// with it before the log. "show submission club m1@0 a.example" shows what a provider is told of it.

func batch(r *fsmtest.Room, l line) fsm.Command {
	c := fsm.SubmitBatch{Room: r.URI, Tell: l.options["tell"] != "", Again: l.options["again"] != ""}
	for _, word := range l.words[1:] {
		word, fault, _ := strings.Cut(word, "!")
		label, sender, _ := strings.Cut(word, "/")
		epoch := r.Epoch
		// The sender's own @ stands before a domain, which is no number.
		if at := strings.LastIndex(sender, "@"); at >= 0 && strings.Trim(sender[at+1:], "0123456789") == "" {
			epoch, sender = mls.Epoch(atoi(sender[at+1:])), sender[:at]
		}
		m := batchOf(r.Message(label, epoch, user(sender)))
		m.Fault = fault
		c.Messages = append(c.Messages, m)
	}
	return c
}

// batchOf is a message as it stands in a SubmitBatch.
func batchOf(m fsm.SubmitMessage) fsm.BatchMessage {
	return fsm.BatchMessage{GroupID: m.GroupID, Epoch: m.Epoch, Sender: m.Sender, Hash: m.Hash, Message: m.Message}
}

func verdicts(r *fsmtest.Room, l line) fsm.Command {
	c := fsm.RecordVerdicts{Room: r.URI, Provider: provider(l.options["of"]), Tell: l.options["tell"] != ""}
	for _, word := range l.words[1:] {
		v := mimi.Verdict{Receipt: hashOf(word), Code: mimi.VerdictCode(l.number("code", 11)), Current: r.Epoch, Reason: "as the judge says"}
		c.Verdicts = append(c.Verdicts, v)
	}
	return c
}

func verdictText(v mimi.Verdict) string {
	if v.Code == mimi.VerdictAccepted {
		return fmt.Sprintf("%x accepted %d epoch %d", v.Receipt[:2], v.AcceptedMillis, v.Current)
	}
	return fmt.Sprintf("%x %s epoch %d: %s", v.Receipt[:2], v.Code, v.Current, v.Reason)
}

func batchText(o fsm.BatchDecided) string {
	lines := []string{"decided"}
	for _, v := range o.Verdicts {
		lines = append(lines, "  "+verdictText(v.Verdict))
	}
	return strings.Join(lines, "\n")
}

// describeSubmission shows what is known of a message by its label and epoch, or of Proposals by their label alone.
func describeSubmission(t *testing.T, r fsm.Reader, l line, out *strings.Builder) {
	t.Helper()
	label, epoch, message := strings.Cut(l.words[1], "@")
	receipt := mimi.Receipt(hashOf(label))
	if message {
		made := fsmtest.NewRoom(room(l.words[0]), 0, mapped([]string{"nobody"}, user), nil)
		receipt = made.Message(label, mls.Epoch(atoi(epoch)), mimi.UserURI{}).Hash
	}
	v, found, err := fsm.ReadSubmission(r, room(l.words[0]), receipt, mapped(l.words[2:], provider))
	check(t, err)
	if !found {
		fmt.Fprintln(out, "no record")
		return
	}
	fmt.Fprintln(out, verdictText(v))
}
