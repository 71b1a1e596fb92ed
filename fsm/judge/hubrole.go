package judge

import (
	"bytes"
	"slices"

	"parley/fsm"
	"parley/fsm/judge/policy"
	"parley/mimi"
	"parley/mls"
)

// checkHubRole refuses a preauth_list that gives this hub no role, where the room has one with entries: who is neither a participant nor
// preauthorized has nothing to propose there, and the hub has to remove who is gone (room-policy-03 §4). A room without such a list leaves
// it to external_senders alone. The hub is known by the claims of its entry among these.
func checkHubRole(replica fsm.Reader, context mls.GroupContext, settings fsm.Settings) error {
	format, err := fsm.ReadFormat(replica)
	if err != nil || format < fsm.FormatExclusive {
		return err
	}
	rules, err := policy.Read(context)
	if err != nil {
		return ruled(err)
	}
	if !rules.Preauthorizes() {
		return nil
	}
	data, _ := context.Extensions.Get(mls.ExtensionExternalSenders)
	senders, err := mls.ParseExternalSenders(data)
	if err != nil {
		return objection(err)
	}
	for _, sender := range senders {
		ours := slices.ContainsFunc(settings.HubKeys, func(key []byte) bool { return bytes.Equal(sender.SignatureKey, key) })
		if ours && rules.HoldsRole(policy.Provider(policy.SenderProvider(sender), sender.Credential)) {
			return nil
		}
	}
	return deny("preauth_list gives this hub no role: no entry's claims are those of mimi://%s", settings.Domains[0])
}

// checkHubRoleChange is checkHubRole for what a Commit makes of a room, where it changes the list or the senders: a room that was created
// before this was looked at goes on.
func checkHubRoleChange(replica fsm.Reader, staged *mls.Staged, settings fsm.Settings) error {
	before, after := staged.Before.Context(), staged.After.Context()
	was, errBefore := before.Extensions.Dictionary()
	is, errAfter := after.Extensions.Dictionary()
	if errBefore != nil || errAfter != nil {
		return objection(errAfter) // what stands in the group was read when it came in
	}
	oldList, _ := was.Get(mimi.ComponentPreauthorization)
	newList, _ := is.Get(mimi.ComponentPreauthorization)
	oldSenders, _ := before.Extensions.Get(mls.ExtensionExternalSenders)
	newSenders, _ := after.Extensions.Get(mls.ExtensionExternalSenders)
	if bytes.Equal(oldList, newList) && bytes.Equal(oldSenders, newSenders) {
		return nil
	}
	return checkHubRole(replica, after, settings)
}
