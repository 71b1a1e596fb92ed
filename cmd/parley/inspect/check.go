package inspect

import (
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mls"
)

// check judges a file's object, and says what was verified and what could not be.
func (s *surroundings) check(f *File) {
	switch v := f.object.value.(type) {
	case *mls.PublicMessage:
		s.checkPublic(f, v)
	case *mls.PrivateMessage:
		f.unverified("signature, sender and content", "encrypted")
		if v.ContentType != mls.ContentApplication {
			f.note("a hub cannot follow a group whose handshakes are encrypted: this one refuses a %s in a PrivateMessage", ContentName(v.ContentType))
		}
	case *mls.Welcome:
		s.checkWelcome(f, v)
	case *mls.GroupInfo:
		s.checkGroupInfo(f, v)
	case *mls.KeyPackage:
		f.checkKeyPackage(v, s.atSeconds)
	case *mls.GroupContext:
		s.checkBareContext(f, *v)
	case *mls.RatchetTree:
		s.checkTree(f, v)
	}
}

func (f *File) checkKeyPackage(k *mls.KeyPackage, atSeconds uint64) {
	f.Problems = append(f.Problems, KeyPackage(*k, atSeconds)...)
	if len(f.Problems) == 0 {
		f.verified("both signatures, keys, lifetime at %s, credential, extensions, capabilities", moment(atSeconds))
	}
	f.Notes = append(f.Notes, KeyPackageNotes(*k)...)
}

// KeyPackageNotes says what of a KeyPackage is not wrong and yet in the way of its upload.
func KeyPackageNotes(k mls.KeyPackage) (notes []string) {
	lifetime, packaged := k.Lifetime()
	most := fsm.DefaultSettings().KeyPackageLifetimeMax
	if packaged && lifetime.NotBefore < lifetime.NotAfter && lifetime.NotAfter-lifetime.NotBefore > most {
		notes = append(notes, fmt.Sprintf("it is valid for more than %d days, which a hub does not take at upload by default", most/86400))
	}
	return notes
}

// KeyPackage says what is wrong with a KeyPackage at a time in seconds since 1970, whatever group it is for: what a hub checks
// at upload (RFC 9420 §10.1), and that its client supports what it is itself made with, without which no group takes it. A
// lifetime that is over does not hide another fault.
func KeyPackage(k mls.KeyPackage, atSeconds uint64) (problems []Problem) {
	lifetime, packaged := k.Lifetime()
	inside := atSeconds
	if packaged && !lifetime.Contains(atSeconds) {
		verb := "has expired"
		if atSeconds < lifetime.NotBefore {
			verb = "is not valid yet"
		}
		problems = append(problems, Problem{Section: "RFC 9420 §7.3", Reason: fmt.Sprintf("the KeyPackage %s: it is for %s to %s, and this is %s",
			verb, moment(lifetime.NotBefore), moment(lifetime.NotAfter), moment(atSeconds))})
		inside = lifetime.NotBefore
	}
	if !packaged || lifetime.NotBefore <= lifetime.NotAfter {
		if err := k.Verify(inside); err != nil {
			return append(problems, problemOf(err, "RFC 9420 §10"))
		}
	}
	return append(problems, ownSupport(k)...)
}

// ownSupport checks that a KeyPackage's capabilities list its own version, suite and credential type.
func ownSupport(k mls.KeyPackage) (problems []Problem) {
	c := k.Leaf.Capabilities
	lacks := func(section, what string) {
		problems = append(problems, Problem{Section: section, Reason: "the capabilities do not list the KeyPackage's own " + what})
	}
	if !slices.Contains(c.Versions, mls.MLS10) {
		lacks("RFC 9420 §11.1", "version, mls10")
	}
	if !slices.Contains(c.Suites, k.Suite) {
		lacks("RFC 9420 §11.1", "cipher suite, "+SuiteName(k.Suite))
	}
	if t := k.Leaf.Credential.CredentialType(); !slices.Contains(c.Credentials, t) {
		lacks("RFC 9420 §7.3", "credential type, "+named(credentialNames, t).String())
	}
	return problems
}

