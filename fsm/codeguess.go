package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// Codes that do not admit are counted, per room and provider: the provider answers for its users, and whoever guesses can have as
// many of those as it likes. After guessesFree of them the provider waits, twice as long each time, before any code that it presents
// is looked at, the right one too. A code cannot be guessed, its passphrase might be by who has come by the code.

const (
	guessesFree         = 10
	guessDelayMillis    = 1000 // after the first that is not free
	guessDoublingsMax   = 10   // about 17 minutes
	guessesMemoryMillis = 24 * 60 * 60 * 1000
)

// codeGuesses counts the codes that did not admit.
//
//	struct {
//	    uint64 forget_millis;
//	    uint32 guesses;
//	    uint64 next_millis; // no code is looked at earlier
//	} CodeGuesses;
type codeGuesses struct {
	forgetMillis uint64
	guesses      uint32
	nextMillis   uint64
}

func (g codeGuesses) appendTo(w *mls.Writer) {
	w.Uint64(g.forgetMillis)
	w.Uint32(g.guesses)
	w.Uint64(g.nextMillis)
}

func readCodeGuesses(r *mls.Reader) codeGuesses {
	return codeGuesses{forgetMillis: r.Uint64("forget_millis"), guesses: r.Uint32("guesses"), nextMillis: r.Uint64("next_millis")}
}

func guessesKey(room mimi.RoomURI, peer mimi.Provider) key {
	return roomKey(keyCodeGuesses, room).hashed(peer.String())
}

// CodesWait reports whether codes that a provider presents are not looked at as of the hub clock. Then there is no need to derive a
// key from a passphrase.
func CodesWait(r Reader, room mimi.RoomURI, peer mimi.Provider) (bool, error) {
	now, err := ReadClock(r)
	if err != nil {
		return false, err
	}
	g, _, err := readCodeGuessesOf(r, room, peer)
	return now < g.nextMillis, err
}

func readCodeGuessesOf(r Reader, room mimi.RoomURI, peer mimi.Provider) (codeGuesses, bool, error) {
	return readRecord(r, guessesKey(room, peer), "code guesses", readCodeGuesses)
}

func (t *tx) guesses(c TakeLease) codeGuesses {
	g, _ := get(t, func(r Reader) (codeGuesses, bool, error) { return readCodeGuessesOf(r, c.Room, c.Peer) })
	return g
}

// guessWait is the answer to a provider that has to wait, or nil.
func (t *tx) guessWait(c TakeLease) Outcome {
	if g := t.guesses(c); t.now < g.nextMillis {
		return Damped{UntilMillis: g.nextMillis, NowMillis: t.now, Reason: "too many joining codes from this provider did not admit to the room"}
	}
	return nil
}

func (t *tx) countGuess(c TakeLease) {
	g := t.guesses(c)
	if g.forgetMillis <= t.now {
		g = codeGuesses{}
	}
	g.guesses++
	if g.guesses > guessesFree {
		g.nextMillis = addUpTo(t.now, guessDelayMillis<<min(g.guesses-guessesFree-1, guessDoublingsMax))
	}
	g.forgetMillis = addUpTo(t.now, guessesMemoryMillis)
	k := guessesKey(c.Room, c.Peer)
	t.set(k, record(g.appendTo))
	t.expireAt(k, g.forgetMillis)
}
