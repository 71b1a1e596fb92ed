package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"parley/mls"
)

var rewrite = flag.Bool("rewrite", false, "write what happens into testdata instead of comparing with it")

// outcome is what a run of the program left.
type outcome struct {
	code           int
	stdout, stderr string
}

// parley runs the program itself.
func parley(t *testing.T, stdin []byte, arguments ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command := exec.Command(ok(os.Executable())(t), arguments...)
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{command.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// golden compares output with a file of testdata. Where the output names the folder of a fixture, the file has "DIR".
func golden(t *testing.T, name, dir, got string) {
	t.Helper()
	got = strings.ReplaceAll(got, dir, "DIR")
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := string(ok(os.ReadFile(file))(t)); got != want {
		t.Errorf("%s: the output is\n%s\nwant\n%s", file, got, want)
	}
}

// atFixture is the flag for the fixtures' time.
var atFixture = fmt.Sprintf("--at=%d", fixtureNow)

// inspected is a folder with one file of each kind, by name.
func inspected(t *testing.T) (*fixture, map[string]string) {
	f, alice := newFixture(t)
	bob := f.client("bob")
	info := f.groupInfo(alice)
	k := f.keyPackage(bob, func(k *mls.KeyPackage) {
		k.Extensions = mls.Extensions{{Type: mls.ExtensionAppDataDictionary, Data: mls.AppDataDictionary{{ID: mls.ComponentLastResort}}.Marshal()}}
	})
	files := map[string]string{
		"key_package":   f.put("key_package", &k),
		"group_info":    f.put("group_info", &info),
		"group_context": f.write("group_context", f.group.ContextBytes()),
		"ratchet_tree":  f.write("ratchet_tree", f.group.Tree().Marshal()),
	}
	own := f.message(bob.key, mls.NewMemberProposal{}, mls.Add{KeyPackage: k})
	files["proposal"] = f.put("proposal", own)
	f.pending[f.suite.ProposalRef(own.Authenticated())] = own
	files["application"] = f.put("application", f.private(mls.ContentApplication))
	staged := f.commit("commit", alice, mls.Commit{Proposals: []mls.ProposalOrRef{f.suite.ProposalRef(own.Authenticated())}})
	files["commit"] = fmt.Sprint(f.steps[0]["commit"])
	files["welcome"] = f.put("welcome", f.welcome(staged))
	for name, file := range files {
		files[name] = f.path(file)
	}
	return f, files
}

func TestInspect(t *testing.T) {
	f, files := inspected(t)
	for name, arguments := range map[string][]string{
		"key_package":    {files["key_package"]},
		"group_info":     {files["group_info"]},
		"ratchet_tree":   {files["ratchet_tree"]},
		"group_context":  {files["group_context"]},
		"welcome":        {files["welcome"]},
		"application":    {files["application"]},
		"commit_alone":   {files["commit"]},
		"proposal_alone": {files["proposal"]},
		"together": {files["group_info"], files["ratchet_tree"], files["group_context"], files["proposal"], files["commit"],
			files["welcome"], files["key_package"]},
		"json": {"--json", files["group_info"], files["ratchet_tree"], files["commit"], files["key_package"]},
	} {
		t.Run(name, func(t *testing.T) {
			got := parley(t, nil, append([]string{"mls", "inspect", atFixture}, arguments...)...)
			if got.code != exitOK || got.stderr != "" {
				t.Errorf("exit code %d, %s", got.code, got.stderr)
			}
			golden(t, "inspect_"+name+".txt", f.dir, got.stdout)
		})
	}
}

// TestInspectForms gives one KeyPackage in each form and encoding in which people have it.
func TestInspectForms(t *testing.T) {
	_, files := inspected(t)
	wrapped := ok(os.ReadFile(files["key_package"]))(t)
	bare := wrapped[4:]
	lines := func(s string) []byte {
		var out bytes.Buffer
		for ; len(s) > 64; s = s[64:] {
			fmt.Fprintln(&out, s[:64])
		}
		fmt.Fprintln(&out, s)
		return out.Bytes()
	}
	for name, test := range map[string]struct {
		content []byte
		title   string
	}{
		"MLSMessage":      {wrapped, "MLSMessage with a KeyPackage"},
		"bare":            {bare, "bare KeyPackage"},
		"hexadecimal":     {[]byte(hex.EncodeToString(wrapped)), "in hexadecimal"},
		"HEX in lines":    {lines(strings.ToUpper(hex.EncodeToString(bare))), "bare KeyPackage"},
		"0x":              {[]byte("0x" + hex.EncodeToString(wrapped) + "\r\n"), "in hexadecimal"},
		"base64":          {[]byte(base64.StdEncoding.EncodeToString(wrapped)), "in base64"},
		"base64 in lines": {lines(base64.StdEncoding.EncodeToString(bare)), "bare KeyPackage"},
		"base64 for URLs": {[]byte(base64.RawURLEncoding.EncodeToString(wrapped)), "in base64"},
	} {
		t.Run(name, func(t *testing.T) {
			got := parley(t, test.content, "mls", "inspect", atFixture, "-")
			if got.code != exitOK || !strings.Contains(got.stdout, test.title) || !strings.Contains(got.stdout, "mimi://a.example/d/bob") {
				t.Errorf("exit code %d, %s\n%s", got.code, got.stderr, got.stdout)
			}
		})
	}
}

// TestInspectInvalid has one thing wrong in each file; everything else is signed and hashed anew.
func TestInspectInvalid(t *testing.T) {
	f, alice := newFixture(t)
	bob := f.client("bob")
	keyPackage := func(change func(*mls.KeyPackage)) []byte {
		k := f.keyPackage(bob, change)
		return mls.MLSMessage{Body: &k}.Marshal()
	}
	after := func(change func(*mls.KeyPackage)) []byte {
		k := f.keyPackage(bob, nil)
		change(&k)
		return mls.MLSMessage{Body: &k}.Marshal()
	}
	info := func(change func(*mls.GroupInfo)) []byte {
		f.embed = true
		g := f.groupInfo(alice)
		change(&g)
		f.ok(g.Sign(alice.key))
		return mls.MLSMessage{Body: &g}.Marshal()
	}
	message := func(from mls.Sender, body mls.Content) []byte {
		return mls.MLSMessage{Body: f.message(bob.key, from, body)}.Marshal()
	}
	unsigned := f.groupInfo(alice)
	unsigned.Signature = f.random(64)
	unsigned.Extensions = unsigned.Extensions.With(mls.ExtensionRatchetTree, f.group.Tree().Marshal())
	leaf := *f.group.Tree().Leaf(0)
	leaf.Signature = f.random(64)
	context := f.group.Context()
	context.TreeHash = context.TreeHash[1:]
	update := f.leaf(bob, mls.LeafUpdate{})
	f.ok(update.Sign(bob.key, mls.LeafPlace{GroupID: "another", Leaf: 1}))
	valid, twice := keyPackage(nil), mls.KeyPackageRef(f.random(32))
	for name, test := range map[string]struct {
		content []byte
		want    []string
	}{
		"expired":            {keyPackage(func(k *mls.KeyPackage) { k.Leaf.Source = mls.Lifetime{NotBefore: 1, NotAfter: fixtureNow - 1} }), []string{"has expired", "2027-01-15T07:59:59Z", "§7.3"}},
		"not yet valid":      {keyPackage(func(k *mls.KeyPackage) { k.Leaf.Source = mls.Lifetime{NotBefore: fixtureNow + 1, NotAfter: 1 << 63} }), []string{"not valid yet", "§7.3"}},
		"wrong source":       {keyPackage(func(k *mls.KeyPackage) { k.Leaf.Source = mls.LeafUpdate{} }), []string{"another source", "§10.1"}},
		"one key for two":    {keyPackage(func(k *mls.KeyPackage) { k.InitKey = k.Leaf.EncryptionKey }), []string{"are the same", "§10.1"}},
		"bad init_key":       {keyPackage(func(k *mls.KeyPackage) { k.InitKey = make([]byte, 32) }), []string{"init_key is not a key", "§10"}},
		"signature":          {after(func(k *mls.KeyPackage) { k.Signature[0] ^= 1 }), []string{"the signature of the KeyPackage is wrong", "§10.1"}},
		"leaf signature":     {after(func(k *mls.KeyPackage) { k.Leaf.Signature[0] ^= 1 }), []string{"KeyPackage's leaf is wrong", "§7.3"}},
		"own version":        {keyPackage(func(k *mls.KeyPackage) { k.Leaf.Capabilities.Versions = nil }), []string{"own version, mls10", "§11.1"}},
		"own suite":          {keyPackage(func(k *mls.KeyPackage) { k.Leaf.Capabilities.Suites = []mls.CipherSuite{2} }), []string{"own cipher suite, MLS_128_DHKEMX25519", "§11.1"}},
		"own credential":     {keyPackage(func(k *mls.KeyPackage) { k.Leaf.Capabilities.Credentials = nil }), []string{"own credential type, basic", "§7.3"}},
		"extension unlisted": {keyPackage(func(k *mls.KeyPackage) { k.Leaf.Extensions = mls.Extensions{{Type: 0xf00f}} }), []string{"0xf00f", "does not list", "§7.3"}},
		"expired and broken": {after(func(k *mls.KeyPackage) {
			k.Leaf.Source = mls.Lifetime{NotBefore: 1, NotAfter: 2}
		}), []string{"has expired", "KeyPackage's leaf is wrong"}},
		"suite unknown":       {keyPackage(func(k *mls.KeyPackage) { k.Suite = 0x0a0a }), []string{"GREASE (0x0a0a)", "not supported", "§5.1"}},
		"truncated":           {valid[:len(valid)-1], []string{"nothing that can be read", "MLSMessage.key_package.signature: needs 64 bytes, 63 left", "§6"}},
		"trailing":            {append(valid[:len(valid):len(valid)], 0), []string{"1 trailing bytes", "§6"}},
		"truncated hex":       {[]byte(hex.EncodeToString(valid[:50])), []string{"in hexadecimal", "MLSMessage.key_package"}},
		"empty":               {nil, []string{"the file is empty"}},
		"noise":               {[]byte("hello, world"), []string{"MLSMessage.version", "ratchet_tree"}},
		"tree hash":           {info(func(g *mls.GroupInfo) { g.Context.TreeHash = f.random(32) }), []string{"not the one that the GroupContext hashes", "§12.4.3.1"}},
		"GroupInfo signature": {unsigned.Marshal(), []string{"bare GroupInfo", "the signature of the GroupInfo is wrong", "§12.4.3"}},
		"signer":              {info(func(g *mls.GroupInfo) { g.Signer = 3 }), []string{"signer 3 is not a member", "§12.4.3"}},
		"external_pub": {info(func(g *mls.GroupInfo) {
			g.Extensions = g.Extensions.With(mls.ExtensionExternalPub, mls.ExternalPub{Key: []byte{1}}.Marshal())
		}), []string{"external_pub is not a key", "§12.4.3.2"}},
		"embedded tree":    {info(func(g *mls.GroupInfo) { g.Extensions = g.Extensions.With(mls.ExtensionRatchetTree, []byte{0}) }), []string{"embedded ratchet_tree cannot be read", "the tree is empty", "§12.4.3.3"}},
		"confirmation tag": {info(func(g *mls.GroupInfo) { g.ConfirmationTag = nil }), []string{"confirmation tag has 0 bytes", "§12.4.3"}},
		"tree":             {ok(mls.NewRatchetTree([][]byte{leafNode(leaf)}))(t).Marshal(), []string{"bare ratchet_tree", "the signature of leaf 0 is wrong", "§7.3"}},
		"context":          {context.Marshal(), []string{"bare GroupContext", "tree_hash has 31 bytes", "§7.8"}},
		"welcome":          {mls.MLSMessage{Body: &mls.Welcome{Suite: 1}}.Marshal(), []string{"the Welcome is for nobody", "§12.4.3.1"}},
		"kem_output": {mls.MLSMessage{Body: &mls.Welcome{Suite: 1, Secrets: []mls.EncryptedGroupSecrets{{
			NewMember: mls.KeyPackageRef(f.random(32)), Secrets: mls.HPKECiphertext{KEMOutput: make([]byte, 32)},
		}}}}.Marshal(), []string{"kem_output for new member 0 is not a key of the suite", "§12.4.3.1"}},
		"new member twice": {mls.MLSMessage{Body: &mls.Welcome{Suite: 1, Secrets: []mls.EncryptedGroupSecrets{
			{NewMember: twice, Secrets: mls.HPKECiphertext{KEMOutput: f.hpkeKey()}}, {NewMember: twice, Secrets: mls.HPKECiphertext{KEMOutput: f.hpkeKey()}},
		}}}.Marshal(), []string{"new member 1 is named twice", "§12.4.3.1"}},
		"short reference": {mls.MLSMessage{Body: &mls.Welcome{Suite: 1, Secrets: []mls.EncryptedGroupSecrets{{
			NewMember: twice[1:], Secrets: mls.HPKECiphertext{KEMOutput: f.hpkeKey()},
		}}}}.Marshal(), []string{"named by 31 bytes", "§5.2"}},
		"application":     {message(mls.MemberSender{}, mls.ApplicationData("hello")), []string{"must not be sent in the clear", "§6.1"}},
		"external sender": {message(mls.ExternalSenderIndex(0), mls.Commit{}), []string{"an external sender may not send this", "§12.1.8"}},
		"own Remove":      {message(mls.NewMemberProposal{}, mls.Remove{}), []string{"its own Add alone", "§6.1"}},
		"own Add": {mls.MLSMessage{Body: f.message(alice.key, mls.NewMemberProposal{}, mls.Add{KeyPackage: f.keyPackage(bob, nil)})}.Marshal(),
			[]string{"the signature of the message is wrong", "§6.1"}},
		"no path": {message(mls.NewMemberCommit{}, mls.Commit{}), []string{"must send a Commit with a path", "§12.4.3.2"}},
		"Update":  {message(mls.MemberSender{Leaf: 1}, mls.Update{Leaf: update}), []string{"the signature of the Update's leaf is wrong", "§7.3"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := parley(t, test.content, "mls", "inspect", atFixture, "-")
			if got.code != exitError || got.stderr != "" || !strings.Contains(got.stdout, "INVALID") {
				t.Errorf("exit code %d, %s", got.code, got.stderr)
			}
			for _, want := range test.want {
				if !strings.Contains(got.stdout, want) {
					t.Errorf("no %q in\n%s", want, got.stdout)
				}
			}
			var report struct {
				Valid bool
				Files []struct {
					Problems []struct{ Section, Reason string }
				}
			}
			machine := parley(t, test.content, "mls", "inspect", "--json", atFixture, "-")
			if err := json.Unmarshal([]byte(machine.stdout), &report); err != nil || report.Valid || len(report.Files[0].Problems) == 0 || machine.code != exitError {
				t.Errorf("as JSON: exit code %d, %v, %+v", machine.code, err, report)
			}
		})
	}
}

// TestInspectTogether has files that are right by themselves and do not fit each other.
func TestInspectTogether(t *testing.T) {
	f, files := inspected(t)
	next := f.path(fmt.Sprint(f.steps[0]["ratchet_tree"]))
	for name, test := range map[string]struct {
		files []string
		code  int
		want  string
	}{
		"another epoch's tree":    {[]string{files["group_info"], next}, exitOK, "of the trees given, none has this hash"},
		"a Proposal is missing":   {[]string{files["group_info"], files["ratchet_tree"], files["commit"]}, exitOK, "names Proposals that are not among the files"},
		"another epoch's group":   {[]string{f.path(fmt.Sprint(f.steps[0]["group_info"])), next, files["commit"]}, exitOK, "it is of epoch 7, and DIR"},
		"a Commit, all there":     {[]string{files["group_info"], files["ratchet_tree"], files["commit"], files["proposal"]}, exitOK, "as a hub does in epoch 7"},
		"one of several is wrong": {[]string{files["key_package"], os.DevNull}, exitError, "2 files, 1 valid"},
	} {
		t.Run(name, func(t *testing.T) {
			got := parley(t, nil, append([]string{"mls", "inspect", atFixture}, test.files...)...)
			if out := strings.ReplaceAll(got.stdout, f.dir, "DIR"); got.code != test.code || !strings.Contains(out, test.want) {
				t.Errorf("exit code %d, no %q in\n%s%s", got.code, test.want, out, got.stderr)
			}
		})
	}
}

func TestMLSUsage(t *testing.T) {
	for name, arguments := range map[string][]string{
		"an unknown command":     {"nonsense"},
		"inspect nothing":        {"inspect"},
		"inspect no file":        {"inspect", "/nonexistent"},
		"inspect a folder":       {"inspect", "."},
		"standard input twice":   {"inspect", "-", "-"},
		"a wrong time":           {"inspect", "--at", "yesterday", "-"},
		"a time before 1970":     {"inspect", "--at=-1", "-"},
		"a time after all":       {"replay", "--at", "999999999999999", "."},
		"replay nothing":         {"replay"},
		"replay no folder":       {"replay", "/nonexistent"},
		"replay no transcript":   {"replay", "."},
		"replay a file":          {"replay", "mls.go"},
		"replay two transcripts": {"replay", ".", "."},
		"an unknown flag":        {"replay", "--nonsense", "."},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parley(t, nil, append([]string{"mls"}, arguments...)...); got.code != exitUsage || got.stdout != "" || !strings.HasPrefix(got.stderr, "parley: ") {
				t.Errorf("exit code %d, printed %q and %q", got.code, got.stdout, got.stderr)
			}
		})
	}
}

// TestInspectTime gives the time in each of its forms, at which a KeyPackage is just valid.
func TestInspectTime(t *testing.T) {
	_, files := inspected(t)
	for _, moment := range []string{"1799996400", "2027-01-15T07:00:00Z", "2027-01-15T08:00:00+01:00", "2027-04-15"} {
		if got := parley(t, nil, "mls", "inspect", "--at", moment, files["key_package"]); got.code != exitOK {
			t.Errorf("--at %s: exit code %d\n%s%s", moment, got.code, got.stdout, got.stderr)
		}
	}
}
