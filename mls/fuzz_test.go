package mls

import (
	"bytes"
	"errors"
	"maps"
	"runtime"
	"runtime/metrics"
	"slices"
	"testing"
)

// samples are one or more encodings of each structure, made without any file.
func samples(t testing.TB) map[string][][]byte {
	w, founder := newWorld(t, 1)
	kp := w.keyPackage(w.client("b"))
	kp.Extensions = Extensions{{ExtensionAppDataDictionary, AppDataDictionary{{ComponentLastResort, nil}}.Marshal()}}
	x509 := kp.Leaf
	x509.Credential = X509Credential{Certificates: [][]byte{{1, 2}, {3}}}
	out := make(map[string][][]byte)
	put := func(structure string, v interface{ Marshal() []byte }) {
		out[structure] = append(out[structure], v.Marshal())
	}
	proposals := []Proposal{
		Add{kp}, Update{x509}, Remove{3}, PreSharedKey{PreSharedKeyID{ExternalPSK{[]byte("id")}, w.tag()}},
		PreSharedKey{PreSharedKeyID{ResumptionPSK{ResumptionBranch, "g", 7}, w.tag()}}, ReInit{GroupID: "g", Version: 1, Suite: 1},
		ExternalInit{[]byte("kem")}, GroupContextExtensions{kp.Extensions}, update(5, "five"), remove(5), AppEphemeral{5, []byte("x")}, SelfRemove{},
	}
	for _, p := range proposals {
		put("Proposal", p)
		put("PublicMessage", w.message(founder, MemberSender{}, p))
	}
	commit := Commit{Proposals: append(inline(proposals...), ProposalRef("ref")), Path: w.path(founder, w.group.Tree().clone())}
	commit.Path.Nodes = []UpdatePathNode{{EncryptionKey: []byte("key"), Secrets: []HPKECiphertext{{[]byte("kem"), []byte("ct")}}}}
	put("Commit", commit)
	put("UpdatePath", commit.Path)
	put("KeyPackage", kp)
	put("LeafNode", x509)
	put("LeafNode", commit.Path.Leaf)
	put("Capabilities", kp.Leaf.Capabilities)
	put("Credential", kp.Leaf.Credential)
	put("Credential", x509.Credential)
	put("Extensions", kp.Extensions)
	put("AppDataDictionary", AppDataDictionary{{1, []byte("a")}, {2, nil}})
	put("RequiredCapabilities", RequiredCapabilities{Extensions: []ExtensionType{6}, Proposals: []ProposalType{8}})
	senders := ExternalSenders{{SignatureKey: []byte("key"), Credential: kp.Leaf.Credential}}
	put("ExternalSenders", senders)
	put("ExternalSender", senders[0])
	put("ExternalPub", ExternalPub{[]byte("key")})
	put("GroupContext", w.group.Context())
	info := GroupInfo{Context: w.group.Context(), Extensions: kp.Extensions, ConfirmationTag: w.tag(), Signature: w.tag()}
	put("GroupInfo", info)
	welcome := Welcome{Suite: 1, Secrets: []EncryptedGroupSecrets{{"ref", HPKECiphertext{[]byte("kem"), []byte("ct")}}}, EncryptedGroupInfo: w.tag()}
	put("Welcome", welcome)
	private := PrivateMessage{GroupID: "g", ContentType: ContentApplication, Ciphertext: w.tag()}
	put("PrivateMessage", private)
	message := w.message(founder, MemberSender{}, commit)
	put("PublicMessage", message)
	put("PublicMessage", w.message(founder, ExternalSenderIndex(1), ApplicationData("hi")))
	put("PublicMessage", w.message(founder, NewMemberCommit{}, commit))
	put("AuthenticatedContent", message.Authenticated())
	for _, body := range []Body{message, &private, &welcome, &info, &kp} {
		put("MLSMessage", MLSMessage{body})
	}
	w.add(founder, "c", "d")
	w.accept(w.message(founder, MemberSender{}, Commit{Path: w.path(founder, w.group.Tree().clone())}), w.input())
	w.add(founder, "e", "f")
	put("RatchetTree", w.group.Tree())
	before := w.group.Tree()
	w.accept(w.message(founder, MemberSender{}, Commit{Path: w.path(founder, before.clone())}), w.input())
	put("TreePatch", w.group.Tree().PatchFrom(w.suite, before))
	put("ComponentsList", ComponentsList{1, 0x20})
	put("WireFormats", WireFormats{1, 0xf000})
	put("SafeAAD", SafeAAD{{1, []byte("one")}, {2, nil}})
	put("AppAck", AppAck{{1, 2, 3}, {4, 5, 5}})
	return out
}

func TestSamplesRoundTrip(t *testing.T) {
	all := samples(t)
	for structure := range codecs {
		if len(all[structure]) == 0 {
			t.Errorf("no sample of %s", structure)
		}
		for _, b := range all[structure] {
			checkRoundTrip(t, structure, b)
		}
	}
}

