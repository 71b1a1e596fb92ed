package meta

import (
	"fmt"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// HoldTextBytesMax bounds who holds a peer back, and why.
const HoldTextBytesMax = 256

// Hold says whether what waits for a peer is held back, since when, and by whose word: the last change that was made, also where that has
// let the peer go again.
type Hold struct {
	Domain mimi.Provider // the peer's
	Paused bool          // nothing is sent to it, and everything waits; what it sends is taken
	By     string        // who wanted it so, as he called himself; at most HoldTextBytesMax
	Why    string        // likewise
	Millis uint64        // the meta group's time, since 1970
}

// HoldPeer pauses a peer, or lets it go on. Who asks for what is so already changes nothing: the first word stands. Millis is apply's to
// say. Every node has to know it: it is of fsm.FormatBulk.
type HoldPeer struct {
	Hold  Hold
	Stamp uint64
}

// WithStamp implements Stamped.
func (c HoldPeer) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

func (HoldPeer) kind() commandKind { return kindHoldPeer }

//	struct {
//	    Hold hold;
//	    uint64 stamp;
//	} HoldPeer;
func (c HoldPeer) appendTo(w *mls.Writer) {
	c.Hold.appendTo(w)
	w.Uint64(c.Stamp)
}

//	struct {
//	    opaque domain<V>;
//	    uint8 paused;
//	    opaque by<V>;
//	    opaque why<V>;
//	    uint64 millis;
//	} Hold;
func (h Hold) appendTo(w *mls.Writer) {
	h.Domain.AppendTo(w)
	w.Bool(h.Paused)
	appendText(w, h.By)
	appendText(w, h.Why)
	w.Uint64(h.Millis)
}

func readHold(r *mls.Reader) Hold {
	return Hold{
		Domain: mimi.ReadProvider(r, "domain"), Paused: r.Bool("paused"), By: string(r.Opaque("by")), Why: string(r.Opaque("why")),
		Millis: r.Uint64("millis"),
	}
}

func holdKey(domain mimi.Provider) []byte { return newKey(keyHold, []byte(domain.String())...) }

func (c HoldPeer) apply(t *tx) Outcome {
	h := c.Hold
	switch {
	case t.m.settings.Format < fsm.FormatBulk:
		return refuse("the cluster has to be raised to format %d first", fsm.FormatBulk)
	case len(h.By) > HoldTextBytesMax || len(h.Why) > HoldTextBytesMax:
		return refuse("who holds a peer back and why must be at most %d bytes each", HoldTextBytesMax)
	}
	if _, known := find(t.m.peers, func(p Peer) int { return p.Domain.Compare(h.Domain) }); !known {
		return refuse("there is no peer %s", h.Domain)
	}
	if was, _ := t.m.HoldOf(h.Domain); was.Paused == h.Paused {
		return t.unchanged()
	}
	h.Millis = t.now(c.Stamp)
	t.set(holdKey(h.Domain), h.appendTo)
	return t.stamped(c.Stamp)
}

// Holds are the last words on each peer that was ever paused, by domain.
func (m *Map) Holds() []Hold { return m.holds }

// HoldOf is the last word on a peer, which is found by its own domain; false where it was never paused.
func (m *Map) HoldOf(domain mimi.Provider) (Hold, bool) {
	return find(m.holds, func(h Hold) int { return h.Domain.Compare(domain) })
}

// Paused reports whether what waits for a destination is held back. It is found by any of the peer's domains.
func (m *Map) Paused(destination mimi.Provider) bool {
	if len(m.holds) == 0 {
		return false
	}
	p, known := m.Peer(destination)
	if !known {
		return false
	}
	h, _ := m.HoldOf(p.Domain)
	return h.Paused
}

// String is the hold for people.
func (h Hold) String() string {
	state := "goes on"
	if h.Paused {
		state = "paused"
	}
	return fmt.Sprintf("%s at %d by %q: %q", state, h.Millis, h.By, h.Why)
}
