package policy

import (
	"bytes"

	"parley/mimi"
	"parley/mls"
)

// checkExtensions is for a GroupContextExtensions, which replaces all extensions of the group. The room's policy is changed by
// AppDataUpdates alone, each with its own capability: here it stays as it is. external_senders follows the participant list
// (mimi-protocol-06 §7.4), and whoever may change the list may bring it up to date. All else is the group's operational policy.
func (p *Policy) checkExtensions(a Actor, extensions mls.Extensions, after *Policy) error {
	if !p.hasRoles {
		return nil
	}
	operational := p.may(a, mimi.CanChangeMlsOperationalPolicies)
	for _, changed := range differing(p.extensions, extensions) {
		var err error
		switch changed {
		case mls.ExtensionAppDataDictionary:
			err = p.checkDictionary(extensions, operational)
		case mls.ExtensionExternalSenders:
			if operational != nil {
				err = p.checkSenders(extensions, after)
			}
		default:
			err = operational
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// differing are the types of the extensions that are not the same in both lists.
func differing(a, b mls.Extensions) (types []mls.ExtensionType) {
	for _, e := range a {
		data, present := b.Get(e.Type)
		if !present || !bytes.Equal(data, e.Data) {
			types = append(types, e.Type)
		}
	}
	for _, e := range b {
		if _, present := a.Get(e.Type); !present {
			types = append(types, e.Type)
		}
	}
	return types
}

// checkDictionary lets components change that are not the room's: those of mls-extensions, of which operational tells.
func (p *Policy) checkDictionary(extensions mls.Extensions, operational error) error {
	dictionary, err := extensions.Dictionary()
	if err != nil {
		return err
	}
	for id := mimi.ComponentFrankAAD; id <= mimi.ComponentMessageExpiration; id++ {
		before, had := p.dictionary.Get(id)
		after, has := dictionary.Get(id)
		if had != has || !bytes.Equal(before, after) {
			return refuse("the component 0x%04x is the room's, and changes by an AppDataUpdate only", uint16(id))
		}
	}
	return operational
}

// checkSenders lets entries come whose provider has a participant, and go whose provider has none any more. What the Commit does to the
// participant list beside it counts, where that is known.
func (p *Policy) checkSenders(extensions mls.Extensions, after *Policy) error {
	if after == nil {
		return nil
	}
	before, err := senders(p.extensions)
	if err != nil {
		return err
	}
	now, err := senders(extensions)
	if err != nil {
		return err
	}
	for _, entry := range now {
		if !contains(before, entry) && !after.hosts(SenderProvider(entry)) {
			return refuse("an external sender is added whose provider has no participant")
		}
	}
	for _, entry := range before {
		if !contains(now, entry) && after.hosts(SenderProvider(entry)) {
			return refuse("an external sender is removed whose provider has participants")
		}
	}
	return nil
}

func senders(extensions mls.Extensions) (mls.ExternalSenders, error) {
	data, present := extensions.Get(mls.ExtensionExternalSenders)
	if !present {
		return nil, nil
	}
	return mls.ParseExternalSenders(data)
}

func contains(list mls.ExternalSenders, entry mls.ExternalSender) bool {
	for _, e := range list {
		if bytes.Equal(e.Marshal(), entry.Marshal()) {
			return true
		}
	}
	return false
}

// hosts reports whether a provider has a participant.
func (p *Policy) hosts(provider mimi.Provider) bool {
	for _, entry := range p.list {
		if entry.User.Provider() == provider {
			return true
		}
	}
	return false
}
