package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
)

// receiverSuites are the first cipher suites of each KEM, for which the hub has an external receiver's key.
var receiverSuites = []mls.CipherSuite{1, 2, 4, 5, 7}

// receiverSuite is the one of receiverSuites with the KEM of a suite.
func receiverSuite(suite mls.CipherSuite) mls.CipherSuite {
	switch suite {
	case 3:
		return 1
	case 6:
		return 4
	default:
		return suite
	}
}

// algorithmsOf are those that there is a key of, for a purpose.
func algorithmsOf(purpose meta.KeyPurpose) (algorithms []uint16) {
	switch purpose {
	case meta.PurposeFranking:
		for _, scheme := range hubSchemes {
			algorithms = append(algorithms, uint16(scheme))
		}
	case meta.PurposeExternalReceiver:
		for _, suite := range receiverSuites {
			algorithms = append(algorithms, uint16(suite))
		}
	case meta.PurposeFrankMAC:
		algorithms = []uint16{0}
	}
	return algorithms
}

var servicePurposes = []meta.KeyPurpose{meta.PurposeFranking, meta.PurposeFrankMAC, meta.PurposeExternalReceiver}

// frankMACBytes is the length of a hub_key, that of the hash it is used with (mimi-protocol-06 §5.4.1.2: HMAC_SHA256).
const frankMACBytes = 32

// makeServiceKey makes a key and seals it. Its secret never leaves this node in the open.
func (n *Node) makeServiceKey(purpose meta.KeyPurpose, algorithm uint16) (meta.ServiceKey, error) {
	k := meta.ServiceKey{Purpose: purpose, Algorithm: algorithm}
	var secret []byte
	switch purpose {
	case meta.PurposeFranking:
		key, err := mls.GenerateSigningKey(mls.SignatureScheme(algorithm), rand.Reader)
		if err != nil {
			return k, err
		}
		k.Name, secret = key.Public(), key.Private()
	case meta.PurposeExternalReceiver:
		suite, err := mls.CipherSuite(algorithm).Suite()
		if err != nil {
			return k, err
		}
		if k.Name, secret, err = suite.GenerateHPKEKey(rand.Reader); err != nil {
			return k, err
		}
	case meta.PurposeFrankMAC:
		k.Name, secret = make([]byte, 16), make([]byte, frankMACBytes)
		for _, b := range [][]byte{k.Name, secret} {
			if _, err := rand.Read(b); err != nil {
				return k, err
			}
		}
	default:
		return k, fmt.Errorf("nothing is known of keys for %s", purpose)
	}
	var err error
	k.Sealed, err = seal(n.config.SealKey, secret, n.serviceKeyContext(purpose, k.Name))
	return k, err
}

// serviceKeyContext binds a sealed key to the cluster, to what it is for and to its name.
func (n *Node) serviceKeyContext(purpose meta.KeyPurpose, name []byte) string {
	return "parley " + purpose.String() + " key/" + n.config.Credentials.ClusterID() + "/" + hex.EncodeToString(name)
}

// addServiceKeys makes a key of each algorithm of a purpose that wanted asks for.
func (n *Node) addServiceKeys(ctx context.Context, purposes []meta.KeyPurpose, wanted func(meta.KeyPurpose, uint16) bool) error {
	var command meta.AddServiceKeys
	for _, purpose := range purposes {
		for _, algorithm := range algorithmsOf(purpose) {
			if !wanted(purpose, algorithm) {
				continue
			}
			k, err := n.makeServiceKey(purpose, algorithm)
			if err != nil {
				return fmt.Errorf("a key for %s: %w", purpose, err)
			}
			command.Keys = append(command.Keys, k)
		}
	}
	if len(command.Keys) == 0 {
		return nil
	}
	return n.change(ctx, command)
}

// tendServiceKeys gives the hub the keys that it has none of: with the cluster, or when it comes to the format that knows them. The meta
// group's leader does it; two at a time would each make some, of which the later ones are used.
func (n *Node) tendServiceKeys(ctx context.Context, current *meta.Map) error {
	settings, _ := current.Settings()
	if settings.Format < fsm.FormatBulk || n.meta.leader() != n.id {
		return nil
	}
	return n.addServiceKeys(ctx, servicePurposes, func(purpose meta.KeyPurpose, algorithm uint16) bool {
		_, has := current.ServiceKey(purpose, algorithm)
		return !has
	})
}

// RotateServiceKeys gives the hub new keys for a purpose, of every algorithm. Those before stay: rooms list them, and what was made with
// them is opened and checked with them. Again, it is another rotation. A cluster of a format below fsm.FormatBulk refuses.
func (n *Node) RotateServiceKeys(ctx context.Context, purpose meta.KeyPurpose) error {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if !n.Map().Initialised() {
		return ErrNotInitialised
	}
	return n.addServiceKeys(ctx, []meta.KeyPurpose{purpose}, func(meta.KeyPurpose, uint16) bool { return true })
}

// ServiceKeys are all keys of the hub beside those that it signs Proposals with, the oldest first.
func (n *Node) ServiceKeys() []meta.ServiceKey { return n.Map().ServiceKeys() }

// FrankingAgent is what a room of a suite puts into its franking_agent component (mimi-protocol-06 §5.4.1), whose FrankingAgentData has the
// form of an ExternalSender; false where there is no key yet.
func (n *Node) FrankingAgent(suite mls.CipherSuite) (mls.ExternalSender, bool) {
	known, err := suite.Suite()
	if err != nil {
		return mls.ExternalSender{}, false
	}
	key, found := n.Map().ServiceKey(meta.PurposeFranking, uint16(known.Scheme))
	return mls.ExternalSender{SignatureKey: key.Name, Credential: n.credential()}, found
}

// ExternalReceiver is the HPKE public key of the hub for a suite, with the credential that stands beside it in a room's external_receivers
// (semiprivatemessage-07 §3); false where there is no key yet.
func (n *Node) ExternalReceiver(suite mls.CipherSuite) (public []byte, credential mls.Credential, found bool) {
	key, found := n.Map().ServiceKey(meta.PurposeExternalReceiver, uint16(receiverSuite(suite)))
	return key.Name, n.credential(), found && slices.Contains(receiverSuites, receiverSuite(suite))
}

// credential names the hub.
func (n *Node) credential() mls.BasicCredential {
	settings, _ := n.Map().Settings()
	if len(settings.Domains) == 0 {
		return mls.BasicCredential{}
	}
	return mls.BasicCredential{Identity: []byte("mimi://" + settings.Domains[0].String())}
}
