package dev

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"time"

	"parley/mimi"
	"parley/mls"
)

// answers is all that the contenders were told. Safe for concurrent use.
type answers struct {
	mu      sync.Mutex
	commits []commitAnswer
	claims  []claimAnswer
	lent    []leaseAnswer
	refused int // requests for a GroupInfo that another had
	again   int // retries that were compared
	broken  map[promise][]string
}

func newAnswers() *answers { return &answers{broken: make(map[promise][]string)} }

// commitAnswer says who took an epoch: the Commit that was asked for, where it was accepted, or the one that the loser was told of.
type commitAnswer struct {
	room     mimi.RoomURI
	epoch    mls.Epoch
	hash     [32]byte // of the Commit that was asked for
	winner   [32]byte
	accepted bool
	millis   uint64 // when it was accepted
	node     *node
}

// String is what a retry must come to as well. The epoch that a loser is told rises, so it is no part of it.
func (c commitAnswer) String() string {
	if c.accepted {
		return fmt.Sprintf("accepted at %d", c.millis)
	}
	return fmt.Sprintf("wrongEpoch, %x has it", c.winner)
}

// readCommitAnswer reads what an attempt came to. Anything but acceptance or the loser's answer ends the contest: every attempt is valid.
func readCommitAnswer(room mimi.RoomURI, wanted attempt, r reply) (commitAnswer, error) {
	told := commitAnswer{room: room, epoch: wanted.epoch, hash: wanted.hash, node: r.node}
	response, err := readUpdateResponse(r)
	if err != nil {
		return told, err
	}
	switch result := response.Result.(type) {
	case mimi.UpdateSuccess:
		told.winner, told.accepted, told.millis = wanted.hash, true, result.AcceptedMillis
		return told, nil
	case mimi.UpdateWrongEpoch:
		name := r.header.Get(mimi.HeaderEpochWinner)
		raw, err := hex.DecodeString(name)
		if err != nil || len(raw) != len(told.winner) {
			return told, fmt.Errorf("%s says wrongEpoch, the room is in epoch %d, and names the winner %q", r.node.ID, result.Current, name)
		}
		told.winner = [32]byte(raw)
		return told, nil
	default:
		return told, fmt.Errorf("%s answered %s: %s", r.node.ID, response.Result.Code(), response.Description)
	}
}

func readUpdateResponse(r reply) (mimi.UpdateRoomResponse, error) {
	if r.status != http.StatusOK {
		return mimi.UpdateRoomResponse{}, fmt.Errorf("%s answered %d: %s", r.node.ID, r.status, bytes.TrimSpace(r.body))
	}
	return mimi.ParseUpdateRoomResponse(r.body)
}

// claimAnswer is what a claim was given of one user.
type claimAnswer struct {
	key       string     // the claim's name: a retry has the same
	packages  [][32]byte // hashes of the KeyPackages
	given     []mls.KeyPackage
	throttled bool   // the requester has had its share for a while
	body      []byte // the user's part
	node      *node
}

// String is what a retry must come to as well.
func (c claimAnswer) String() string {
	return fmt.Sprintf("%d KeyPackages, in a part with the hash %x", len(c.packages), sha256.Sum256(c.body))
}

// readClaimAnswers reads a bulk claim's answer, a part for each user. The error says what is no answer, or which part is not decided yet;
// those before that part are returned all the same.
func readClaimAnswers(key string, users []mimi.UserURI, r reply) (told []claimAnswer, err error) {
	if r.status != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d: %s", r.node.ID, r.status, bytes.TrimSpace(r.body))
	}
	response, err := mimi.ParseBulkKeyMaterialResponse(r.body)
	if err != nil {
		return nil, err
	}
	if len(response.Users) != len(users) {
		return nil, fmt.Errorf("%s answered for %d of %d users", r.node.ID, len(response.Users), len(users))
	}
	for i, part := range response.Users {
		one := claimAnswer{key: key + " " + shortName(users[i]), body: part.Marshal(), node: r.node, throttled: part.Status == mimi.BulkThrottled}
		if part.User != users[i] || !one.throttled && len(part.Clients) != clientsPerUser {
			return told, fmt.Errorf("%s answered %s for %s, with %d clients", r.node.ID, part.Status, part.User, len(part.Clients))
		}
		for _, client := range part.Clients {
			if given, yes := client.Material.(mimi.ClaimedKeyPackage); yes {
				one.packages = append(one.packages, sha256.Sum256(given.KeyPackage.Marshal()))
				one.given = append(one.given, given.KeyPackage)
			}
		}
		told = append(told, one)
	}
	return told, nil
}

// leaseAnswer is a GroupInfo that a joiner was lent: at some moment between sent and received it had the lease.
type leaseAnswer struct {
	room           mimi.RoomURI
	epoch          mls.Epoch
	holder         string
	lent           [32]byte // see lentHash
	sent, received time.Time
	node           *node
}

func (a *answers) committed(told commitAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.commits = append(a.commits, told)
}

func (a *answers) claimed(told claimAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.claims = append(a.claims, told)
}

func (a *answers) leased(told leaseAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lent = append(a.lent, told)
}

func (a *answers) refusedLease() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused++
}

// compare holds a retry to the first answer.
func (a *answers) compare(what, first, again string, firstNode, againNode *node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.again++
	if first != again {
		a.broken[promiseRetry] = append(a.broken[promiseRetry],
			fmt.Sprintf("%s: %s said %.200q, and %s then %.200q", what, firstNode.ID, first, againNode.ID, again))
	}
}

// broke notes evidence that a promise was broken.
func (a *answers) broke(p promise, format string, arguments ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.broken[p] = append(a.broken[p], fmt.Sprintf(format, arguments...))
}

func (a *answers) leases() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.lent)
}

func (a *answers) retries() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.again
}
