package dev

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// arena is a room whose members all want its next epoch. They are simulated: real in all that a hub can check, with their signature
// keys and without a group secret. Safe for concurrent use.
type arena struct {
	room    mimi.RoomURI
	members []mimi.UserURI // by leaf
	joiners []mimi.UserURI // participants without a client in the group, who want in by themselves
	guests  []stockedUser  // participants whom the member of the same place brings in and takes out

	mu        sync.Mutex
	group     *mlstest.Group // the newest epoch that anybody here knows of
	past      map[mls.Epoch]*mlstest.Group
	wanted    map[[32]byte]wanted       // in the newest epoch
	waiting   []waitingProposal         // that the hub has taken in the newest epoch
	welcomes  map[[32]byte][]invitation // by Commit, whom it brings in; of all that were ever made
	decisions [moves]int                // won Commits
	proposals int                       // that they had by reference
	lent      map[mls.Epoch][32]byte    // what is lent of each epoch, see lentHash
	changed   chan struct{}             // closed when the epoch is over
}

// wanted is a Commit that somebody has made of the newest epoch.
type wanted struct {
	step      *mlstest.Step
	move      move
	proposals int // of others, by reference
}

// arenaSuite is the suite of everything that the scenario makes.
const arenaSuite mls.CipherSuite = 1

// arenaRole is the role of every participant.
const arenaRole = 1

// newArena makes a group of so many members that lists the hub among its external senders, for a room with so many participants more.
func newArena(number, members, joiners int, hub mls.ExternalSender) (*arena, error) {
	name := arenaName(number)
	a := &arena{
		room: arenaRoom(number),
		past: make(map[mls.Epoch]*mlstest.Group), wanted: make(map[[32]byte]wanted), welcomes: make(map[[32]byte][]invitation),
		lent: make(map[mls.Epoch][32]byte), changed: make(chan struct{}),
		members: usersNamed(name+"-member", members), joiners: usersNamed(name+"-joiner", joiners),
		guests: stockedUsers(name+"-guest", members, guestKeyPackages),
	}
	lifetime := lifetimeAround(time.Now())
	var err error
	a.group, err = mlstest.New(mlstest.Config{
		Suite: arenaSuite, Seed: uint64(number), Members: members, Parents: true, GroupID: mls.GroupID(name),
		Extensions: a.extensions(hub),
		Leaf: func(leaf *mls.LeafNode) {
			leaf.Credential = a.credential(leaf.Credential)
			if _, yes := leaf.Source.(mls.Lifetime); yes {
				leaf.Source = lifetime
			}
		},
	})
	if err == nil {
		a.enter(a.group)
	}
	return a, err
}

func arenaName(number int) string { return fmt.Sprintf("arena%d", number) }

func arenaRoom(number int) mimi.RoomURI {
	uri, err := mimi.ParseRoomURI("mimi://a.example/r/" + arenaName(number))
	if err != nil {
		panic(err) // the names are this program's
	}
	return uri
}

// usersNamed are so many users of the hub.
func usersNamed(prefix string, n int) (users []mimi.UserURI) {
	for i := range n {
		uri, err := mimi.ParseUserURI(fmt.Sprintf("mimi://a.example/u/%s%d", prefix, i))
		if err != nil {
			panic(err) // the names are this program's
		}
		users = append(users, uri)
	}
	return users
}

func lifetimeAround(now time.Time) mls.Lifetime {
	return mls.Lifetime{NotBefore: uint64(now.Add(-time.Hour).Unix()), NotAfter: uint64(now.Add(60 * 24 * time.Hour).Unix())}
}

// credential names the user of a client. The simulation calls a member by its leaf, and a joiner as joinerName does.
func (a *arena) credential(simulated mls.Credential) mls.Credential {
	identity := string(simulated.(mls.BasicCredential).Identity) // the simulation makes no others
	name, users := identity[strings.LastIndexByte(identity, '/')+1:], a.members
	if number, yes := strings.CutPrefix(name, joinerName); yes {
		name, users = number, a.joiners
	}
	place, err := strconv.Atoi(name)
	if err != nil || place >= len(users) {
		return simulated
	}
	return mls.BasicCredential{Identity: []byte(users[place].String())}
}

func (a *arena) extensions(hub mls.ExternalSender) mls.Extensions {
	var list mimi.ParticipantListData
	users := slices.Concat(a.members, a.joiners)
	for _, guest := range a.guests {
		users = append(users, guest.user)
	}
	for _, user := range users {
		list.Participants = append(list.Participants, mimi.UserRolePair{User: user, Role: arenaRole})
	}
	roles := mimi.RoleData{Roles: []mimi.Role{{
		Index: arenaRole, Name: "contender", Description: "wants every epoch",
		Capabilities: []mimi.Capability{
			mimi.CanAddOwnClient, mimi.CanRemoveOwnClient, mimi.CanSendMessage, mimi.CanReceiveMessage,
			mimi.CanSendMLSUpdateProposal, mimi.CanSendMLSExternalCommit, mimi.CanAddParticipant, mimi.CanKick,
		},
		Changes: []mimi.RoleChanges{{From: mimi.RoleNone, Targets: []uint32{arenaRole}}},
	}}}
	dictionary := mls.AppDataDictionary{}.
		With(mimi.ComponentParticipantList, list.Marshal()).
		With(mimi.ComponentRoles, roles.Marshal())
	required := mls.RequiredCapabilities{
		Extensions: []mls.ExtensionType{mls.ExtensionAppDataDictionary}, Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate},
		Credentials: []mls.CredentialType{mls.CredentialBasic},
	}
	return mls.Extensions{
		{Type: mls.ExtensionRequiredCapabilities, Data: required.Marshal()},
		{Type: mls.ExtensionExternalSenders, Data: mls.ExternalSenders{hub}.Marshal()},
		{Type: mls.ExtensionAppDataDictionary, Data: dictionary.Marshal()},
	}
}

// won takes the Commit that won an epoch into the room; false where nobody here has made it.
func (a *arena) won(epoch mls.Epoch, hash [32]byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if epoch != a.group.Epoch() {
		return true // it is known already
	}
	winner, known := a.wanted[hash]
	if !known {
		return false
	}
	a.decisions[winner.move]++
	a.proposals += winner.proposals
	a.enter(winner.step.After)
	clear(a.wanted)
	a.waiting = nil
	close(a.changed)
	a.changed = make(chan struct{})
	return true
}

// enter makes an epoch the newest. The lock is held, or nobody else knows the arena yet.
func (a *arena) enter(group *mlstest.Group) {
	a.group = group
	a.past[group.Epoch()] = group
	a.lent[group.Epoch()] = lentHash(group.GroupInfo(), group.Tree())
}

// beyond is closed when the room has left an epoch.
func (a *arena) beyond(epoch mls.Epoch) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.group.Epoch() > epoch {
		over := make(chan struct{})
		close(over)
		return over
	}
	return a.changed
}

func (a *arena) epoch() mls.Epoch {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.group.Epoch()
}

// lentOf is what its committer made of an epoch.
func (a *arena) lentOf(epoch mls.Epoch) (hash [32]byte, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	hash, known = a.lent[epoch]
	return hash, known
}

// lentHash is what tells one epoch's GroupInfo and tree from another's.
func lentHash(info mls.GroupInfo, tree []byte) [32]byte {
	return sha256.Sum256(bytes.Join([][]byte{info.Marshal(), tree}, nil))
}
