package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parley/cmd/parley/replay"
	"parley/mls"
)

// recorded is a transcript with a step of each kind that a fixture's clients can send.
func recorded(t *testing.T, change func(*fixture), extensions ...mls.Extension) *fixture {
	t.Helper()
	f, alice := newFixture(t, extensions...)
	if change != nil {
		change(f)
	}
	bob, carol, dave := f.client("bob"), f.client("carol"), f.client("dave")
	packages := make(map[*fixtureClient]mls.KeyPackage)
	for _, c := range []*fixtureClient{bob, carol, dave} {
		k := f.keyPackage(c, nil)
		packages[c] = k
		f.step("key_package", map[string]any{"who": c.name, "file": f.put(c.name, &k), "ref": hex.EncodeToString([]byte(ok(k.Ref())(t)))})
	}
	f.epoch("create_group", alice, nil)
	path := f.leaf(alice, mls.LeafCommit{})
	f.ok(path.Sign(alice.key, mls.LeafPlace{GroupID: f.group.GroupID()}))
	f.commit("commit_update_path", alice, mls.Commit{Path: &mls.UpdatePath{Leaf: path}})
	bob.leaf = f.commit("commit_add", alice, mls.Commit{Proposals: []mls.ProposalOrRef{mls.InlineProposal{Proposal: mls.Add{KeyPackage: packages[bob]}}}}).Added[0].Leaf
	f.step("application", map[string]any{"file": f.put("application", f.private(mls.ContentApplication)), "from": "bob"})
	refs := []mls.ProposalOrRef{
		f.propose("external_proposal", f.message(f.hub, mls.ExternalSenderIndex(0), mls.Add{KeyPackage: packages[carol]})),
		f.propose("new_member_proposal", f.message(dave.key, mls.NewMemberProposal{}, mls.Add{KeyPackage: packages[dave]})),
	}
	f.commit("commit_by_ref", bob, mls.Commit{Proposals: refs})
	f.step("private_proposal", map[string]any{"file": f.put("private_proposal", f.private(mls.ContentProposal))})
	f.step("private_commit", map[string]any{"file": f.put("private_commit", f.private(mls.ContentCommit))})
	return f
}

// stepOf is the first step of a kind.
func (f *fixture) stepOf(kind string) map[string]any {
	f.t.Helper()
	for _, s := range f.steps {
		if s["kind"] == kind {
			return s
		}
	}
	f.t.Fatalf("no step %s", kind)
	return nil
}

func TestReplay(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*fixture) // before the clients send anything
		edit   func(*fixture) // of the manifest
		flags  []string
	}{
		"separate_tree": {},
		"embedded_tree": {change: func(f *fixture) { f.embed = true }},
		"embedded_tree_alone": {change: func(f *fixture) { f.embed = true }, edit: func(f *fixture) {
			for _, s := range f.steps {
				delete(s, "ratchet_tree")
			}
		}},
		"least": {edit: func(f *fixture) {
			for _, s := range f.steps {
				keep := map[string]any{"kind": s["kind"], "file": s["file"], "commit": s["commit"]}
				if s["kind"] == "create_group" {
					keep["ratchet_tree"], keep["group_info"] = s["ratchet_tree"], s["group_info"]
				}
				clear(s)
				for k, v := range keep {
					if v != nil {
						s[k] = v
					}
				}
			}
		}},
		"json": {flags: []string{"--json"}},
		"refused_and_stayed": {edit: func(f *fixture) {
			after := f.stepOf("commit_by_ref")
			private := f.stepOf("private_commit")
			again := map[string]any{"kind": "commit_again", "commit": f.stepOf("commit_add")["commit"]}
			for _, field := range []string{"epoch", "tree_hash", "confirmed_transcript_hash", "confirmation_tag", "group_context", "ratchet_tree", "group_info"} {
				private[field], again[field] = after[field], after[field]
			}
			f.steps = append(f.steps, again)
		}},
		"one_by_one": {edit: func(f *fixture) {
			commit := f.stepOf("commit_by_ref")
			f.step("welcome", map[string]any{"welcome": commit["welcome"]})
			f.step("group_info", map[string]any{"file": commit["group_info"]})
			f.step("application", map[string]any{"file": f.stepOf("application")["file"]})
			add := f.stepOf("commit_add")
			add["used_group_info"], add["used_tree"] = f.stepOf("commit_update_path")["group_info"], f.stepOf("commit_update_path")["ratchet_tree"]
		}},
		"group_info_as_file": {edit: func(f *fixture) {
			s := f.stepOf("create_group")
			s["file"] = s["group_info"]
			delete(s, "group_info")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := recorded(t, test.change)
			if test.edit != nil {
				test.edit(f)
			}
			dir := f.save()
			got := parley(t, nil, append(append([]string{"mls", "replay"}, test.flags...), dir)...)
			if got.code != exitOK || got.stderr != "" {
				t.Errorf("exit code %d, %s", got.code, got.stderr)
			}
			golden(t, "replay_"+name+".txt", dir, got.stdout)
		})
	}
}

