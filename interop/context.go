package interop

import (
	"slices"

	"parley/mls"
)

// The two components that clients and hub know; every population has the same two.
const (
	// componentReplaced takes the latest update as its value.
	componentReplaced mls.ComponentID = 0xff01
	// componentAppended appends each update to its value.
	componentAppended mls.ComponentID = 0xff02
)

var components = map[mls.ComponentID]mls.ComponentApplier{
	componentReplaced: func(_ []byte, updates [][]byte) ([]byte, error) { return updates[len(updates)-1], nil },
	componentAppended: func(current []byte, updates [][]byte) ([]byte, error) {
		return slices.Concat(append([][]byte{current}, updates...)...), nil
	},
}

// makeComponent changes a component: any number of updates in an epoch, or one removal.
func (h *history) makeComponent(e *epoch, kind string) *proposal {
	id := []mls.ComponentID{componentReplaced, componentAppended}[h.random.IntN(2)]
	dictionary, err := h.group.Context().Extensions.Dictionary()
	_, present := dictionary.Get(id)
	before := e.components[id]
	switch {
	case err != nil || before == "component_remove" || kind == "component_remove" && (before != "" || !present):
		return nil
	case kind == "component_remove":
		e.components[id] = kind
		return &proposal{frame: frame{"component": id}, value: mls.AppDataUpdate{Component: id, Operation: mls.ComponentRemove{}}}
	default:
		e.components[id] = kind
		data := h.bytes(1 + h.random.IntN(20))
		return &proposal{
			frame: frame{"component": id, "data": data},
			value: mls.AppDataUpdate{Component: id, Operation: mls.ComponentUpdate{Update: data}},
		}
	}
}

// extensions makes up a GroupContext's, to follow others where the group has some.
func (h *history) extensions(before mls.Extensions) mls.Extensions {
	var list mls.Extensions
	var own []mls.ExtensionType
	for _, t := range []mls.ExtensionType{0xf000, 0xf001} {
		if h.chance(50) {
			list = append(list, mls.Extension{Type: t, Data: h.bytes(h.random.IntN(40))})
			own = append(own, t)
		}
	}
	dictionary, present := before.Get(mls.ExtensionAppDataDictionary)
	first := before == nil && h.population.does("component_update") && h.chance(70)
	if present || first {
		own = append(own, mls.ExtensionAppDataDictionary)
	}
	if len(own) > 0 && !h.population.does("unlisted_extensions") || h.chance(70) {
		list = append(list, mls.Extension{Type: mls.ExtensionRequiredCapabilities, Data: h.required(own).Marshal()})
	}
	if h.population.does("hub_remove") {
		list = append(list, mls.Extension{Type: mls.ExtensionExternalSenders, Data: h.senders().Marshal()})
	}
	h.random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	// The dictionary is last: where a Commit puts one that was absent, or that it changes, the drafts leave open.
	switch {
	case first:
		dictionary = h.firstDictionary().Marshal()
		fallthrough
	case present:
		list = append(list, mls.Extension{Type: mls.ExtensionAppDataDictionary, Data: dictionary})
	}
	return list
}

// firstDictionary may ask for components and turn Safe AAD on.
func (h *history) firstDictionary() mls.AppDataDictionary {
	list := mls.ComponentsList{componentReplaced}
	var d mls.AppDataDictionary
	if h.chance(40) {
		d = append(d, mls.ComponentData{ID: mls.ComponentAppComponents, Data: list.Marshal()})
	}
	if h.population.does("safe_aad") && h.chance(40) {
		h.safe = true
		d = append(d, mls.ComponentData{ID: mls.ComponentSafeAAD, Data: list[:h.random.IntN(2)].Marshal()})
	}
	return append(d, mls.ComponentData{ID: componentReplaced, Data: h.bytes(5)})
}

// aad makes up authenticated_data, and how it is framed.
func (h *history) aad() frame {
	if h.safe {
		return frame{"safe": h.bytes(h.random.IntN(9))}
	}
	return frame{"free": h.bytes(h.random.IntN(9))}
}

// required makes up required_capabilities, with these extensions at least. Every leaf lists all that it can ask for.
func (h *history) required(own []mls.ExtensionType) mls.RequiredCapabilities {
	required := mls.RequiredCapabilities{Extensions: own}
	if h.chance(50) {
		required.Credentials = []mls.CredentialType{mls.CredentialBasic}
	}
	if h.chance(30) && !slices.Contains(own, 0xf000) {
		required.Extensions = append(required.Extensions, 0xf000)
	}
	for _, optional := range []struct {
		kind string
		t    mls.ProposalType
	}{{"component_update", mls.ProposalAppDataUpdate}, {"self_remove", mls.ProposalSelfRemove}} {
		if h.population.does(optional.kind) && h.chance(60) {
			required.Proposals = append(required.Proposals, optional.t)
		}
	}
	return required
}

// senders is external_senders with the hub at any place.
func (h *history) senders() mls.ExternalSenders {
	hub := mls.ExternalSender{SignatureKey: h.hub.Public(), Credential: mls.BasicCredential{Identity: []byte("mimi://hub.example")}}
	list := mls.ExternalSenders{hub}
	for range h.random.IntN(2) {
		other := mls.ExternalSender{SignatureKey: h.other.Public(), Credential: mls.BasicCredential{Identity: []byte("mimi://other.example")}}
		list = append(mls.ExternalSenders{other}, list...)
	}
	return list
}