func (s *surroundings) checkWelcome(f *File, w *mls.Welcome) {
	suite, err := w.Suite.Suite()
	if err != nil {
		f.wrong(err)
		return
	}
	if len(w.Secrets) == 0 {
		f.refuse("RFC 9420 §12.4.3.1", "the Welcome is for nobody")
	}
	seen := make(map[mls.KeyPackageRef]bool)
	for i, secret := range w.Secrets {
		switch {
		case len(secret.NewMember) != suite.HashBytes():
			f.refuse("RFC 9420 §5.2", "new member %d is named by %d bytes, and a reference has %d", i, len(secret.NewMember), suite.HashBytes())
		case seen[secret.NewMember]:
			f.refuse("RFC 9420 §12.4.3.1", "new member %d is named twice", i)
		case !suite.ValidHPKEKey(secret.Secrets.KEMOutput):
			f.refuse("RFC 9420 §12.4.3.1", "kem_output for new member %d is not a key of the suite", i)
		}
		seen[secret.NewMember] = true
		if k, given := s.packages[secret.NewMember]; given {
			f.note("new member %d is %s", i, Identity(k.Leaf.Credential))
		}
	}
	if len(f.Problems) == 0 {
		f.verified("suite, references, kem_outputs")
	}
	f.unverified("secrets and GroupInfo", "encrypted to the new members")
}

// suitesOf are the suites whose signature keys have this form. The suites of one such set hash and sign alike, and have the same
// HPKE keys: what they differ in does not show in a tree.
func suitesOf(signatureKey []byte) (list []*mls.Suite) {
	scheme, known := mls.SchemeOfKey(signatureKey)
	for id := mls.CipherSuite(1); known && id <= 7; id++ {
		if suite, err := id.Suite(); err == nil && suite.Scheme == scheme {
			list = append(list, suite)
		}
	}
	return list
}

// suiteOf finds the suite of a tree by its first leaf's signature key and by what all leaves say that they support. Where two
// would do, both is true.
func suiteOf(t *mls.RatchetTree) (suite *mls.Suite, both bool, err error) {
	var candidates []*mls.Suite
	for _, leaf := range t.Leaves() {
		candidates = suitesOf(leaf.SignatureKey)
		break
	}
	if len(candidates) == 0 {
		return nil, false, &mls.InvalidError{Section: "RFC 9420 §5.1", Reason: "the signature key of the first leaf is of no suite's length"}
	}
	common := slices.DeleteFunc(slices.Clone(candidates), func(suite *mls.Suite) bool {
		for _, leaf := range t.Leaves() {
			if !slices.Contains(leaf.Capabilities.Suites, suite.ID) {
				return true
			}
		}
		return false
	})
	if len(common) == 0 {
		return candidates[0], false, nil // VerifyAlone will say that it is not supported
	}
	return common[0], len(common) > 1, nil
}

func (s *surroundings) checkTree(f *File, t *mls.RatchetTree) {
	if context, found := s.contextFor(t); found {
		if err := context.VerifyTree(t); err != nil {
			f.wrong(err)
			return
		}
		f.verified("tree hash, shape, parent hashes, keys, the signature of every leaf, capabilities: as of epoch %d of group %s", context.Epoch, name(context.GroupID))
		return
	}
	suite, both, err := suiteOf(t)
	if err != nil {
		f.wrong(err)
		return
	}
	if both {
		f.note("the leaves support suite %d and another that does not differ from it in a tree", suite.ID)
	}
	unsigned, err := t.VerifyAlone(suite)
	if err != nil {
		f.wrong(err)
		return
	}
	f.verified("shape, parent hashes, keys, credentials, capabilities, leaf signatures: %d of %d, those of KeyPackages", t.MemberCount()-len(unsigned), t.MemberCount())
	if len(unsigned) > 0 {
		f.unverified(fmt.Sprintf("leaf signatures: %d of %d, those of Updates and Commits", len(unsigned), t.MemberCount()),
			"they cover the group_id; give a GroupInfo or GroupContext of the epoch beside it")
	}
	f.unverified("that it is a group's tree", "give a GroupInfo or GroupContext of the epoch beside it")
}

