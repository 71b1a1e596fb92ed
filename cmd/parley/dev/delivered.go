package dev

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"parley/mimi"
	"parley/mls"
)

// delivered is what the hub's own provider has found in its inbox, in the order in which it came. Safe for concurrent use.
type delivered struct {
	mu       sync.Mutex
	seen     map[string]bool // items
	commits  map[mimi.RoomURI][]deliveredCommit
	welcomes map[mimi.RoomURI][]deliveredWelcome
}

type deliveredCommit struct {
	epoch mls.Epoch
	hash  [32]byte
}

// deliveredWelcome is whom the Welcomes of an item are for, and to whom the item says that they go.
type deliveredWelcome struct {
	item string
	refs []mls.KeyPackageRef
	to   []invitation
}

func newDelivered() *delivered {
	return &delivered{
		seen: make(map[string]bool), commits: make(map[mimi.RoomURI][]deliveredCommit), welcomes: make(map[mimi.RoomURI][]deliveredWelcome),
	}
}

// enter takes an inbox item. The same one read again, because its acknowledgement was not yet in, counts once.
func (d *delivered) enter(_ string, item inboxItem) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen[item.ID] {
		return nil
	}
	d.seen[item.ID] = true
	welcome := deliveredWelcome{item: item.ID}
	for _, w := range item.WelcomeFor {
		welcome.to = append(welcome.to, invitation{ref: mls.KeyPackageRef(w.KeyPackageRef), user: w.User, client: w.Client})
	}
	for _, event := range item.Events {
		switch event.Kind {
		case "commit":
			d.commits[item.Room] = append(d.commits[item.Room], deliveredCommit{event.Epoch, sha256.Sum256(event.Message)})
		case "welcome":
			for _, ref := range event.KeyPackageRefs {
				welcome.refs = append(welcome.refs, mls.KeyPackageRef(ref))
			}
		}
	}
	if len(welcome.refs) > 0 || len(welcome.to) > 0 {
		d.welcomes[item.Room] = append(d.welcomes[item.Room], welcome)
	}
	return nil
}

// lacks says what of the Commits that somebody was told of has not come yet; nil where all have.
func (d *delivered) lacks(told []commitAnswer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	there := make(map[roomEpoch]bool)
	for room, commits := range d.commits {
		for _, c := range commits {
			there[roomEpoch{room, c.epoch}] = true
		}
	}
	lacking := make(map[roomEpoch]bool)
	for _, c := range told {
		if at := (roomEpoch{c.room, c.epoch}); !there[at] {
			lacking[at] = true
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	return fmt.Errorf("the inbox lacks %d Commits", len(lacking))
}
