package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
)

// members reads a member per word: its ID, then letters: v votes, c has a copy, - is not in the group; a answers, o answers with
// an old map, d has been silent for too long, s is silent; r was removed from the map, x drains, l leaves; A and B are zones.
func members(t *testing.T, words ...string) []metaMember {
	t.Helper()
	var list []metaMember
	for _, word := range words {
		m := metaMember{id: word[:2], active: true}
		for _, letter := range word[2:] {
			switch letter {
			case 'v':
				m.member, m.voter = true, true
			case 'c':
				m.member = true
			case 'a':
				m.answers, m.current = true, true
			case 'o':
				m.answers = true
			case 'd':
				m.dead = true
			case 'r':
				m.active = false
			case 'x':
				m.duty = meta.Draining
			case 'l':
				m.duty = meta.Leaving
			case 'A', 'B':
				m.zone = string(letter)
			case '-', 's':
			default:
				t.Fatalf("%q", word)
			}
		}
		list = append(list, m)
	}
	return list
}

func TestNextMetaChange(t *testing.T) {
	for name, test := range map[string]struct {
		members []string
		wanted  int
		action  metaAction
		id      string
	}{
		"all is well":                         {[]string{"n1va", "n2va", "n3va", "n4ca"}, 3, metaRest, ""},
		"a new node gets a copy":              {[]string{"n1va", "n2-a"}, 2, metaAdd, "n2"},
		"and a vote":                          {[]string{"n1va", "n2ca"}, 2, metaPromote, "n2"},
		"not while its map is old":            {[]string{"n1va", "n2co"}, 2, metaRest, ""},
		"not while it is silent":              {[]string{"n1va", "n2cs"}, 2, metaRest, ""},
		"a short silence":                     {[]string{"n1va", "n2va", "n3vs", "n4ca"}, 3, metaRest, ""},
		"a long one: the replacement first":   {[]string{"n1va", "n2va", "n3vd", "n4ca"}, 3, metaPromote, "n4"},
		"then the dead one":                   {[]string{"n1va", "n2va", "n3vd", "n4va"}, 3, metaDemote, "n3"},
		"nobody to replace it":                {[]string{"n1va", "n2va", "n3vd", "n4cs"}, 3, metaRest, ""},
		"it came back: one is too many":       {[]string{"n1va", "n2va", "n3va", "n4va"}, 3, metaDemote, "n4"},
		"back as a copy":                      {[]string{"n1va", "n2va", "n3ca", "n4va"}, 3, metaRest, ""},
		"two dead of five":                    {[]string{"n1va", "n2va", "n3va", "n4vd", "n5vd", "n6ca"}, 5, metaPromote, "n6"},
		"two dead of six, one after another":  {[]string{"n1va", "n2va", "n3va", "n4vd", "n5vd", "n6va"}, 5, metaDemote, "n4"},
		"a majority would not answer":         {[]string{"n1va", "n2vs", "n3vd", "n4ca"}, 3, metaRest, ""},
		"a demotion that leaves a minority":   {[]string{"n1va", "n2vs", "n3vs", "n4va"}, 3, metaRest, ""},
		"a removed one":                       {[]string{"n1va", "n2vsr", "n3va"}, 2, metaRemove, "n2"},
		"a removed one of two":                {[]string{"n1va", "n2vsr"}, 1, metaRemove, "n2"},
		"a removal that leaves a minority":    {[]string{"n1va", "n2var", "n3vs"}, 2, metaRest, ""},
		"one leaves: the replacement first":   {[]string{"n1va", "n2val", "n3va", "n4ca"}, 3, metaPromote, "n4"},
		"then it goes":                        {[]string{"n1va", "n2val", "n3va", "n4va"}, 3, metaDemote, "n2"},
		"one leaves, and nobody comes":        {[]string{"n1va", "n2val", "n3va"}, 2, metaDemote, "n2"},
		"one leaves that is needed":           {[]string{"n1va", "n2val", "n3vs"}, 2, metaRest, ""},
		"one drains: the replacement first":   {[]string{"n1va", "n2vax", "n3va", "n4ca"}, 3, metaPromote, "n4"},
		"one drains, and nobody comes":        {[]string{"n1va", "n2vax", "n3va"}, 3, metaRest, ""},
		"a draining one does not replace":     {[]string{"n1va", "n2vax", "n3va", "n4cax"}, 3, metaRest, ""},
		"but comes where one is missing":      {[]string{"n1va", "n3va", "n4cax"}, 3, metaPromote, "n4"},
		"a dead one before one that leaves":   {[]string{"n1va", "n2val", "n3va", "n4vd", "n5va", "n6va"}, 5, metaDemote, "n4"},
		"the leader drains":                   {[]string{"n1vax", "n2vax", "n3va"}, 3, metaHandOver, "n3"},
		"the leader leaves, last of all":      {[]string{"n1val", "n2va", "n3va", "n4ca"}, 3, metaPromote, "n4"},
		"nobody takes over":                   {[]string{"n1val", "n2vo", "n3vax"}, 2, metaRest, ""},
		"to the emptiest zone":                {[]string{"n1vaA", "n2vaA", "n3caA", "n4caB"}, 3, metaPromote, "n4"},
		"from the fullest zone":               {[]string{"n1vaA", "n2vaA", "n3vaB", "n4vaB", "n5vaB"}, 4, metaDemote, "n5"},
		"from the fullest zone, not the last": {[]string{"n1vaA", "n2vaA", "n3vaA", "n4vaB"}, 3, metaDemote, "n3"},
		"the leader does not take itself":     {[]string{"n1var"}, 1, metaRest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			action, id := nextMetaChange("n1", members(t, test.members...), test.wanted)
			if action != test.action || id != test.id {
				t.Errorf("%d %s, want %d %s", action, id, test.action, test.id)
			}
		})
	}
}