// checkContext looks at a GroupContext by itself: what its suite says of lengths, and extensions that can be read.
func (f *File) checkContext(c mls.GroupContext) (suite *mls.Suite) {
	suite, err := c.Suite.Suite()
	if err != nil {
		f.wrong(err)
		return nil
	}
	if len(c.TreeHash) != suite.HashBytes() {
		f.refuse("RFC 9420 §7.8", "tree_hash has %d bytes, and a hash of the suite has %d", len(c.TreeHash), suite.HashBytes())
	}
	if n := len(c.ConfirmedTranscriptHash); n != suite.HashBytes() && (n > 0 || c.Epoch > 0) {
		f.refuse("RFC 9420 §8.2", "confirmed_transcript_hash has %d bytes, and a hash of the suite has %d", n, suite.HashBytes())
	}
	f.checkReadable(c.Extensions)
	return suite
}

// checkReadable refuses an extension of a known type that cannot be read.
func (f *File) checkReadable(extensions mls.Extensions) {
	for _, e := range extensions {
		if _, err := readExtension(e); err != nil {
			f.refuse("RFC 9420 §13.4", "extension %s cannot be read: %v", named(extensionNames, e.Type), err)
		}
	}
}

func (s *surroundings) checkBareContext(f *File, c mls.GroupContext) {
	if f.checkContext(c) == nil || len(f.Problems) > 0 {
		return
	}
	f.verified("suite, lengths of the hashes, extensions can be read")
	tree, file := s.treeFor(c)
	if tree == nil {
		f.unverified("that members agree on it", "a GroupContext has no signature")
		f.unverified("tree_hash", s.noTree())
		return
	}
	if err := c.VerifyTree(tree); err != nil {
		f.wrong(err)
		return
	}
	f.verified("tree_hash and the whole tree, by %s", file)
	f.unverified("that members agree on it", "a GroupContext has no signature")
}

// noTree says why there is no tree for a context.
func (s *surroundings) noTree() string {
	if len(s.trees) == 0 {
		return "no ratchet_tree; give it beside it"
	}
	return "of the trees given, none has this hash"
}

func (s *surroundings) checkGroupInfo(f *File, g *mls.GroupInfo) {
	suite := f.checkContext(g.Context)
	if suite == nil {
		return
	}
	f.checkReadable(g.Extensions)
	if len(g.ConfirmationTag) != suite.HashBytes() {
		f.refuse("RFC 9420 §12.4.3", "the confirmation tag has %d bytes, and a MAC of the suite has %d", len(g.ConfirmationTag), suite.HashBytes())
	}
	f.checkExternalPub(g, suite)
	if _, embedded := g.Extensions.Get(mls.ExtensionRatchetTree); embedded {
		f.note("this hub wants the ratchet_tree beside the GroupInfo that comes with a Commit, not in it")
	}
	f.unverified("confirmation_tag", "needs the group's secrets")
	tree, from, err := s.treeOf(*g)
	switch {
	case err != nil:
		f.refuse("RFC 9420 §12.4.3.3", "the embedded ratchet_tree cannot be read: %v", err)
		return
	case tree == nil:
		f.unverified("signature, tree_hash", s.noTree())
		return
	case len(f.Problems) > 0:
		return
	}
	if _, err := mls.NewPublicGroup(*g, tree); err != nil {
		f.wrong(err)
		return
	}
	f.verified("signature of leaf %d, %s; tree_hash and the whole tree, by %s", g.Signer, Identity(tree.Leaf(g.Signer).Credential), from)
}

func (f *File) checkExternalPub(g *mls.GroupInfo, suite *mls.Suite) {
	data, present := g.Extensions.Get(mls.ExtensionExternalPub)
	if !present {
		f.note("no external_pub: nobody can join by an external Commit, and this hub refuses it with a Commit")
		return
	}
	if pub, err := mls.ParseExternalPub(data); err == nil && !suite.ValidHPKEKey(pub.Key) {
		f.refuse("RFC 9420 §12.4.3.2", "external_pub is not a key of the suite")
	}
}
