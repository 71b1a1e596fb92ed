package keyfile

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyComesFromAFileOrACommand(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key")
	if err := New(name); err != nil {
		t.Fatal(err)
	}
	if New(name) == nil {
		t.Error("a key was overwritten")
	}
	key, err := Read(name)
	if err != nil {
		t.Fatal(err)
	}
	if printed, err := FromCommand(t.Context(), []string{"cat", name}); err != nil || printed != key {
		t.Errorf("by command: %v", err)
	}
	for _, command := range [][]string{{"echo", "5ecret"}, {"cat", name + ".none"}, {"/nonexistent"}} {
		if _, err := FromCommand(t.Context(), command); err == nil || !strings.Contains(err.Error(), command[0]) || strings.Contains(err.Error(), "5ecret") {
			t.Errorf("%v: %v", command, err)
		}
	}
}
