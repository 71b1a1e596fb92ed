package cluster

import (
	"bytes"
	"testing"

	"parley/fsm/meta"
	"parley/mls"
)

// awaitServiceKeys waits until every node knows a key for each purpose and algorithm.
func (c *testCluster) awaitServiceKeys() {
	c.t.Helper()
	for id, n := range c.nodes {
		eventually(c.t, id+" knows the hub's keys", func() bool {
			for _, purpose := range servicePurposes {
				for _, algorithm := range algorithmsOf(purpose) {
					if _, has := n.Map().ServiceKey(purpose, algorithm); !has {
						return false
					}
				}
			}
			return true
		})
	}
}

// The hub gets its keys by itself; every node opens them, each under its own name alone; and a rotation leaves the old ones in place.
func TestServiceKeys(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitServiceKeys()
	n := c.nodes["n2"]
	for _, key := range n.ServiceKeys() {
		secret, err := unseal(n.sealKeys(), key.Sealed, n.serviceKeyContext(key.Purpose, key.Name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unseal(n.sealKeys(), key.Sealed, n.serviceKeyContext(key.Purpose%3+1, key.Name)); err == nil {
			t.Errorf("a key for %s is opened for another purpose", key.Purpose)
		}
		switch key.Purpose {
		case meta.PurposeFranking:
			signer, err := mls.NewSigningKey(mls.SignatureScheme(key.Algorithm), secret)
			if err != nil || !bytes.Equal(signer.Public(), key.Name) {
				t.Errorf("a key for franking of scheme %d: %v", key.Algorithm, err)
			}
		case meta.PurposeFrankMAC:
			if len(secret) != frankMACBytes || bytes.Contains(secret, key.Name) {
				t.Errorf("a hub_key of %d bytes, named %x", len(secret), key.Name)
			}
		}
	}
	for suite := mls.CipherSuite(1); suite <= 7; suite++ {
		known, err := suite.Suite()
		if err != nil {
			t.Fatal(err)
		}
		if public, _, found := n.ExternalReceiver(suite); !found || !known.ValidHPKEKey(public) {
			t.Errorf("suite %d: no receiver's key that can be encrypted to", suite)
		}
		agent, found := n.FrankingAgent(suite)
		if scheme, is := mls.SchemeOfKey(agent.SignatureKey); !found || !is || scheme != known.Scheme {
			t.Errorf("suite %d: no franking agent of its scheme", suite)
		}
	}
	before := n.ServiceKeys()
	was, _ := n.FrankingAgent(1)
	if err := n.RotateServiceKeys(c.context(), meta.PurposeFranking); err != nil {
		t.Fatal(err)
	}
	if is, _ := n.FrankingAgent(1); bytes.Equal(is.SignatureKey, was.SignatureKey) {
		t.Error("the rotation brought no new key")
	}
	for _, old := range before {
		if !contains(n.ServiceKeys(), old) {
			t.Errorf("a key for %s is gone", old.Purpose)
		}
	}
	if grown := len(n.ServiceKeys()) - len(before); grown != len(hubSchemes) {
		t.Errorf("the rotation brought %d keys", grown)
	}
}

func contains(keys []meta.ServiceKey, key meta.ServiceKey) bool {
	for _, k := range keys {
		if k.Purpose == key.Purpose && bytes.Equal(k.Name, key.Name) && bytes.Equal(k.Sealed, key.Sealed) {
			return true
		}
	}
	return false
}
