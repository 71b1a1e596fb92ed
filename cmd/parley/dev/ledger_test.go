package dev

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parley/mimi"
	"parley/mls"
)

const here, there = "a.example", "b.example"

// account is a ledger in which a Proposal, the Commit after it and a message were accepted for both providers.
func account(t *testing.T) (l *ledger, proposal, commit, message []byte) {
	t.Helper()
	r, err := loadRecording()
	if err != nil {
		t.Fatal(err)
	}
	l = newLedger()
	for _, step := range r.Steps {
		switch {
		case step.Kind == kindProposal:
			proposal = step.Proposal
			l.accept(step.Name, mls.ContentProposal, step.Proposal, here, there)
		case step.Name == "commit_rename":
			commit = step.Commit
			l.accept(step.Name, mls.ContentCommit, step.Commit, here, there)
		case step.Kind == kindMessage && message == nil:
			message = step.Message
			l.accept(step.Name, mls.ContentApplication, step.Message, here, there)
		}
	}
	return l, proposal, commit, message
}

func body(t *testing.T, messages ...[]byte) []byte {
	t.Helper()
	var w mls.Writer
	for _, raw := range messages {
		m, err := mls.ParseMLSMessage(raw)
		if err != nil {
			t.Fatal(err)
		}
		var event mimi.FanoutEvent
		switch b := m.Body.(type) {
		case *mls.PrivateMessage:
			event = mimi.FanoutApplication{Message: b}
		case *mls.PublicMessage:
			event = mimi.FanoutProposals{Proposals: []mls.MLSMessage{m}}
			if b.Content.Body.ContentType() == mls.ContentCommit {
				event = mimi.FanoutCommit{Commit: m}
			}
		}
		mimi.FanoutMessage{Millis: 1, Event: event}.AppendTo(&w)
	}
	return w.Bytes()
}

func TestLedgerFindsWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		items func(proposal, commit, message []byte) [][][]byte // by item
		want  string                                            // of the error; empty for none
	}{
		"all in order":         {func(p, c, m []byte) [][][]byte { return [][][]byte{{m}, {p}, {c}} }, ""},
		"in one item":          {func(p, c, m []byte) [][][]byte { return [][][]byte{{p, c, m}} }, ""},
		"a message is lost":    {func(p, c, m []byte) [][][]byte { return [][][]byte{{p}, {c}} }, "never received"},
		"a message came twice": {func(p, c, m []byte) [][][]byte { return [][][]byte{{m}, {p}, {c}, {m}} }, "twice"},
		"the Commit came first": {func(p, c, m []byte) [][][]byte {
			return [][][]byte{{m}, {c}, {p}}
		}, "propose_rename after commit_rename"},
	} {
		t.Run(name, func(t *testing.T) {
			l, proposal, commit, message := account(t)
			for i, item := range test.items(proposal, commit, message) {
				for range 2 { // an item may be read again
					if err := l.receive(here, string(rune('a'+i)), body(t, item...)); err != nil {
						t.Fatal(err)
					}
				}
			}
			err := l.check(here)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if l.check(there) == nil {
				t.Error("a provider that received nothing has nothing to complain of")
			}
		})
	}
}

func TestPrepareSparesForeignFolders(t *testing.T) {
	folder := t.TempDir()
	precious := filepath.Join(folder, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := prepare(folder); err == nil {
		t.Error("a folder that something else made was taken")
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}
