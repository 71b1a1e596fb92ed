package mls

import (
	"testing"
)

func TestKeyPackageVerify(t *testing.T) {
	w, _ := newWorld(t, 1)
	c := w.client("c")
	w.ok(w.keyPackage(c).Verify(testNow))
	for name, k := range map[string]struct {
		section string
		at      uint64
		change  func(*KeyPackage)
	}{
		"too early":        {"RFC 9420 §7.3", testNow - 11, func(*KeyPackage) {}},
		"too late":         {"RFC 9420 §7.3", testNow + 11, func(*KeyPackage) {}},
		"unknown suite":    {"RFC 9420 §5.1", testNow, func(k *KeyPackage) { k.Suite = 99 }},
		"another source":   {"RFC 9420 §10.1", testNow, func(k *KeyPackage) { k.Leaf.Source = LeafUpdate{} }},
		"one key for both": {"RFC 9420 §10.1", testNow, func(k *KeyPackage) { k.InitKey = k.Leaf.EncryptionKey }},
		"leaf altered":     {"RFC 9420 §7.3", testNow, func(k *KeyPackage) { k.Leaf.EncryptionKey = []byte("other") }},
	} {
		kp := w.keyPackage(c)
		k.change(&kp)
		w.ok(kp.Sign(c.key))
		t.Run(name, func(t *testing.T) { wantSection(t, kp.Verify(k.at), k.section) })
	}
	kp := w.keyPackage(c)
	kp.InitKey = w.hpkeKey()
	wantSection(t, kp.Verify(testNow), "RFC 9420 §10.1")
	for _, at := range []uint64{testNow - 10, testNow + 10} { // both ends are within
		w.ok(w.keyPackage(c).Verify(at))
	}
}

func TestLastResort(t *testing.T) {
	dictionary := func(d AppDataDictionary) Extensions { return Extensions{{ExtensionAppDataDictionary, d.Marshal()}} }
	for name, c := range map[string]struct {
		extensions Extensions
		want       bool
	}{
		"bare":            {nil, false},
		"component":       {dictionary(AppDataDictionary{{3, nil}, {ComponentLastResort, nil}}), true},
		"other component": {dictionary(AppDataDictionary{{3, nil}}), false},
		"extension":       {Extensions{{ExtensionLastResort, nil}}, true},
		"unreadable":      {Extensions{{ExtensionAppDataDictionary, []byte{9}}}, false},
	} {
		if got := (KeyPackage{Extensions: c.extensions}).LastResort(); got != c.want {
			t.Errorf("%s: last resort is %v", name, got)
		}
	}
}
