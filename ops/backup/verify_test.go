package backup

import (
	"strings"
	"testing"
)

// Whatever object of a backup is gone, cut short, altered or another's, the check says so.
func TestVerifyFindsDamage(t *testing.T) {
	sound, c := newMemoryStore(), smallCluster(t)
	mustCreate(t, c, sound, "b1")
	names := sound.names()
	var other string // a chunk
	for _, name := range names {
		if strings.HasPrefix(name, "chunks/") {
			other = name
		}
	}
	for how, damage := range map[string]func(content []byte) []byte{
		"gone":    func([]byte) []byte { return nil },
		"short":   func(b []byte) []byte { return b[:len(b)-1] },
		"empty":   func([]byte) []byte { return []byte{} },
		"altered": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"longer":  func(b []byte) []byte { return append(b, 0) },
		"other's": func([]byte) []byte { return sound.objects[other] },
	} {
		for _, name := range names {
			if how == "other's" && name == other {
				continue
			}
			store := newMemoryStore()
			for n, content := range sound.objects {
				store.objects[n] = content
			}
			content := damage(append([]byte(nil), sound.objects[name]...))
			store.objects[name] = content
			if content == nil {
				delete(store.objects, name)
			}
			report, err := Verify(testContext(t), store, "b1", nil)
			if err == nil && report.Whole() {
				t.Errorf("%s %s: it was found whole", name, how)
			}
			if gone := strings.HasSuffix(name, "/manifest") && how == "gone"; gone != (err != nil) {
				t.Errorf("%s %s: %v", name, how, err)
			}
		}
	}
	mustBeWhole(t, sound, "b1")
}

// Damage does not hide what stands behind it.
func TestVerifyNamesAllDamage(t *testing.T) {
	store, c := newMemoryStore(), smallCluster(t)
	mustCreate(t, c, store, "b1")
	chunks := 0
	for _, name := range store.names() {
		if strings.HasPrefix(name, "chunks/") {
			chunks++
			store.objects[name] = []byte("nothing of it")
		}
	}
	report, err := Verify(testContext(t), store, "b1", nil)
	if err != nil || len(report.Problems) != chunks {
		t.Errorf("%d problems for %d damaged chunks: %v", len(report.Problems), chunks, err)
	}
}

// A chunk that is sound in itself and not the one of its name is told as such.
func TestVerifyTellsChunksApart(t *testing.T) {
	store, c := newMemoryStore(), smallCluster(t)
	mustCreate(t, c, store, "b1")
	inspected, err := Inspect(testContext(t), store, "b1")
	if err != nil {
		t.Fatal(err)
	}
	chunks := inspected.Parts[1].Chunks
	first, last := chunks[0].ID.name(), chunks[len(chunks)-1].ID.name()
	store.objects[first], store.objects[last] = store.objects[last], store.objects[first]
	report, err := Verify(testContext(t), store, "b1", nil)
	if err != nil || len(report.Problems) != 2 {
		t.Errorf("two chunks have changed places, and the problems are %q, %v", report.Problems, err)
	}
}
