package cluster

import (
	"errors"
	"strings"
	"testing"

	"parley/mls"
)

// reopen restarts a node with these seal keys.
func (c *testCluster) reopen(id string, key [32]byte, old ...[32]byte) *Node {
	c.t.Helper()
	c.stop(id)
	config := c.configs[id]
	config.SealKey, config.OldSealKeys = key, old
	c.configs[id] = config
	return c.start(id)
}

func TestSealKeyIsReplaced(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	c := founded(t)
	c.invite("n2")
	was, is := [32]byte{2}, [32]byte{3}
	c.awaitServiceKeys()
	secrets := len(c.nodes["n1"].Map().Secrets())
	if n, err := c.nodes["n1"].Reseal(c.context()); n != 0 || err != nil {
		t.Errorf("with the key of before: %d, %v", n, err)
	}
	c.reopen("n1", is, was)
	eventually(t, "n1 and n2 reach each other", func() bool { return c.reaches("n1", "n2") && c.reaches("n2", "n1") })
	refusedFor := func(reason string) {
		eventually(t, "it is refused: "+reason, func() bool {
			_, err := c.nodes["n1"].Reseal(c.context())
			if err == nil {
				t.Fatalf("it is done, where it is to be refused: %s", reason)
			}
			return isRefusal(err, reason)
		})
	}
	refusedFor("n2 does not have the seal key " + sealKeyIDs([][32]byte{is})[0])
	c.stop("n2")
	refusedFor("n2 does not answer")
	c.start("n2")
	c.reopen("n2", is, was)
	eventually(t, "all are sealed anew", func() bool {
		n, err := c.nodes["n1"].Reseal(c.context())
		return err == nil && n == secrets
	})
	for _, secret := range c.nodes["n1"].Map().Secrets() {
		if !sealedUnder(is, secret.Sealed) {
			t.Errorf("the %s is sealed as before", secret.Kind)
		}
	}
	version := c.nodes["n1"].Map().Version()
	eventually(t, "n2 has the secrets as they are now", func() bool { return c.nodes["n2"].Map().Version() >= version })
	// The old key is needed no more, and a node that has it alone says which it lacks.
	for _, id := range []string{"n1", "n2"} {
		n := c.reopen(id, is)
		if _, _, can := n.HubSigner(mls.Ed25519); !can {
			t.Errorf("%s cannot sign", id)
		}
		if _, err := n.authority(); err != nil {
			t.Errorf("%s cannot certify: %v", id, err)
		}
	}
	n := c.reopen("n2", was)
	if _, err := n.authority(); !errors.Is(err, errSealed) || !strings.Contains(err.Error(), sealKeyIDs([][32]byte{is})[0]) ||
		!strings.Contains(err.Error(), sealKeyIDs([][32]byte{was})[0]) {
		t.Errorf("with the old key alone: %v", err)
	}
}

// What a former version sealed opens still.
func TestSealedByVersion1Opens(t *testing.T) {
	key := [32]byte{7}
	sealed, err := seal(key, []byte("secret"), "place")
	if err != nil {
		t.Fatal(err)
	}
	before := append([]byte{sealedVersion1}, sealed[1+sealKeyIDBytes:]...)
	for name, raw := range map[string][]byte{"version 1": before, "version 2": sealed} {
		if secret, err := unseal([][32]byte{{8}, key}, raw, "place"); err != nil || string(secret) != "secret" {
			t.Errorf("%s: %q, %v", name, secret, err)
		}
		if _, err := unseal([][32]byte{key}, raw, "another place"); !errors.Is(err, errSealed) {
			t.Errorf("%s in another place: %v", name, err)
		}
	}
}