// TestCutShortOrTooLong sees every proper prefix of every sample refused, and a byte too many, with the field named.
func TestCutShortOrTooLong(t *testing.T) {
	for structure, list := range samples(t) {
		for _, b := range list {
			for n := range len(b) {
				wantMalformed(t, structure, b[:n:n])
			}
			wantMalformed(t, structure, append(slices.Clone(b), 0))
		}
	}
}

func wantMalformed(t *testing.T, structure string, b []byte) {
	t.Helper()
	_, err := codecs[structure](b)
	var malformed *MalformedError
	if !errors.As(err, &malformed) || malformed.Field == "" || malformed.Reason == "" {
		t.Fatalf("%s: %x gives %v", structure, b, err)
	}
}

func TestErrorsNameTheField(t *testing.T) {
	w, _ := newWorld(t, 1)
	kp := w.keyPackage(w.client("b"))
	kp.Leaf.Extensions = Extensions{{7, nil}, {8, nil}}
	b := kp.Marshal()
	twice := bytes.Replace(b, []byte{0, 7, 0, 0, 8, 0}, []byte{0, 7, 0, 0, 7, 0}, 1)
	long := bytes.Replace(b, []byte{0, 7, 0, 0, 8, 0}, []byte{0, 7, 0, 0, 8, 1}, 1)
	for want, b := range map[string][]byte{
		"KeyPackage.version":                                {0, 2},
		"KeyPackage.leaf_node.extensions":                   twice,
		"KeyPackage.leaf_node.extensions[1].extension_data": long,
		"KeyPackage.leaf_node.credential.credential_type":   append([]byte{0, 1, 0, 1, 0, 0, 0}, 0xf0, 0),
	} {
		var malformed *MalformedError
		if _, err := ParseKeyPackage(b); !errors.As(err, &malformed) || malformed.Field != want {
			t.Errorf("the error is %v, want one at %s", err, want)
		}
	}
}

// TestHostileLengths gives every structure, at every place, a length that the input does not hold: what is allocated must
// stay within a small multiple of the input.
func TestHostileLengths(t *testing.T) {
	for structure, list := range samples(t) {
		parse := codecs[structure]
		for _, b := range list {
			step := max(1, len(b)/200)
			for at := 0; at < len(b); at += step {
				hostile := slices.Concat(b[:at], []byte{0xbf, 0xff, 0xff, 0xff}, b[at:])
				if n := allocated(func() { _, _ = parse(hostile) }); n > uint64(64*len(hostile)+64<<10) {
					t.Errorf("%s: %d bytes allocated for %d bytes of input, length at %d", structure, n, len(hostile), at)
				}
			}
		}
	}
}

// TestHostileTrees gives trees that cost their sender least for what they make a reader keep: blank nodes, parents over blank
// leaves, leaves of no content; more of them than any group has, as many as one may have, and in a patch.
func TestHostileTrees(t *testing.T) {
	parent := []byte{1, nodeParent, 0, 0, 0}
	leaf := newLeaf(LeafNode{Credential: BasicCredential{}, Source: LeafUpdate{}}).raw
	tree := func(pairs int, even, odd []byte) []byte {
		nodes := bytes.Repeat(slices.Concat(even, odd), pairs)
		var w Writer
		w.Opaque(append(nodes, append([]byte{1}, leaf...)...))
		return w.Bytes()
	}
	for name, b := range map[string][]byte{
		"8 MiB of blanks": tree(4<<20, []byte{0}, []byte{0}),
		"blanks":          tree(1<<16, []byte{0}, []byte{0}),
		"parents":         tree(1<<16, []byte{0}, parent),
		"leaves":          tree(1<<16, append([]byte{1}, leaf...), []byte{0}),
		"both":            tree(1<<16, append([]byte{1}, leaf...), parent),
	} {
		var parsed *RatchetTree
		n := allocated(func() { parsed, _ = ParseRatchetTree(b) })
		t.Logf("%s: %.1f bytes allocated a byte of input", name, float64(n)/float64(len(b)))
		if n > uint64(64*len(b)+64<<10) {
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(b))
		}
		if name == "8 MiB of blanks" && parsed != nil {
			t.Error("a tree larger than any group is read")
		}
	}
	// A tree of 2^32 leaves: by a node's index, and by the levels of a patch.
	w := Writer{}
	w.Fixed([]byte{treePatchFormat, 0, 1, 0, 0, 31, 6, 0x7f, 0xff, 0xff, 0xff, 0, 0})
	n := allocated(func() {
		if _, err := ParseTreePatch(w.Bytes()); err == nil {
			t.Error("a patch to a tree of 2^31 leaves is read")
		}
	})
	if n > 64<<10 {
		t.Errorf("%d bytes allocated for a patch", n)
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// wantFrugal runs what reads an input of so many bytes, and sees it allocate no more than 64 times as much and 64 KiB. It counts
// roughly, and exactly only where that is too much.
func wantFrugal(t testing.TB, input int, read func()) {
	t.Helper()
	limit := uint64(64*input + 64<<10)
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	read()
	if metrics.Read(sample); sample[0].Value.Uint64()-before <= limit {
		return
	}
	least := allocated(read)
	for range 2 { // others allocate as well
		least = min(least, allocated(read))
	}
	if least > limit {
		t.Errorf("%d bytes allocated for %d bytes of input", least, input)
	}
}

// fuzzRoundTrip holds that what can be read is written again byte for byte, and that nothing makes a reader allocate much.
func fuzzRoundTrip(f *testing.F, structure string) {
	for _, b := range samples(f)[structure] {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkAny(t, structure, b) })
}

