package fsm

import (
	"fmt"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// replayRecord is the answer that a claim gets when it comes again.
//
//	struct {
//	    uint64 until_millis;
//	    Claimed claimed;
//	} ReplayRecord;
type replayRecord struct {
	untilMillis uint64
	claimed     Claimed
}

func (p replayRecord) appendTo(w *mls.Writer) {
	w.Uint64(p.untilMillis)
	p.claimed.appendTo(w)
}

func readReplayRecord(r *mls.Reader) replayRecord {
	return replayRecord{untilMillis: r.Uint64("until_millis"), claimed: readClaimed(r)}
}

// ReadClaim returns the answer that a claim with this key got within its window, by the hub clock; false where there is none, or the
// user's slot has heard that a Welcome named one of its KeyPackages: whoever asks then wants others.
func ReadClaim(r Reader, user mimi.UserURI, replayKey [32]byte) (Claimed, bool, error) {
	now, err := ReadClock(r)
	if err != nil {
		return Claimed{}, false, err
	}
	p, found, err := readRecord(r, replayKeyOf(user, replayKey), "claim", readReplayRecord)
	if err != nil || !found || p.untilMillis <= now {
		return Claimed{}, false, err
	}
	if before, err := beforeGeneration(r, user); err != nil || before {
		return Claimed{}, false, err
	}
	for _, client := range p.claimed.Clients {
		ref, known, err := readRef(r, user, client.Ref)
		if err != nil || known && ref.consumedMillis != 0 {
			return Claimed{}, false, err
		}
	}
	return p.claimed, true, nil
}

func replayKeyOf(user mimi.UserURI, replayKey [32]byte) key {
	return userKey(keyReplay, user).raw(replayKey[:])
}

// claimKeyPackages takes one KeyPackage of each client out of the inventory (mimi-protocol-06 §5.2). A claim that took
// something is remembered, so that its retry gets the same; one that took nothing is decided anew. Consent is looked at before all
// else, so that who has none does not learn whether there is such a user.
func (t *tx) claimKeyPackages(c ClaimKeyPackages) Outcome {
	t.renewUser(c.User)
	replayed, found := get(t, func(r Reader) (Claimed, bool, error) { return ReadClaim(r, c.User, c.ReplayKey) })
	if found {
		return replayed
	}
	if code := t.consent(c); code != mimi.KeyMaterialSuccess {
		return Claimed{User: c.User, Code: code}
	}
	if t.departed(c.User).millis != 0 {
		return Claimed{User: c.User, Code: mimi.KeyMaterialUserDeleted}
	}
	if _, known := get(t, func(r Reader) (userRecord, bool, error) { return readUser(r, c.User) }); !known {
		return Claimed{User: c.User, Code: mimi.KeyMaterialUserUnknown}
	}
	if throttled, yes := t.pairThrottled(c); yes {
		return throttled
	}
	picks := t.picksFor(c)
	if throttled, yes := t.floorThrottled(c, picks); yes {
		return throttled
	}
	claimed := Claimed{User: c.User}
	taken := 0
	for _, p := range picks {
		if p.code == mimi.KeyMaterialClientSuccess {
			taken++
			t.reserve(c, p)
		}
		claimed.Clients = append(claimed.Clients, p.answer())
	}
	claimed.Code = claimCode(taken, len(claimed.Clients))
	if taken > 0 {
		t.countClaim(c)
		k := replayKeyOf(c.User, c.ReplayKey)
		until := addUpTo(t.now, t.replayMillis(c))
		t.set(k, record(replayRecord{until, claimed}.appendTo))
		t.expireAt(k, until)
	}
	return claimed
}

// claimReplayMillisMax is the longest that a claim is known, from FormatQueues on, whatever it asks for.
const claimReplayMillisMax = 24 * 60 * 60 * 1000

func (t *tx) replayMillis(c ClaimKeyPackages) uint64 {
	if t.format < FormatQueues {
		return c.ReplayMillis
	}
	return min(c.ReplayMillis, claimReplayMillisMax)
}

// claimCode is the user's code; a user without a client to claim from has given what there is.
func claimCode(taken, clients int) mimi.KeyMaterialUserCode {
	switch taken {
	case clients:
		return mimi.KeyMaterialSuccess
	case 0:
		return mimi.KeyMaterialNoCompatibleMaterial
	default:
		return mimi.KeyMaterialPartialSuccess
	}
}

type positionedClient struct {
	position uint32
	record   clientRecord
}

// pick is what a claim is to get of one client.
type pick struct {
	positionedClient
	code   mimi.KeyMaterialClientCode
	number uint64          // on success
	facts  KeyPackageFacts // likewise
}

func (p pick) answer() ClaimedClient {
	answer := ClaimedClient{Client: p.record.client, Code: p.code}
	if p.code == mimi.KeyMaterialClientSuccess {
		answer.Ref, answer.KeyPackage, answer.NotAfter = p.facts.Ref, p.facts.Message, p.facts.NotAfter
	}
	return answer
}

// picksFor finds for each client the KeyPackage that fits best: of the suite that the requester prefers, and among those the first in
// upload order.
func (t *tx) picksFor(c ClaimKeyPackages) (picks []pick) {
	for _, client := range t.clientsToClaim(c) {
		p := pick{positionedClient: client}
		p.number, p.facts, p.code = t.choose(c, packagesOf(c.User, client.position))
		if p.code != mimi.KeyMaterialClientSuccess && t.lastResortFor(c) {
			if number, facts, code := t.choose(c, lastResortOf(c.User, client.position)); code == mimi.KeyMaterialClientSuccess {
				p.number, p.facts, p.code = number, facts, code
			}
		}
		picks = append(picks, p)
	}
	return picks
}

func (t *tx) clientsToClaim(c ClaimKeyPackages) (clients []positionedClient) {
	t.check(visitClients(t.store, c.User, func(position uint32, record clientRecord) (bool, error) {
		if record.client != c.Exclude {
			clients = append(clients, positionedClient{position, record})
		}
		return true, nil
	}))
	return clients
}

// lastResortFor reports whether a claim may get KeyPackages of last resort: never over keyMaterial (mimi-protocol-06 §5.2), only for
// the provider's own users where the settings let it.
func (t *tx) lastResortFor(c ClaimKeyPackages) bool {
	return t.format >= FormatExclusive && t.settings.Claims.LastResortForOwn && t.isLocal(c.Provider) && t.isLocal(c.Requester.Provider())
}

// reserve takes a KeyPackage out of the inventory. One of last resort stays, for it is there to be used more than once.
func (t *tx) reserve(c ClaimKeyPackages, p pick) {
	if p.facts.LastResort {
		return
	}
	t.countBelowFloor(c, p.positionedClient)
	t.delete(packageKey(c.User, p.position, p.number))
	t.set(refKey(c.User, p.facts.Ref), refRecord{
		notAfter: p.facts.NotAfter, user: c.User, position: p.position, number: p.number,
		claimed: true, claimedMillis: t.now, provider: c.Provider, requester: c.Requester, room: c.Room,
	}.record())
	t.setSingleUse(c.User, p.position, p.record, p.record.singleUse-1)
}

// choose looks through a client's KeyPackages of one sort once. Without a usable one the client is exhausted, whatever was asked for.
func (t *tx) choose(c ClaimKeyPackages, sort stock) (number uint64, best KeyPackageFacts, code mimi.KeyMaterialClientCode) {
	now := t.nowSeconds()
	rank := len(c.Suites)
	code = mimi.KeyMaterialClientExhausted
	t.check(t.store.Scan(sort.prefix, sort.prefix.end(), func(k, value []byte) (bool, error) {
		head, err := readPackageHead(value)
		if err != nil || head.lastResort != sort.lastResort || now < head.notBefore || head.notAfter < now {
			return true, err
		}
		if code == mimi.KeyMaterialClientExhausted {
			code = mimi.KeyMaterialNothingCompatible
		}
		preferred := slices.Index(c.Suites, head.suite)
		if preferred < 0 || preferred >= rank {
			return true, nil
		}
		// On the value that is lent for the visit; only what is chosen is kept.
		p, err := decodeStored("KeyPackage", value, readKeyPackage)
		if err != nil || !capable(p, c) {
			return true, err
		}
		best, err = decodeStored("KeyPackage", slices.Clone(value), readKeyPackage)
		rank, number, code = preferred, numberOf(k[len(sort.prefix):]), mimi.KeyMaterialClientSuccess
		return rank > 0, err
	}))
	if bugMapOrder && code == mimi.KeyMaterialClientSuccess {
		number, best = t.chooseByMap(sort.prefix)
	}
	return number, best, code
}

// packageHead is what a stored KeyPackage is chosen by first. It is read without the rest, since a claim may have to look past many.
type packageHead struct {
	suite      mls.CipherSuite
	notBefore  uint64
	notAfter   uint64
	lastResort bool
}

func readPackageHead(value []byte) (packageHead, error) {
	r := mls.NewReader("KeyPackage", value)
	readVersion(r, recordVersion)
	r.Opaque("ref")
	head := packageHead{
		suite: mls.CipherSuite(r.Uint16("suite")), notBefore: r.Uint64("not_before"), notAfter: r.Uint64("not_after"), lastResort: r.Bool("last_resort"),
	}
	if r.Failed() {
		return packageHead{}, fmt.Errorf("the state is damaged: %v", r.Err())
	}
	return head, nil
}

// capable reports whether a KeyPackage's client has all the capabilities that the claim requires.
func capable(p KeyPackageFacts, c ClaimKeyPackages) bool {
	return holdsAll(p.Extensions, c.Extensions) && holdsAll(p.Proposals, c.Proposals) && holdsAll(p.Credentials, c.Credentials)
}

func holdsAll[T ~uint16](has, required []T) bool {
	return !slices.ContainsFunc(required, func(v T) bool { return !slices.Contains(has, v) })
}

// numberOf reads the number that ends a KeyPackage's or an outbox item's key.
func numberOf(rest []byte) uint64 {
	r := mls.NewReader("key", rest)
	return r.Uint64("number")
}
