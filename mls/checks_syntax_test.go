package mls_test

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"parley/mls"
	"parley/mls/mlstest"
)

// commitBytes are the bytes of a legal Commit of one Proposal without a path, which the rows of syntax change.
func (r room) commitBytes(list ...mls.Proposal) ([]byte, *mlstest.Step) {
	step := part(r.Commit(mlstest.Plan{Inline: list}))
	return mls.MLSMessage{Body: step.Message}.Marshal(), step
}

// syntax is a row of a legal Commit whose bytes are changed: old, which stands in them once, into another.
func (r room) syntax(mutation, reason string, old, new []byte, list ...mls.Proposal) *check {
	return r.add("syntax", mutation, reason, func() error {
		raw, step := r.commitBytes(list...)
		if n := bytes.Count(raw, old); n != 1 {
			return fmt.Errorf("%x stands %d times in the message", old, n)
		}
		m, err := mls.ParseMLSMessage(bytes.Replace(raw, old, new, 1))
		if err != nil {
			return err
		}
		public, ok := m.Body.(*mls.PublicMessage)
		if !ok {
			return fmt.Errorf("the message is a %T", m.Body)
		}
		step.Message = public
		return r.take(r.Input(), step)
	})
}

// parse is a row of bytes that must not be read.
func parse[T any](r room, mutation, reason string, raw []byte, read func([]byte) (T, error)) *check {
	return r.add("syntax", mutation, reason, func() error {
		_, err := read(raw)
		return err
	})
}

const noReading = "there is no reading of it"

