package mls

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// wide is a group of many members with its tree after each of a few Commits.
func wide(t testing.TB, members int) (*world, []*RatchetTree) {
	t.Helper()
	w, founder := newWorld(t, 1)
	names := make([]string, members-1)
	all := append([]*client{founder}, w.add(founder, names...)...)
	trees := []*RatchetTree{w.group.Tree()}
	for _, i := range []int{0, members / 3, members - 1} {
		c := all[i]
		w.accept(w.message(c, MemberSender{c.leaf}, Commit{Path: w.path(c, w.group.Tree().clone())}), w.input())
		trees = append(trees, w.group.Tree())
	}
	return w, trees
}

func TestTreePatch(t *testing.T) {
	w, trees := wide(t, 100)
	first, last := trees[1], trees[len(trees)-1]
	patch := last.PatchFrom(w.suite, first)
	whole := len(last.Marshal())
	t.Logf("two Commits of 100 members: %d nodes, %d bytes of patch, %d of tree", patch.Len(), len(patch.Marshal()), whole)
	if size := len(patch.Marshal()); size > whole/4 {
		t.Errorf("the patch has %d bytes, the tree %d", size, whole)
	}
	_, err := patch.Apply(trees[0])
	wantCheck(t, err, "RFC 9420 §7.8", "for another tree")
	untrue := patch
	untrue.changes = untrue.changes[1:]
	_, err = untrue.Apply(first)
	wantCheck(t, err, "RFC 9420 §7.8", "does not lead")
	untrue.Suite = 99
	_, err = untrue.Apply(first)
	wantCheck(t, err, "RFC 9420 §5.1", "not supported")
}

func TestMalformedTreePatch(t *testing.T) {
	w, trees := wide(t, 5)
	good := trees[1].PatchFrom(w.suite, trees[0])
	for name, change := range map[string]func(p *TreePatch){
		"levels":  func(p *TreePatch) { p.levels = treeLevelsMax + 1 },
		"outside": func(p *TreePatch) { p.levels = 0 },
		"order":   func(p *TreePatch) { p.changes = append(p.changes[1:2:2], p.changes[0]) },
	} {
		bad := good
		change(&bad)
		var malformed *MalformedError
		if _, err := ParseTreePatch(bad.Marshal()); !errors.As(err, &malformed) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	b := good.Marshal()
	b[0] = 2
	if _, err := ParseTreePatch(b); err == nil {
		t.Error("another format is read")
	}
}

func TestCompressedTree(t *testing.T) {
	w, trees := wide(t, 100)
	for _, tree := range append(trees, newTree([]*treeNode{trees[0].node(0)}, 1)) {
		b := must(tree.Compressed())(t)
		again := must(ParseCompressedTree(b))(t)
		if !bytes.Equal(again.Marshal(), tree.Marshal()) || !bytes.Equal(again.TreeHash(w.suite), tree.TreeHash(w.suite)) {
			t.Error("a tree changes on its way")
		}
	}
	t.Logf("100 members: %d bytes, compressed %d", len(trees[1].Marshal()), len(must(trees[1].Compressed())(t)))
}

// TestHostileCompressedTree gives frames that ask for more than they hold.
func TestHostileCompressedTree(t *testing.T) {
	_, trees := wide(t, 20)
	good := must(trees[0].Compressed())(t)
	encoder := must(zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1)))(t)
	bomb := encoder.EncodeAll(make([]byte, 64<<20), nil)
	unsized := bytes.NewBuffer(nil)
	stream := must(zstd.NewWriter(unsized, zstd.WithEncoderConcurrency(1)))(t)
	for range 4 {
		must(stream.Write(make([]byte, 1<<20)))(t)
		if err := stream.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(good)
	damaged[len(damaged)/2] ^= 0xff
	for name, b := range map[string][]byte{
		"bomb": bomb, "unsized": unsized.Bytes(), "damaged": damaged, "cut": good[:len(good)/2], "none": nil, "no frame": []byte("tree"),
		"skippable": {0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}, "two frames": append(bytes.Clone(good), good...),
	} {
		var malformed *MalformedError
		n := allocated(func() {
			if _, err := ParseCompressedTree(b); !errors.As(err, &malformed) {
				t.Errorf("%s: the error is %v", name, err)
			}
		})
		if name == "bomb" && n > uint64(64*len(b)+64<<10) {
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(b))
		}
	}
}
