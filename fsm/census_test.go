package fsm

import (
	"maps"
	"testing"
)

func TestCountedAs(t *testing.T) {
	counts := make(map[string]int)
	for kind := range 256 {
		if name := CountedAs(newKey(7, keyKind(kind)).raw([]byte("rest"))); name != "" {
			counts[name]++
		}
	}
	for name, kinds := range counts {
		if kinds != 1 {
			t.Errorf("%d kinds of record are counted as %s", kinds, name)
		}
	}
	want := map[string]int{
		"rooms": 1, "users": 1, "clients": 1, "keyPackages": 1, "lastResortKeyPackages": 1, "messages": 1, "waiting": 1, "clientEvents": 1,
	}
	if !maps.Equal(counts, want) {
		t.Errorf("counted: %v", counts)
	}
	if name := CountedAs([]byte{0, 7}); name != "" {
		t.Errorf("half a key is counted as %s", name)
	}
}