// flip changes the last bit of a file of the folder.
func (f *fixture) flip(name any) {
	f.t.Helper()
	file := f.path(fmt.Sprint(name))
	b := ok(os.ReadFile(file))(f.t)
	b[len(b)-1] ^= 1
	f.ok(os.WriteFile(file, b, 0o600))
}

func flipHex(s any) string {
	b, _ := hex.DecodeString(fmt.Sprint(s))
	b[0] ^= 1
	return hex.EncodeToString(b)
}

// TestReplayDiffers has one thing wrong in each transcript, which the replay must name, and no step after it may suffer.
func TestReplayDiffers(t *testing.T) {
	for name, test := range map[string]struct {
		edit  func(*fixture)
		wrong int // steps
		want  []string
		flags []string
	}{
		"epoch": {func(f *fixture) { f.stepOf("commit_add")["epoch"] = 3 }, 1, []string{"epoch\n", "expected  3", "got       9"}, nil},
		"tree_hash": {func(f *fixture) {
			s := f.stepOf("commit_add")
			s["tree_hash"] = flipHex(s["tree_hash"])
		}, 1, []string{"commit_add                         DIFFERS 010-commit_add.bin: epoch 8 → 9", "tree_hash"}, nil},
		"confirmed_transcript_hash": {func(f *fixture) {
			s := f.stepOf("commit_by_ref")
			s["confirmed_transcript_hash"] = flipHex(s["confirmed_transcript_hash"])
		}, 1, []string{"confirmed_transcript_hash"}, nil},
		"confirmation_tag": {func(f *fixture) {
			s := f.stepOf("create_group")
			s["confirmation_tag"] = flipHex(s["confirmation_tag"])
		}, 1, []string{"confirmation_tag"}, nil},
		"ref": {func(f *fixture) {
			s := f.stepOf("key_package")
			s["ref"] = flipHex(s["ref"])
		}, 1, []string{"ref\n"}, nil},
		"reference of a Proposal": {func(f *fixture) { f.stepOf("external_proposal")["ref"] = "00" }, 1, []string{"ref\n", "expected  00"}, nil},
		"committer":               {func(f *fixture) { f.stepOf("commit_add")["committer"] = 4 }, 1, []string{"committer", "leaf 4", "leaf 0"}, nil},
		"suite":                   {func(f *fixture) { f.stepOf("create_group")["kind"] = "create_group" }, 1, []string{"suite_id", "expected  5", "got       1"}, []string{"suite"}},
		"group_context": {func(f *fixture) {
			s := f.stepOf("commit_add")
			c := ok(mls.ParseGroupContext(ok(os.ReadFile(f.path(fmt.Sprint(s["group_context"]))))(f.t)))(f.t)
			c.Epoch, c.Extensions = 12, mls.Extensions{{Type: 0xf00f, Data: []byte{1}}}
			f.ok(os.WriteFile(f.path(fmt.Sprint(s["group_context"])), c.Marshal(), 0o600))
		}, 1, []string{"group_context.epoch", "expected  12", "group_context.extensions.0xf00f", "group_context.extensions.external_senders (0x0005)", "expected  absent"}, nil},
		"unreadable GroupContext": {func(f *fixture) {
			s := f.stepOf("commit_add")
			s["group_context"] = s["ratchet_tree"]
		}, 1, []string{"a GroupContext", "is a bare ratchet_tree"}, nil},
		"ratchet_tree": {func(f *fixture) { f.flip(f.stepOf("commit_add")["ratchet_tree"]) }, 1, []string{"ratchet_tree: node 2 (leaf 1)", "mimi://a.example/d/bob"}, nil},
		"another epoch's tree": {func(f *fixture) {
			f.stepOf("commit_add")["ratchet_tree"] = f.stepOf("commit_update_path")["ratchet_tree"]
		}, 1, []string{"ratchet_tree: node 2 (leaf 1)", "expected  blank"}, nil},
		"signature of the GroupInfo": {func(f *fixture) { f.flip(f.stepOf("commit_add")["group_info"]) }, 1, []string{"group_info.signature", "the signature is wrong (RFC 9420 §12.4.3)"}, nil},
		"another epoch's GroupInfo": {func(f *fixture) {
			f.stepOf("commit_add")["group_info"] = f.stepOf("commit_update_path")["group_info"]
		}, 1, []string{"group_info.group_context.epoch", "expected  8", "got       9"}, nil},
		"signature of a Commit": {func(f *fixture) { f.flipCommit("commit_add") }, 1, []string{"refused: the signature of the message is wrong (RFC 9420 §6.1)", "accepted: it begins epoch 9", "goes on from the step's GroupInfo and tree, in epoch 9"}, nil},
		"a refused Commit tells a tree alone": {func(f *fixture) {
			f.step("commit_again", map[string]any{"commit": f.stepOf("commit_add")["commit"], "tree_hash": f.stepOf("commit_by_ref")["tree_hash"]})
		}, 1, []string{"the message is of epoch 8, the group in epoch 10"}, nil},
		"signature of a Proposal": {func(f *fixture) { f.flip(f.stepOf("new_member_proposal")["file"]) }, 2, []string{"refused: the signature of the message is wrong (RFC 9420 §6.1)", "names 1 unknown proposals", "unknown Proposal: reference", "pending in epoch 9: "}, nil},
		"signature of a KeyPackage": {func(f *fixture) { f.flip(f.stepOf("key_package")["file"]) }, 1, []string{
			"refused: the signature of the KeyPackage is wrong (RFC 9420 §10.1)", "ref\n"}, nil},
		"expired KeyPackages": {func(*fixture) {}, 7, []string{"has expired", "2027-04-15T08:00:00Z", "RFC 9420 §7.3", ": refused at step 8"}, []string{"--at=2028-01-01"}},
		"Welcome of another": {func(f *fixture) { f.stepOf("commit_add")["welcome"] = f.stepOf("commit_by_ref")["welcome"] }, 1, []string{
			"welcome", "for 2 clients that are not the 1 added ones (RFC 9420 §12.4.3.1)"}, nil},
		"Welcome for nobody": {func(f *fixture) { f.stepOf("commit_update_path")["welcome"] = f.stepOf("commit_add")["welcome"] }, 1, []string{"for 1 clients that are not the 0 added ones"}, nil},
		"an encrypted Commit is expected to pass": {func(f *fixture) {
			f.stepOf("commit_add")["commit"] = f.stepOf("private_commit")["file"]
		}, 1, []string{"accepted: it begins epoch 9", "refused: a commit in a PrivateMessage"}, nil},
		"an encrypted Proposal is expected to pass": {func(f *fixture) {
			f.stepOf("external_proposal")["file"] = f.stepOf("private_proposal")["file"]
			delete(f.stepOf("external_proposal"), "ref")
		}, 2, []string{"sent a Proposal in a PrivateMessage, which a hub cannot read"}, nil},
		"a readable Commit is to be refused": {func(f *fixture) {
			f.stepOf("private_commit")["file"] = f.stepOf("commit_add")["commit"]
		}, 1, []string{"a handshake in a PrivateMessage, for the hub to refuse", "commit in a PublicMessage"}, nil},
		"a Commit twice": {func(f *fixture) {
			f.step("commit_again", map[string]any{"commit": f.stepOf("commit_add")["commit"]})
		}, 1, []string{"the message is of epoch 8, the group in epoch 10"}, nil},
		"an application message ahead": {func(f *fixture) {
			m := f.private(mls.ContentApplication)
			m.Epoch += 3
			f.stepOf("application")["file"] = f.put("ahead", m)
		}, 1, []string{"at most 9, the group's epoch"}, nil},
		"an application message of long ago": {func(f *fixture) {
			m := f.private(mls.ContentApplication)
			m.Epoch = 7
			f.step("application", map[string]any{"file": f.put("old", m)})
		}, 1, []string{"at least 8, since the group is in epoch 10"}, nil},
		"an application message of another group": {func(f *fixture) {
			m := f.private(mls.ContentApplication)
			m.GroupID = "other"
			f.step("application", map[string]any{"file": f.put("other", m)})
		}, 1, []string{"group_id"}, nil},
		"a Proposal for an application message": {func(f *fixture) {
			f.stepOf("application")["file"] = f.stepOf("external_proposal")["file"]
		}, 1, []string{"application data in a PrivateMessage", "proposal in a PublicMessage"}, nil},
		"confirmation tag of the GroupInfo": {func(f *fixture) {
			f.editInfo("commit_update_path", func(info *mls.GroupInfo) { info.ConfirmationTag = f.random(32) })
		}, 1, []string{"group_info.confirmation_tag"}, nil},
		"another embedded tree": {func(f *fixture) {
			f.editInfo("commit_update_path", func(info *mls.GroupInfo) {
				info.Extensions = info.Extensions.With(mls.ExtensionRatchetTree, f.group.Tree().Marshal())
			})
		}, 1, []string{"group_info.extensions.ratchet_tree: node 2 (leaf 1)"}, nil},
		"signer of the GroupInfo": {func(f *fixture) {
			f.editInfo("commit_update_path", func(info *mls.GroupInfo) { info.Signer = 5 })
		}, 1, []string{"group_info.signer", "leaf 5 is blank (RFC 9420 §12.4.3)"}, nil},
		"what one who joined had been given": {func(f *fixture) {
			s := f.stepOf("commit_add")
			s["used_group_info"], s["used_tree"] = s["group_info"], s["ratchet_tree"]
		}, 1, []string{"used_group_info.group_context.epoch", "used_tree: node 2 (leaf 1)"}, nil},
		"a Welcome of another Commit, by itself": {func(f *fixture) {
			f.step("welcome", map[string]any{"welcome": f.stepOf("commit_add")["welcome"]})
		}, 1, []string{"a Welcome for the clients that the last Commit adds", "for 1 clients that are not the 2 added ones"}, nil},
		"application data in the clear": {func(f *fixture) {
			m := f.message(f.hub, mls.MemberSender{}, mls.ApplicationData("hello"))
			f.step("message", map[string]any{"file": f.put("clear", m)})
		}, 1, []string{"must not be sent in the clear (RFC 9420 §6.1)"}, nil},
		"a file is cut short": {func(f *fixture) {
			file := f.path(fmt.Sprint(f.stepOf("commit_add")["commit"]))
			f.ok(os.Truncate(file, 40))
		}, 1, []string{"an MLSMessage", "cannot be read: MLSMessage.public_message"}, nil},
		"a bare KeyPackage": {func(f *fixture) {
			file := f.path(fmt.Sprint(f.stepOf("key_package")["file"]))
			f.ok(os.WriteFile(file, ok(os.ReadFile(file))(f.t)[4:], 0o600))
		}, 1, []string{"an MLSMessage", "is a bare KeyPackage"}, nil},
		"no step creates a group": {func(f *fixture) {
			f.steps = f.steps[len(f.steps)-1:]
		}, 1, []string{"no step before has created a group"}, nil},
		"the group's tree is another": {func(f *fixture) {
			f.stepOf("create_group")["ratchet_tree"] = f.stepOf("commit_add")["ratchet_tree"]
		}, 2, []string{"refused: the tree is not the one that the GroupContext hashes (RFC 9420 §12.4.3.1)", "not tried: the hub could not follow the group at step 4"}, nil},
		"no tree at all": {func(f *fixture) { delete(f.stepOf("create_group"), "ratchet_tree") }, 2, []string{"names no ratchet_tree, and the GroupInfo embeds none"}, nil},
		"an external Commit that is none": {func(f *fixture) { f.stepOf("commit_add")["kind"] = "external_commit" }, 1, []string{
			"an external Commit, by sender new_member_commit", "a Commit by member, leaf 0"}, nil},
		"nothing is sent": {func(f *fixture) { f.step("silence", nil) }, 1, []string{"the step names a file, commit or welcome"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := recorded(t, nil)
			test.edit(f)
			dir := f.save()
			flags := test.flags
			if len(flags) == 1 && flags[0] == "suite" {
				flags = nil
				f.editManifest(`"suite_id":1`, `"suite_id":5`)
			}
			got := parley(t, nil, append(append([]string{"mls", "replay"}, flags...), dir)...)
			last := fmt.Sprintf("%d steps, %d ok\n", len(f.steps), len(f.steps)-test.wrong)
			if got.code != exitError || got.stderr != "" || !strings.HasSuffix(got.stdout, last) {
				t.Errorf("exit code %d, %s, want %q last in\n%s", got.code, got.stderr, last, got.stdout)
			}
			for _, want := range test.want {
				if !strings.Contains(got.stdout, want) {
					t.Errorf("no %q in\n%s", want, got.stdout)
				}
			}
			var report struct {
				Count, OK int
				Steps     []struct {
					OK          bool
					Differences []struct{ Field, Expected, Got string }
				}
			}
			machine := parley(t, nil, append(append([]string{"mls", "replay", "--json"}, flags...), dir)...)
			if err := json.Unmarshal([]byte(machine.stdout), &report); err != nil || machine.code != exitError {
				t.Fatalf("as JSON: exit code %d, %v", machine.code, err)
			}
			if report.Count != len(f.steps) || report.OK != len(f.steps)-test.wrong {
				t.Errorf("as JSON: %d of %d ok", report.OK, report.Count)
			}
			for i, s := range report.Steps {
				if s.OK != (len(s.Differences) == 0) {
					t.Errorf("as JSON: step %d is ok: %v, with differences %v", i+1, s.OK, s.Differences)
				}
			}
		})
	}
}