// Whatever answers, no change makes the answering voters a minority, and with enough that answer the changes come to an end at so
// many voters, all of them alive.
func TestMetaChangesAreSafeAndEnd(t *testing.T) {
	states := []string{"va", "vd", "vs", "ca", "cs", "-a", "var", "vsr", "val", "vax", "cax"}
	const others = 4
	total := 1
	for range others {
		total *= len(states)
	}
	for code := range total {
		words := []string{"n1va"}
		for i, rest := 0, code; i < others; i, rest = i+1, rest/len(states) {
			words = append(words, fmt.Sprintf("n%d%s", i+2, states[rest%len(states)]))
		}
		list := members(t, words...)
		active, alive := 0, 0
		for _, m := range list {
			if m.active {
				if m.duty != meta.Leaving {
					active++
				}
				if m.answers && m.duty <= meta.Serving {
					alive++
				}
			}
		}
		wanted := metaVoters(active)
		began := majorityAnswers(list)
		for steps := 0; ; steps++ {
			action, id := nextMetaChange("n1", list, wanted)
			if action == metaRest {
				break
			}
			if steps > 20 {
				t.Fatalf("%v: no end", words)
			}
			i := slices.IndexFunc(list, func(m metaMember) bool { return m.id == id })
			switch action {
			case metaRemove:
				list = slices.Delete(list, i, i+1)
			case metaAdd:
				list[i].member = true
			case metaHandOver:
				t.Fatalf("%v: the leader goes, who serves", words)
			default:
				list[i].voter = action == metaPromote
				list[i].dead = list[i].dead && list[i].voter
			}
			if action != metaAdd && !majorityAnswers(list) {
				t.Fatalf("%v: %d %s leaves a minority", words, action, id)
			}
		}
		if !began || alive < wanted {
			continue
		}
		for _, m := range list {
			if m.voter && m.goes() {
				t.Fatalf("%v: the voter %s stays, though %d nodes are alive and serve", words, m.id, alive)
			}
		}
	}
}

// majorityAnswers judges members as they are. It shares nothing with the rule under test.
func majorityAnswers(list []metaMember) bool {
	yes, no := 0, 0
	for _, m := range list {
		switch {
		case m.voter && m.answers:
			yes++
		case m.voter:
			no++
		}
	}
	return yes > no
}

// voters are the voters of the meta group, as its leader has them.
func (c *testCluster) voters() string {
	for _, n := range c.nodes {
		g := n.meta.started.Load()
		if g == nil || !g.leads() {
			continue
		}
		var voters []string
		if future := g.raft.GetConfiguration(); future.Error() == nil {
			for _, m := range membersOf(future.Configuration(), activeNodes(n.Map())) {
				if m.voter {
					voters = append(voters, m.id)
				}
			}
		}
		return fmt.Sprint(voters)
	}
	return ""
}

// awaitVoters waits until the first three nodes vote in the meta group, so that it can decide without any one of them.
func (c *testCluster) awaitVoters() {
	c.t.Helper()
	eventually(c.t, "three nodes vote on the map", func() bool { return c.voters() == "[n1 n2 n3]" })
}

func TestDeadMetaVoterIsReplaced(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	c := newTestCluster(t, func(config *Config) { config.MetaVoterPatience = 10 * time.Second })
	n1 := c.add("n1")
	if err := n1.Init(c.context(), InitOptions{Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 1}); err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{"n2", "n3", "n4"} {
		c.join(c.add(id), n1.ClusterAddr())
		want := fmt.Sprint([]string{"n1", "n2", "n3"}[:min(i+2, 3)])
		eventually(t, "voters "+want, func() bool { return c.voters() == want })
	}
	c.stop("n3")
	eventually(t, "n4 votes in n3's place", func() bool { return c.voters() == "[n1 n2 n4]" })
	// The old one comes back as a copy, and votes when it is needed again.
	c.start("n3")
	eventually(t, "n3 has the map", func() bool { return c.nodes["n3"].Map().Version() == n1.Map().Version() })
	eventually(t, "n4 still votes in n3's place", func() bool {
		got := c.voters() // none while nobody leads
		if got != "" && got != "[n1 n2 n4]" {
			t.Fatalf("the voters are %s", got)
		}
		return got != ""
	})
	c.stop("n4")
	eventually(t, "n3 votes in n4's place", func() bool { return c.voters() == "[n1 n2 n3]" })
	// With two of three away nothing can be decided, and nothing is.
	c.stop("n2")
	c.stop("n3")
	eventually(t, "nobody leads", func() bool { return c.voters() == "" })
	c.start("n2")
	eventually(t, "two of three are a majority", func() bool { return c.voters() == "[n1 n2 n3]" })
}