func (r room) syntaxChecks() {
	r = r.under("Syntax (§2.1, §6, §13.4)")
	psk := r.ExternalPSK("key")
	group := []byte("\x09simulated")
	r.syntax("a length in two octets where one would do", "not in its shortest form", group, append([]byte{0x40}, group...), psk)
	r.syntax("a length with the prefix 11", "prefix 11", group, append([]byte{0xc0, 0, 0, 0, 0, 0, 0}, group...), psk)
	r.add("syntax", "an octet after the message", "trailing bytes", func() error {
		raw, step := r.commitBytes(psk)
		m, err := mls.ParseMLSMessage(append(raw, 0))
		if err != nil {
			return err
		}
		step.Message = m.Body.(*mls.PublicMessage)
		return r.take(r.Input(), step)
	})
	start := append([]byte{0, 1, 0, 1}, group...)
	r.syntax("version 2", "not mls10", start, append([]byte{0, 2, 0, 1}, group...), psk)
	r.syntax("an unknown wire format", "wire format 0x0009", start, append([]byte{0, 1, 0, 9}, group...), psk).also(noReading)
	sender := []byte{0, 0, 0, 0, 0, 0, 0, 5, 1}
	r.syntax("an unknown sender type", "sender type 9", sender, append(bytes.Clone(sender[:8]), 9), psk).also(noReading)
	content := []byte{5, 1, 0, 0, 0, 0, 0, 3}
	r.syntax("an unknown content type", "content type 9", content, append(bytes.Clone(content[:7]), 9), psk).also(noReading)
	body := append([]byte{0, 4, 1, 3}, "key"...)
	r.syntax("a ProposalOrRef that is neither", "type 9 is neither", append([]byte{1}, body...), append([]byte{9}, body...), psk).also(noReading)
	r.syntax("an unknown proposal type", "proposal type 0xf004", body, append([]byte{0xf0, 4, 1, 3}, "key"...), psk).also(noReading)
	r.syntax("an unknown PSK type", "PSK type 7", body, append([]byte{0, 4, 7, 3}, "key"...), psk).also(noReading)
	update := mls.AppDataUpdate{Component: mlstest.ComponentText, Operation: mls.ComponentUpdate{Update: []byte("text")}}
	op := append([]byte{0xf1, 0, 1, 4}, "text"...)
	r.syntax("an unknown AppDataUpdate operation", "operation 9", op, append([]byte{0xf1, 0, 9, 4}, "text"...), update).also(noReading)

	one := part(r.Add("one"))
	basic := one.KeyPackage.Leaf.Credential.Marshal()
	r.syntax("an unknown credential type", "credential type 0x0009", basic, append([]byte{0, 9}, basic[2:]...), one).also(noReading)
	lifetime := append([]byte{1}, binary.BigEndian.AppendUint64(nil, mlstest.Now-3600)...)
	r.syntax("an unknown leaf_node_source", "source 9", lifetime, append([]byte{9}, lifetime[1:]...), one).also(noReading)
	r.add("syntax", "a presence octet of 2", "presence octet is 2", func() error {
		raw, _ := r.commitBytes(psk)
		pathAt := len(raw) - (1 + 32) - (1 + 32) - (2 + 64) - 1 // before both tags and the signature
		raw[pathAt] = 2
		_, err := mls.ParseMLSMessage(raw)
		return err
	}).also(noReading)

	twice := mls.Extensions{{Type: 0xf00a}, {Type: 0xf00a}}
	add := part(r.Add("twice", func(k *mls.KeyPackage) { k.Extensions = twice }))
	r.commit("syntax", "an extension twice", "stands twice", mlstest.Plan{Inline: []mls.Proposal{add}})
	r.younger().commit("syntax", "a PSK of an unknown usage", "usage 9", mlstest.Plan{Inline: []mls.Proposal{r.ResumptionPSK(9, "old", 1)}})
	odd := r.Context().Extensions.With(mls.ExtensionRequiredWireFormat, []byte{3, 0, 1, 0})
	r.commit("RFC 9420 §12.1.7", "three octets for a list of 16-bit numbers", "no list of 16-bit numbers", mlstest.Plan{Path: true,
		Inline: []mls.Proposal{mls.GroupContextExtensions{Extensions: odd}}}).section = "mls-extensions Negotiation"
	unordered := mls.AppDataDictionary{{ID: 9}, {ID: 7}}
	r.commit("mls-extensions Application Data Dictionary", "components out of order in a KeyPackage", "stands after", mlstest.Plan{Inline: []mls.Proposal{
		part(r.Add("unordered", func(k *mls.KeyPackage) {
			k.Extensions = mls.Extensions{{Type: mls.ExtensionAppDataDictionary, Data: unordered.Marshal()}}
		}))}})
	r.treeSyntax()
}

// younger is a room at epoch 0, with its own list.
func (r room) younger() room {
	list := r.list
	n := newRoom(panicking{}, list, mlstest.Config{Suite: 1, Seed: 2, Members: 3, Parents: true})
	n.name = r.name
	return n
}

// panicking is a tester for what is put together in the middle of a table.
type panicking struct{}

func (panicking) Helper()                           {}
func (panicking) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (panicking) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (r room) treeSyntax() {
	vector := func(b []byte) []byte {
		var w mls.Writer
		w.Opaque(b)
		return w.Bytes()
	}
	inside := func(raw []byte) []byte { return mls.NewReader("tree", raw).Opaque("") }
	tree := inside(r.Tree())
	parse(r, "a tree that ends in a blank node", "the last node is blank", vector(append(bytes.Clone(tree), 0)), mls.ParseRatchetTree)
	parse(r, "an empty tree", "empty", vector(nil), mls.ParseRatchetTree).also(noReading)
	r.add("syntax", "nodes that are not as many as a tree has", "2 nodes are not the width", func() error {
		_, err := mls.NewRatchetTree([][]byte{r.hub.Tree().Node(0), nil})
		return err
	})
	leaf := tree[:len(tree)-len(inside(r.Tree()[:]))+r.leafBytes(0)]
	parse(r, "a leaf in a parent's place", "cannot stand", vector(append(bytes.Clone(leaf), leaf...)), mls.ParseRatchetTree).also(noReading)
	parse(r, "an unknown node type", "node type 9", vector([]byte{1, 9}), mls.ParseRatchetTree).also(noReading)
	wide := append(bytes.Repeat([]byte{0}, 2*mls.LeavesMax), leaf...)
	parse(r, "a tree of more than 131,072 leaves", "more than", vector(wide), mls.ParseRatchetTree)
	r.patchSyntax()
	r.compressedSyntax()
}