func checkAny(t *testing.T, structure string, b []byte) {
	t.Helper()
	wantFrugal(t, len(b), func() {
		if again, err := codecs[structure](b); err == nil && !bytes.Equal(again, b) {
			t.Errorf("%s changed:\n got %x\nfrom %x", structure, again, b)
		}
	})
}

func FuzzMLSMessage(f *testing.F)           { fuzzRoundTrip(f, "MLSMessage") }
func FuzzPublicMessage(f *testing.F)        { fuzzRoundTrip(f, "PublicMessage") }
func FuzzPrivateMessage(f *testing.F)       { fuzzRoundTrip(f, "PrivateMessage") }
func FuzzWelcome(f *testing.F)              { fuzzRoundTrip(f, "Welcome") }
func FuzzGroupInfo(f *testing.F)            { fuzzRoundTrip(f, "GroupInfo") }
func FuzzGroupContext(f *testing.F)         { fuzzRoundTrip(f, "GroupContext") }
func FuzzKeyPackage(f *testing.F)           { fuzzRoundTrip(f, "KeyPackage") }
func FuzzProposal(f *testing.F)             { fuzzRoundTrip(f, "Proposal") }
func FuzzCommit(f *testing.F)               { fuzzRoundTrip(f, "Commit") }
func FuzzRatchetTree(f *testing.F)          { fuzzRoundTrip(f, "RatchetTree") }
func FuzzTreePatch(f *testing.F)            { fuzzRoundTrip(f, "TreePatch") }
func FuzzAuthenticatedContent(f *testing.F) { fuzzRoundTrip(f, "AuthenticatedContent") }

// FuzzOther takes the small structures by the first byte of its input.
func FuzzOther(f *testing.F) {
	names := slices.Sorted(maps.Keys(codecs))
	all := samples(f)
	for i, name := range names {
		for _, b := range all[name] {
			f.Add(byte(i), b)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		checkAny(t, names[int(which)%len(names)], b)
	})
}

// FuzzCompressedTree reads frames, none of which may unfold into more than its size allows.
func FuzzCompressedTree(f *testing.F) {
	for _, b := range samples(f)["RatchetTree"] {
		tree, err := ParseRatchetTree(b)
		if err != nil {
			f.Fatal(err)
		}
		compressed, err := tree.Compressed()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(compressed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var tree *RatchetTree
		var err error
		wantFrugal(t, len(b), func() { tree, err = ParseCompressedTree(b) })
		if err != nil {
			return
		}
		if raw := tree.Marshal(); len(raw) > compressionRatioMax*len(b)+compressedSlackBytes {
			t.Errorf("%d bytes unfold into %d", len(b), len(raw))
		}
	})
}

// FuzzTakeUp gives a group arbitrary trees, and patches of its own: what is read must be hashed, verified and changed without
// a panic, whatever it says.
func FuzzTakeUp(f *testing.F) {
	all := samples(f)
	for _, b := range all["RatchetTree"] {
		f.Add(b, []byte{})
		for _, patch := range all["TreePatch"] {
			f.Add(b, patch)
		}
	}
	s, err := CipherSuite(1).Suite()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b, patch []byte) {
		tree, err := ParseRatchetTree(b)
		if err != nil {
			return
		}
		tree.TreeHash(s)
		if p, err := ParseTreePatch(patch); err == nil {
			p.Suite, p.From = s.ID, tree.TreeHash(s)
			_, _ = p.Apply(tree)
		}
		_ = tree.checkSupport(s, nil, nil, nil)
		if tree.verify(s, "group") != nil && tree.checkShape() != nil {
			return
		}
		changed := tree.clone()
		for i := range tree.Leaves() {
			if changed.Leaf(i) == nil { // what was added went further left, and the tree has shrunk
				continue
			}
			changed.filteredPath(i)
			changed.remove(i)
			changed.add(LeafNode{Credential: BasicCredential{}, Source: LeafUpdate{}})
		}
		if changed.MemberCount() != tree.MemberCount() {
			t.Errorf("%d members became %d", tree.MemberCount(), changed.MemberCount())
		}
	})
}