// TestReplaySafeAAD has a group in which authenticated data has a form, and an application message without it.
func TestReplaySafeAAD(t *testing.T) {
	dictionary := mls.AppDataDictionary{{ID: mls.ComponentSafeAAD, Data: mls.ComponentsList{}.Marshal()}}
	f := recorded(t, func(f *fixture) { f.aad = mls.SafeAAD{}.Marshal() }, mls.Extension{Type: mls.ExtensionAppDataDictionary, Data: dictionary.Marshal()})
	if got := parley(t, nil, "mls", "replay", f.save()); got.code != exitOK {
		t.Fatalf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	f.aad = []byte("as I like")
	f.step("application", map[string]any{"file": f.put("application", f.private(mls.ContentApplication))})
	got := parley(t, nil, "mls", "replay", f.save())
	if got.code != exitError || !strings.Contains(got.stdout, "authenticated_data") || !strings.Contains(got.stdout, "mls-extensions Safe AAD") {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// editInfo changes the GroupInfo of a step of alice, and signs it anew.
func (f *fixture) editInfo(kind string, change func(*mls.GroupInfo)) {
	f.t.Helper()
	file := f.path(fmt.Sprint(f.stepOf(kind)["group_info"]))
	info := ok(mls.ParseMLSMessage(ok(os.ReadFile(file))(f.t)))(f.t).Body.(*mls.GroupInfo)
	change(info)
	f.ok(info.Sign(f.alice.key))
	f.ok(os.WriteFile(file, mls.MLSMessage{Body: info}.Marshal(), 0o600))
}

// flipCommit spoils the signature of a step's Commit, which stands before the two tags.
func (f *fixture) flipCommit(kind string) {
	f.t.Helper()
	file := f.path(fmt.Sprint(f.stepOf(kind)["commit"]))
	m := ok(mls.ParseMLSMessage(ok(os.ReadFile(file))(f.t)))(f.t)
	m.Body.(*mls.PublicMessage).Auth.Signature[5] ^= 1
	f.ok(os.WriteFile(file, m.Marshal(), 0o600))
}

// editManifest replaces text in the manifest that save has written.
func (f *fixture) editManifest(old, now string) {
	f.t.Helper()
	file := f.path("manifest.json")
	before := string(ok(os.ReadFile(file))(f.t))
	if !strings.Contains(before, old) {
		f.t.Fatalf("the manifest has no %s", old)
	}
	f.ok(os.WriteFile(file, []byte(strings.ReplaceAll(before, old, now)), 0o600))
}

// TestReplayUnreadable has transcripts that cannot be replayed at all.
func TestReplayUnreadable(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside.bin")
	if err := os.WriteFile(outside, []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		edit func(*fixture)
		want string
	}{
		"a missing file":     {func(f *fixture) { f.ok(os.Remove(f.path(fmt.Sprint(f.stepOf("application")["file"])))) }, "step 7: application (file): "},
		"a path that climbs": {func(f *fixture) { f.editManifest(`"000-bob.bin"`, `"../000-bob.bin"`) }, `"../000-bob.bin" leads out of the folder`},
		"an absolute path":   {func(f *fixture) { f.editManifest(`"000-bob.bin"`, fmt.Sprintf("%q", outside)) }, "leads out of the folder"},
		"a link that climbs": {func(f *fixture) {
			f.ok(os.Remove(f.path("000-bob.bin")))
			f.ok(os.Symlink(outside, f.path("000-bob.bin")))
		}, "step 1: key_package (file): "},
		"a folder for a file":    {func(f *fixture) { f.ok(os.Remove(f.path("000-bob.bin"))); f.ok(os.Mkdir(f.path("000-bob.bin"), 0o700)) }, "is not a file"},
		"broken JSON":            {func(f *fixture) { f.editManifest(`"steps"`, `steps`) }, "manifest.json: invalid character"},
		"no steps":               {func(f *fixture) { f.editManifest(`"steps"`, `"other"`) }, "there are no steps"},
		"no kind":                {func(f *fixture) { f.editManifest(`"kind":"application"`, `"sort":"application"`) }, "step 7: the step has no kind"},
		"a hash in no digits":    {func(f *fixture) { f.editManifest(`"tree_hash":"`, `"tree_hash":"xy`) }, "is not in hexadecimal digits"},
		"an epoch of words":      {func(f *fixture) { f.editManifest(`"epoch":"9"`, `"epoch":"nine"`) }, `"nine" is not a whole number`},
		"a time in another unit": {func(f *fixture) { f.editManifest(`"generated_at":`, `"generated_at":1000000`) }, "is not a time in seconds since 1970"},
		"no manifest":            {func(f *fixture) { f.ok(os.Remove(f.path("manifest.json"))) }, "is no transcript"},
	} {
		t.Run(name, func(t *testing.T) {
			f := recorded(t, nil)
			dir := f.save()
			test.edit(f)
			got := parley(t, nil, "mls", "replay", dir)
			if got.code != exitUsage || got.stdout != "" || !strings.Contains(got.stderr, test.want) {
				t.Errorf("exit code %d, printed %q; no %q in %q", got.code, got.stdout, test.want, got.stderr)
			}
		})
	}
}

// TestReplayTime sees that lifetimes are judged at --at, else when the transcript was made, else now.
func TestReplayTime(t *testing.T) {
	f := recorded(t, nil)
	dir := f.save()
	for name, test := range map[string]struct {
		now  string // the manifest's generated_at
		args []string
		code int
		want string
	}{
		"as generated": {`"generated_at":1800000000`, nil, exitOK, "as of 2027-01-15T08:00:00Z"},
		"in a string":  {`"generated_at":"1800000001"`, nil, exitOK, "as of 2027-01-15T08:00:01Z"},
		"in RFC 3339":  {`"generated_at":"2027-01-15T08:00:02Z"`, nil, exitOK, "as of 2027-01-15T08:00:02Z"},
		"too late":     {`"generated_at":1900000000`, nil, exitError, "has expired"},
		"given":        {`"generated_at":1900000000`, []string{"--at", "2027-01-16"}, exitOK, "as of 2027-01-16T00:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			f.save()
			f.editManifest(`"generated_at":1800000000`, test.now)
			got := parley(t, nil, append(append([]string{"mls", "replay"}, test.args...), dir)...)
			if got.code != test.code || !strings.Contains(got.stdout, test.want) {
				t.Errorf("exit code %d, no %q in\n%s%s", got.code, test.want, got.stdout, got.stderr)
			}
		})
	}
}

// TestReplayRecording replays what OpenMLS clients recorded for the development clusters: paths, an external Commit, component
// updates by value and by reference, and embedded trees nowhere.
func TestReplayRecording(t *testing.T) {
	var recording struct {
		GeneratedAt uint64 `json:"generated_at"`
		Steps       []map[string]json.RawMessage
		Branches    struct{ Alice []map[string]json.RawMessage }
		Race        struct{ Alice map[string]json.RawMessage }
	}
	if err := json.Unmarshal(ok(os.ReadFile(filepath.Join("dev", "conversation", "manifest.json")))(t), &recording); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var steps []map[string]any
	all := append(append(recording.Steps, recording.Race.Alice), recording.Branches.Alice...)
	for i, s := range all {
		var kind string
		if err := json.Unmarshal(s["kind"], &kind); err != nil {
			t.Fatal(err)
		}
		if kind == "refused_commit" {
			continue
		}
		out := map[string]any{"kind": kind}
		for field, to := range map[string]string{"commit": "commit", "proposal": "file", "message": "file", "welcome": "welcome",
			"group_info": "group_info", "ratchet_tree": "ratchet_tree", "group_context": "group_context"} {
			var text string
			if s[field] == nil || json.Unmarshal(s[field], &text) != nil {
				continue
			}
			name := fmt.Sprintf("%03d-%s", i, field)
			if err := os.WriteFile(filepath.Join(dir, name), ok(base64.StdEncoding.DecodeString(text))(t), 0o600); err != nil {
				t.Fatal(err)
			}
			out[to] = name
		}
		var after map[string]any
		if s["after"] != nil {
			if err := json.Unmarshal(s["after"], &after); err != nil {
				t.Fatal(err)
			}
			out["epoch"] = after["epoch"]
			for _, field := range []string{"tree_hash", "confirmed_transcript_hash", "confirmation_tag"} {
				out[field] = after[field+"_hex"]
			}
		}
		steps = append(steps, out)
	}
	manifest := ok(json.Marshal(map[string]any{"generated_at": recording.GeneratedAt, "steps": steps}))(t)
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	got := parley(t, nil, "mls", "replay", dir)
	if want := fmt.Sprintf("%d steps, %d ok\n", len(steps), len(steps)); got.code != exitOK || !strings.HasSuffix(got.stdout, want) {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	if !strings.Contains(got.stdout, "from outside") || !strings.Contains(got.stdout, "app_data_update by reference") {
		t.Errorf("the recording has no external Commit, or no update by reference:\n%s", got.stdout)
	}
}

// TestReplayTranscripts replays the transcripts of real clients, where they are there.
func TestReplayTranscripts(t *testing.T) {
	dir := os.Getenv("PARLEY_MLS_TRANSCRIPTS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "mls-transcripts")
	}
	manifests, err := filepath.Glob(filepath.Join(dir, "*", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(manifests) == 0 {
		t.Skipf("no transcripts in %s; set PARLEY_MLS_TRANSCRIPTS to run this test", dir)
	}
	for _, manifest := range manifests {
		folder := filepath.Dir(manifest)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			var said struct{ Steps []any }
			if err := json.Unmarshal(ok(os.ReadFile(manifest))(t), &said); err != nil {
				t.Fatal(err)
			}
			got := parley(t, nil, "mls", "replay", folder)
			if want := fmt.Sprintf("%d steps, %d ok\n", len(said.Steps), len(said.Steps)); got.code != exitOK || !strings.HasSuffix(got.stdout, want) {
				t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
			}
		})
	}
}

// TestReplayMutations changes each file of a transcript here and there. Whatever it holds then, the replay comes to an end; what the
// hub computes itself is compared to the last bit.
func TestReplayMutations(t *testing.T) {
	f := recorded(t, nil)
	dir := f.save()
	play := func(what string) (good bool) {
		transcript, err := replay.Load(dir)
		if err != nil {
			return false
		}
		report := transcript.Play(fixtureNow)
		if err := errors.Join(report.WriteText(io.Discard), report.WriteJSON(io.Discard)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return report.Good()
	}
	if !play("unchanged") {
		t.Fatal("the transcript differs before it is changed")
	}
	for _, entry := range ok(os.ReadDir(dir))(t) {
		file := f.path(entry.Name())
		whole := ok(os.ReadFile(file))(t)
		computed := strings.HasSuffix(entry.Name(), "group_context.bin") || strings.HasSuffix(entry.Name(), "ratchet_tree.bin")
		step := max(1, len(whole)/9)
		for i := 0; i < len(whole); i += step {
			changed := bytes.Clone(whole)
			changed[i] ^= 0x41
			for what, content := range map[string][]byte{"changed": changed, "cut": whole[:i]} {
				f.ok(os.WriteFile(file, content, 0o600))
				if at := fmt.Sprintf("%s, %s at %d", entry.Name(), what, i); play(at) && computed {
					t.Errorf("%s: no difference", at)
				}
			}
		}
		f.ok(os.WriteFile(file, whole, 0o600))
	}
}
