package mlstest

import (
	"errors"
	"maps"

	"parley/mls"
)

// ComponentText is a component whose update is its new data, of at most 64 bytes.
const ComponentText mls.ComponentID = 0xf100

// ComponentLog is a component to whose data each update is appended.
const ComponentLog mls.ComponentID = 0xf101

// Components are the components that a simulated group has. Their appliers are pure.
func Components() map[mls.ComponentID]mls.ComponentApplier {
	return map[mls.ComponentID]mls.ComponentApplier{
		ComponentText: func(_ []byte, updates [][]byte) ([]byte, error) {
			last := updates[len(updates)-1]
			if len(last) > 64 {
				return nil, errors.New("the text is too long")
			}
			return last, nil
		},
		ComponentLog: func(current []byte, updates [][]byte) ([]byte, error) {
			data := append([]byte(nil), current...)
			for _, u := range updates {
				data = append(data, u...)
			}
			return data, nil
		},
	}
}

// components are those of Components and of the group's Config.
func (g *Group) components() map[mls.ComponentID]mls.ComponentApplier {
	all := Components()
	maps.Copy(all, g.config.Components)
	return all
}

// applyAppData is the dictionary after the AppDataUpdates of a Commit: removals, then each component's updates together. What
// cannot be applied is left out; a hub refuses the Commit.
func applyAppData(known map[mls.ComponentID]mls.ComponentApplier, extensions mls.Extensions, list []mls.AppDataUpdate) (mls.Extensions, error) {
	if len(list) == 0 {
		return extensions, nil
	}
	dictionary, err := extensions.Dictionary()
	if err != nil {
		return nil, err
	}
	updates := make(map[mls.ComponentID][][]byte)
	for _, u := range list {
		switch op := u.Operation.(type) {
		case mls.ComponentUpdate:
			updates[u.Component] = append(updates[u.Component], op.Update)
		case mls.ComponentRemove:
			dictionary = dictionary.Without(u.Component)
		}
	}
	for id, all := range updates { // each has its own place in the dictionary
		if known[id] == nil {
			continue
		}
		before, _ := dictionary.Get(id)
		if data, err := known[id](before, all); err == nil {
			dictionary = dictionary.With(id, data)
		}
	}
	return extensions.With(mls.ExtensionAppDataDictionary, dictionary.Marshal()), nil
}