func (r room) compressedSyntax() {
	good := part(r.hub.Tree().Compressed())
	row := func(mutation, reason, other string, raw []byte) {
		parse(r, mutation, reason, raw, mls.ParseCompressedTree).twice = other
	}
	damaged := bytes.Clone(good)
	damaged[len(damaged)/2] ^= 0xff
	encoder := part(zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1)))
	var unsized bytes.Buffer
	stream := part(zstd.NewWriter(&unsized, zstd.WithEncoderConcurrency(1)))
	for range 2 {
		part(stream.Write(r.hub.Tree().Marshal()))
		part(0, stream.Flush())
	}
	part(0, stream.Close())
	row("a compressed tree that is no zstd frame", "not a zstd frame", "it states no size", []byte("tree"))
	row("a compressed tree that does not state its size", "does not state its size", "its size differs", unsized.Bytes())
	row("a compressed tree that unfolds into 500 times as much", "more than", "the decoder's own limit", encoder.EncodeAll(make([]byte, 8<<20), nil))
	row("a damaged compressed tree", "damaged", "", damaged)
}

// leafBytes is the length of a leaf in the tree, with its optional.
func (r room) leafBytes(i mls.LeafIndex) int { return 2 + len(r.Leaf(i).Marshal()) }

func (r room) patchSyntax() {
	step := part(r.Commit(mlstest.Plan{Path: true}))
	after := part(step.Check(r.hub, r.Input())).After
	raw := after.Tree().PatchFrom(r.hub.Suite(), r.hub.Tree()).Marshal()
	changed := func(at int, b byte) []byte {
		out := bytes.Clone(raw)
		out[at] = b
		return out
	}
	apply := func(mutation, section, reason string, raw []byte) *check {
		return r.add(section, mutation, reason, func() error {
			p, err := mls.ParseTreePatch(raw)
			if err != nil {
				return err
			}
			tree, err := p.Apply(r.hub.Tree())
			if err != nil {
				return err
			}
			return after.CheckTree(tree)
		})
	}
	const levelsAt = 1 + 2 + 33 + 33 // after format, suite and two hashes
	apply("a tree patch of another format", "syntax", "format 2", changed(0, 2))
	apply("a tree patch for a tree of 2^18 leaves", "syntax", "too large", changed(levelsAt, 18)).also("the tree's hash")
	apply("a tree patch with nodes out of order", "syntax", "stands after", swapped(raw, levelsAt+1))
	apply("a tree patch that is for another tree", "RFC 9420 §7.8", "for another tree", changed(5, ^raw[5]))
	apply("a tree patch that leads to another tree", "RFC 9420 §7.8", "does not lead", changed(levelsAt-2, ^raw[levelsAt-2]))
}

// swapped exchanges the first two changes of a patch.
func swapped(raw []byte, at int) []byte {
	r := mls.NewReader("changes", raw[at:])
	list := r.Vector("")
	var changes [][]byte
	for list.More() {
		start := list.Offset()
		x := mls.NodeIndex(list.Uint32(""))
		if list.Optional("") {
			if list.Uint8(""); x%2 == 0 {
				mls.ReadLeafNode(list)
			} else {
				mls.ReadParentNode(list)
			}
		}
		changes = append(changes, list.Since(start))
	}
	changes[0], changes[1] = changes[1], changes[0]
	var w mls.Writer
	w.Fixed(raw[:at])
	w.Opaque(bytes.Join(changes, nil))
	return w.Bytes()
}
