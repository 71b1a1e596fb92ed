package interop

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// A hub that takes one damaged copy is found out, and one that compares all that it is given is not.
func TestRefusesFindsALenientHub(t *testing.T) {
	h := &history{damage: rand.New(rand.NewPCG(1, 2)), tally: make(Tally)}
	raw := []byte("a message with its signature, and tags")
	checked := len(raw) - len(", and tags")
	strict := func(damaged []byte) error {
		if !bytes.Equal(damaged, raw) {
			return errDamaged
		}
		return nil
	}
	for range 100 {
		if err := h.refuses("message", raw, checked, strict); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.tally["damaged messages refused"]; got != 100*damagedPerMessage {
		t.Errorf("%d damaged messages", got)
	}
	if !bytes.Equal(raw, []byte("a message with its signature, and tags")) {
		t.Errorf("the message itself is damaged: %s", raw)
	}
	for name, lenient := range map[string]func([]byte) error{
		"takes all":                func([]byte) error { return nil },
		"does not read to the end": func(damaged []byte) error { return strict(raw[:min(len(raw), len(damaged))]) },
	} {
		found := false
		for range 100 {
			found = found || h.refuses("message", raw, checked, lenient) != nil
		}
		if !found {
			t.Errorf("a hub that %s passes", name)
		}
	}
}

var errDamaged = errors.New("damaged")
