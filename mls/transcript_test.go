package mls

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// transcript is a recorded conversation of real clients.
type transcript struct {
	dir         string
	GeneratedAt uint64 `json:"generated_at"`
	Steps       []transcriptStep
}

type transcriptStep struct {
	Kind, File, Ref, Commit, Welcome string
	Committer                        *LeafIndex
	Leaf                             *LeafIndex
	Epoch                            string
	TreeHash                         hexBytes `json:"tree_hash"`
	Confirmed                        hexBytes `json:"confirmed_transcript_hash"`
	Tag                              hexBytes `json:"confirmation_tag"`
	Context                          string   `json:"group_context"`
	Tree                             string   `json:"ratchet_tree"`
	GroupInfo                        string   `json:"group_info"`
}

func loadTranscripts(t *testing.T) map[string]*transcript {
	t.Helper()
	dir := dataDir(t, "mls-transcripts", "PARLEY_MLS_TRANSCRIPTS")
	manifests, err := filepath.Glob(filepath.Join(dir, "*", "manifest.json"))
	if err != nil || len(manifests) == 0 {
		t.Fatalf("no transcripts in %s: %v", dir, err)
	}
	all := make(map[string]*transcript)
	for _, m := range manifests {
		script := loadJSON[*transcript](t, m)
		script.dir = filepath.Dir(m)
		all[filepath.Base(script.dir)] = script
	}
	return all
}

func (s *transcript) read(t *testing.T, file string) []byte {
	t.Helper()
	return must(os.ReadFile(filepath.Join(s.dir, file)))(t)
}

func (s *transcript) message(t *testing.T, file string) Body {
	t.Helper()
	return must(ParseMLSMessage(s.read(t, file)))(t).Body
}

// replay is a public group that follows a transcript.
type replay struct {
	*transcript
	group     *PublicGroup
	proposals map[ProposalRef]*PublicMessage
	commits   int
}

func TestTranscriptReplay(t *testing.T) {
	for name, script := range loadTranscripts(t) {
		t.Run(name, func(t *testing.T) {
			r := &replay{transcript: script, proposals: make(map[ProposalRef]*PublicMessage)}
			for _, step := range script.Steps {
				r.play(t, step)
			}
			if t.Logf("%d steps, %d Commits", len(script.Steps), r.commits); r.commits < 10 {
				t.Errorf("only %d Commits in the transcript", r.commits)
			}
		})
	}
}

func (r *replay) play(t *testing.T, step transcriptStep) {
	t.Helper()
	switch {
	case step.Kind == "key_package":
		kp := r.message(t, step.File).(*KeyPackage)
		if ref := must(kp.Ref())(t); ref != KeyPackageRef(must(hex.DecodeString(step.Ref))(t)) {
			t.Errorf("%s: reference %x, want %s", step.File, ref, step.Ref)
		}
		if err := kp.Verify(r.GeneratedAt); err != nil {
			t.Errorf("%s: %v", step.File, err)
		}
	case step.Kind == "create_group":
		tree := must(ParseRatchetTree(r.read(t, step.Tree)))(t)
		r.group = must(NewPublicGroup(*r.message(t, step.GroupInfo).(*GroupInfo), tree))(t)
		r.check(t, step, r.group)
	case step.Commit != "":
		r.commit(t, step)
	case step.Kind == "private_commit":
		if m := r.message(t, step.File).(*PrivateMessage); m.ContentType != ContentCommit {
			t.Errorf("%s: content type %d", step.File, m.ContentType)
		}
	case step.Kind == "application":
		if m := r.message(t, step.File).(*PrivateMessage); m.ContentType != ContentApplication || m.Epoch != r.group.Epoch() {
			t.Errorf("%s: content type %d, epoch %d", step.File, m.ContentType, m.Epoch)
		}
	default: // a proposal
		m := r.message(t, step.File).(*PublicMessage)
		ref, err := r.group.VerifyProposal(m, r.GeneratedAt)
		if err != nil {
			t.Fatalf("%s: %v", step.File, err)
		}
		r.proposals[ref] = m
	}
}

func (r *replay) input() CommitInput {
	return CommitInput{AtSeconds: r.GeneratedAt, Proposals: func(ref ProposalRef) (*PublicMessage, bool) {
		m, ok := r.proposals[ref]
		return m, ok
	}}
}

func (r *replay) commit(t *testing.T, step transcriptStep) {
	t.Helper()
	m := r.message(t, step.Commit).(*PublicMessage)
	staged, err := r.group.Stage(m, r.input())
	if err != nil {
		t.Fatalf("%s: %v", step.Commit, err)
	}
	r.commits++
	if !bytes.Equal(staged.ConfirmationTag, step.Tag) {
		t.Errorf("%s: confirmation tag %x, want %x", step.Commit, staged.ConfirmationTag, step.Tag)
	}
	committer := step.Committer
	if staged.External {
		committer = step.Leaf
	}
	if committer == nil || *committer != staged.Committer || staged.CommitterLeaf == nil {
		t.Errorf("%s: committer %d", step.Commit, staged.Committer)
	}
	var welcome *Welcome
	if step.Welcome != "" {
		welcome = r.message(t, step.Welcome).(*Welcome)
		if staged.CheckWelcome(nil) == nil {
			t.Errorf("%s: Adds without a Welcome pass", step.Commit)
		}
	}
	if err := staged.CheckWelcome(welcome); err != nil {
		t.Errorf("%s: %v", step.Commit, err)
	}
	checkChanges(t, r.group.Tree(), staged.After.Tree())
	checkRebuilt(t, staged.After.Tree(), r.group.Suite())
	r.group = staged.After
	r.check(t, step, r.group)
}

// check compares a group with all that the transcript says of its epoch.
func (r *replay) check(t *testing.T, step transcriptStep, g *PublicGroup) {
	t.Helper()
	if want := must(strconv.ParseUint(step.Epoch, 10, 64))(t); g.Epoch() != Epoch(want) {
		t.Errorf("%s: epoch %d, want %d", step.Kind, g.Epoch(), want)
	}
	if got := g.Context().TreeHash; !bytes.Equal(got, step.TreeHash) {
		t.Errorf("%s: tree hash %x, want %x", step.Kind, got, step.TreeHash)
	}
	if got := g.Context().ConfirmedTranscriptHash; !bytes.Equal(got, step.Confirmed) {
		t.Errorf("%s: confirmed transcript hash %x, want %x", step.Kind, got, step.Confirmed)
	}
	if want := r.read(t, step.Context); !bytes.Equal(g.ContextBytes(), want) {
		t.Errorf("%s: GroupContext %x, want %x", step.Kind, g.ContextBytes(), want)
	}
	if want := r.read(t, step.Tree); !bytes.Equal(g.Tree().Marshal(), want) {
		t.Errorf("%s: the tree differs", step.Kind)
	}
	info := r.message(t, step.GroupInfo).(*GroupInfo)
	if err := g.CheckGroupInfo(*info); err != nil {
		t.Errorf("%s: %v", step.Kind, err)
	}
	restored := must(RestorePublicGroup(g.ContextBytes(), must(NewRatchetTree(g.Tree().Nodes()))(t), g.InterimTranscriptHash()))(t)
	if err := restored.CheckGroupInfo(*info); err != nil {
		t.Errorf("%s, restored: %v", step.Kind, err)
	}
}
