package mls

import "bytes"

// ComponentApplier makes a component's new data from its current data, nil where it has none, and the updates of one Commit
// in their order (mls-extensions, AppDataUpdate). An error makes the Commit invalid; its text goes to the committer.
type ComponentApplier func(current []byte, updates [][]byte) ([]byte, error)

// applyAppData applies the AppDataUpdates of a Commit to an extension list.
func applyAppData(extensions Extensions, list []AppDataUpdate, components map[ComponentID]ComponentApplier) (Extensions, error) {
	if len(list) == 0 {
		return extensions, nil
	}
	dictionary, err := extensions.Dictionary()
	if err != nil {
		return nil, err
	}
	counts := make(map[ComponentID]int)
	for _, u := range list {
		counts[u.Component]++
	}
	updates := make(map[ComponentID][][]byte)
	removed := make(map[ComponentID]bool)
	var order []ComponentID
	for _, u := range list {
		_, before := updates[u.Component]
		switch op := u.Operation.(type) {
		case ComponentUpdate:
			if removed[u.Component] {
				return nil, invalidExtension("AppDataUpdate", "component 0x%04x is both updated and removed", uint16(u.Component))
			}
			if !before {
				order = append(order, u.Component)
				updates[u.Component] = make([][]byte, 0, counts[u.Component])
			}
			updates[u.Component] = append(updates[u.Component], op.Update)
		case ComponentRemove:
			_, present := dictionary.Get(u.Component)
			if before || removed[u.Component] || !present || components[u.Component] == nil {
				return nil, invalidExtension("AppDataUpdate", "component 0x%04x cannot be removed", uint16(u.Component))
			}
			removed[u.Component] = true
		}
	}
	for id := range removed {
		dictionary = dictionary.Without(id)
	}
	for _, id := range order {
		apply, known := components[id]
		if !known {
			return nil, invalidExtension("AppDataUpdate", "component 0x%04x is not known", uint16(id))
		}
		current, _ := dictionary.Get(id)
		data, err := apply(current, updates[id])
		if err != nil {
			return nil, invalidExtension("AppDataUpdate", "component 0x%04x: %v", uint16(id), err)
		}
		dictionary = dictionary.With(id, data)
	}
	return extensions.With(ExtensionAppDataDictionary, dictionary.Marshal()), nil
}

// replaceExtensions applies a GroupContextExtensions. Where the group requires app_data_update, the dictionary must stay as
// it is (mls-extensions, AppDataUpdate).
func (g *PublicGroup) replaceExtensions(p GroupContextExtensions) (Extensions, error) {
	required, err := g.RequiredCapabilities()
	if err != nil {
		return nil, err
	}
	for _, t := range required.Proposals {
		if t != ProposalAppDataUpdate {
			continue
		}
		before, had := g.context.Extensions.Get(ExtensionAppDataDictionary)
		after, has := p.Extensions.Get(ExtensionAppDataDictionary)
		if had != has || !bytes.Equal(before, after) {
			return nil, invalidExtension("AppDataUpdate", "a GroupContextExtensions changes the app_data_dictionary")
		}
	}
	return p.Extensions, nil
}
