package cluster

import "testing"

// groupMembers reads a member per word: its ID, then letters: w is wanted, v votes, c is in the group without a vote, r runs, k has the log;
// n lacks next to nothing of it, d does not serve.
func groupMembers(t *testing.T, words ...string) (list []replicaMember) {
	t.Helper()
	for i, word := range words {
		m := replicaMember{id: word[:2], serves: true, leads: i}
		for _, letter := range word[2:] {
			switch letter {
			case 'w':
				m.wanted = true
			case 'v':
				m.member, m.voter = true, true
			case 'c':
				m.member = true
			case 'r':
				m.running = true
			case 'k':
				m.running, m.caught = true, true
			case 'n':
				m.close = true
			case 'd':
				m.serves = false
			default:
				t.Fatalf("%q", word)
			}
		}
		list = append(list, m)
	}
	return list
}

func TestNextMember(t *testing.T) {
	for name, test := range map[string]struct {
		members []string
		enough  int
		action  memberAction
		id      string
	}{
		"all is well":                            {[]string{"n1wvk", "n2wvk", "n3wvk"}, 3, memberRest, ""},
		"one comes":                              {[]string{"n1wvk", "n2wvk", "n3wvk", "n4wr"}, 3, memberAdd, "n4"},
		"not before it runs":                     {[]string{"n1wvk", "n2wvk", "n3wvk", "n4w"}, 3, memberRest, ""},
		"it waits for its vote":                  {[]string{"n1wvk", "n2wvk", "n3wvk", "n4wcr"}, 3, memberRest, ""},
		"it has caught up":                       {[]string{"n1wvk", "n2wvk", "n3wvk", "n4wck"}, 3, memberPromote, "n4"},
		"not yet where it would be waited for":   {[]string{"n1wvk", "n2wvk", "n3v", "n4wck"}, 3, memberRest, ""},
		"it would be waited for, not for long":   {[]string{"n1wvk", "n2wvk", "n3v", "n4wckn"}, 3, memberPromote, "n4"},
		"another goes":                           {[]string{"n1wvk", "n2wvk", "n4wvk", "n3vk"}, 3, memberRemove, "n3"},
		"a dead one goes":                        {[]string{"n1wvk", "n2wvk", "n4wvk", "n3v"}, 3, memberRemove, "n3"},
		"not before enough vote":                 {[]string{"n1wvk", "n2wvk", "n4wcr", "n3vk"}, 3, memberRest, ""},
		"not before enough are back":             {[]string{"n1wvk", "n2wvk", "n4w", "n3vk"}, 3, memberRest, ""},
		"not where a minority would answer":      {[]string{"n1wvk", "n2wv", "n4wv", "n3vk"}, 3, memberRest, ""},
		"without a vote it goes at once":         {[]string{"n1wvk", "n2wvk", "n4w", "n3cr"}, 3, memberRemove, "n3"},
		"the leader goes: first its lead":        {[]string{"n2wvk", "n3wvk", "n4wvk", "n1vk"}, 3, memberHandOver, "n2"},
		"not before enough vote, the leader too": {[]string{"n2wvk", "n3wvk", "n4wcr", "n1vk"}, 3, memberRest, ""},
		"to one that has the log":                {[]string{"n2wvr", "n3wvk", "n4wvk", "n1vk"}, 3, memberHandOver, "n3"},
		"to one that lacks next to nothing":      {[]string{"n2wvk", "n3wvk", "n4wvkn", "n1vk"}, 3, memberHandOver, "n4"},
		"to one that serves":                     {[]string{"n2wvkd", "n3wvkd", "n4wvk", "n1vk"}, 3, memberHandOver, "n4"},
		"to any where none serves":               {[]string{"n2wvkd", "n3wvkd", "n4wvkd", "n1vk"}, 3, memberHandOver, "n2"},
		"the leader drains":                      {[]string{"n1wvkd", "n2wvk", "n3wvk"}, 3, memberHandOver, "n2"},
		"all drain":                              {[]string{"n1wvkd", "n2wvkd", "n3wvkd"}, 3, memberRest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if action, id := nextMember("n1", groupMembers(t, test.members...), test.enough); action != test.action || id != test.id {
				t.Errorf("%d %s, want %d %s", action, id, test.action, test.id)
			}
		})
	}
}
