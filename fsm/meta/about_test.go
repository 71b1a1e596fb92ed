package meta

import (
	"fmt"
	"math"
	"testing"

	"parley/mls"
)

// Every command has words for the audit log, whatever is in it.
func TestEveryCommandIsDescribed(t *testing.T) {
	commands := 0
	for kind := range commandKind(math.MaxUint8) {
		c := readCommand(mls.NewReader("Command", nil), kind)
		if c == nil || kind == kindAudited { // which goes around another
			continue
		}
		commands++
		if text := about(c); text == "" || text == fmt.Sprintf("command %d", kind) {
			t.Errorf("%T stands in the audit log as %q", c, text)
		}
	}
	if commands < int(kindHoldPeer) {
		t.Errorf("%d commands are known", commands)
	}
}
