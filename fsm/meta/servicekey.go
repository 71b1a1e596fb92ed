package meta

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mls"
)

// KeyPurpose says what a ServiceKey is for. The set is closed; numbers are append-only.
type KeyPurpose uint8

const (
	// PurposeFranking signs what the hub has franked: the franking_signature_key of a room's franking_agent (mimi-protocol-06 §5.4.1).
	PurposeFranking KeyPurpose = 1
	// PurposeFrankMAC is the hub_key, which franks (mimi-protocol-06 §5.4.1.2). It has no public half.
	PurposeFrankMAC KeyPurpose = 2
	// PurposeExternalReceiver opens what members encrypt to the hub: an entry of a room's external_receivers (semiprivatemessage-07 §3).
	PurposeExternalReceiver KeyPurpose = 3
)

var purposeNames = [...]string{PurposeFranking: "franking", PurposeFrankMAC: "frank-mac", PurposeExternalReceiver: "external-receiver"}

func (p KeyPurpose) String() string {
	if p >= 1 && int(p) < len(purposeNames) {
		return purposeNames[p]
	}
	return fmt.Sprintf("purpose %d", uint8(p))
}

// ParsePurpose reads a purpose's name; false where there is no such purpose.
func ParsePurpose(name string) (KeyPurpose, bool) {
	i := slices.Index(purposeNames[1:], name)
	return KeyPurpose(i + 1), i >= 0
}

// ServiceKey is a key of the hub beside those that it signs Proposals with.
type ServiceKey struct {
	Purpose KeyPurpose
	// Algorithm is the signature scheme of a key for franking, and of an external receiver the first cipher suite with its KEM; else 0.
	Algorithm   uint16
	Name        []byte // the public half; of a key that has none, random octets by which it is told from others
	Sealed      []byte // the secret under the operator's key; opened by the node, never here
	AddedMillis uint64 // the meta group's time when it came
}

// ServiceKeysMax bounds those that the map keeps: none is ever forgotten, since a room may list it and an old frank may be shown.
const ServiceKeysMax = 1024

const (
	serviceKeyNameBytesMax = 256
	serviceKeysAtOnceMax   = 64
)

// AddServiceKeys brings keys in, all or none; each is the one to use for its purpose and algorithm from then on. AddedMillis are apply's
// to say. It is of fsm.FormatBulk.
type AddServiceKeys struct {
	Keys  []ServiceKey
	Stamp uint64
}

func (AddServiceKeys) kind() commandKind { return kindAddServiceKeys }

// WithStamp implements Stamped.
func (c AddServiceKeys) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

func (c AddServiceKeys) apply(t *tx) Outcome {
	var fresh []ServiceKey
	for _, k := range c.Keys {
		if reason := k.fault(); reason != "" {
			return refuse("the key for %s %s", k.Purpose, reason)
		}
		same := func(o ServiceKey) bool { return o.Purpose == k.Purpose && bytes.Equal(o.Name, k.Name) }
		if !slices.ContainsFunc(t.m.serviceKeys, same) && !slices.ContainsFunc(fresh, same) {
			fresh = append(fresh, k)
		}
	}
	switch {
	case t.m.settings.Format < fsm.FormatBulk:
		return refuse("the cluster has to be raised to format %d first", fsm.FormatBulk)
	case len(c.Keys) > serviceKeysAtOnceMax:
		return refuse("more than %d keys at once", serviceKeysAtOnceMax)
	case len(t.m.serviceKeys)+len(fresh) > ServiceKeysMax:
		return refuse("there are %d keys of the hub already", len(t.m.serviceKeys))
	case len(fresh) == 0:
		return t.unchanged()
	}
	for i, k := range fresh {
		k.AddedMillis = t.now(c.Stamp)
		t.set(serviceKeyKey(t.next(), i), k.appendTo)
	}
	return t.stamped(c.Stamp)
}

// fault says what is wrong with a key; empty where nothing is.
func (k ServiceKey) fault() string {
	switch {
	case k.Purpose < 1 || int(k.Purpose) >= len(purposeNames):
		return "is for nothing that is known"
	case len(k.Name) == 0 || len(k.Name) > serviceKeyNameBytesMax:
		return "has no name, or one that is too long"
	case sealedFault(k.Sealed):
		return "has no secret"
	}
	return ""
}

// ServiceKeys are all of them, the oldest first.
func (m *Map) ServiceKeys() []ServiceKey { return m.serviceKeys }

// ServiceKey is the key to use for a purpose and an algorithm: the newest.
func (m *Map) ServiceKey(purpose KeyPurpose, algorithm uint16) (ServiceKey, bool) {
	for _, k := range slices.Backward(m.serviceKeys) {
		if k.Purpose == purpose && k.Algorithm == algorithm {
			return k, true
		}
	}
	return ServiceKey{}, false
}

// readServiceKeys reads the map's records, with the keys under which they stand.
func (m *Map) readServiceKeys(r fsm.Reader) (err error) {
	m.serviceKeys, err = readAll(r, keyServiceKey, "key of the hub", readServiceKey)
	if err != nil {
		return err
	}
	return r.Scan(newKey(keyServiceKey), newKey(keyServiceKey+1), func(key, _ []byte) (bool, error) {
		m.serviceKeyPlaces = append(m.serviceKeyPlaces, bytes.Clone(key))
		return true, nil
	})
}

func serviceKeyKey(version uint64, place int) []byte {
	return newKey(keyServiceKey, append(binary.BigEndian.AppendUint64(nil, version), byte(place))...)
}

// secretName tells a key's secret from all others.
func (k ServiceKey) secretName() []byte { return append([]byte{byte(k.Purpose)}, k.Name...) }

func (t *tx) resealServiceKey(r Resealed) {
	i := slices.IndexFunc(t.m.serviceKeys, func(k ServiceKey) bool { return bytes.Equal(k.secretName(), r.Name) })
	k := t.m.serviceKeys[i]
	k.Sealed = r.Sealed
	t.set(t.m.serviceKeyPlaces[i], k.appendTo)
}

//	struct {
//	    uint8 purpose;
//	    uint16 algorithm;
//	    opaque name<V>;
//	    opaque sealed<V>;
//	    uint64 added_millis;
//	} ServiceKey;
func (k ServiceKey) appendTo(w *mls.Writer) {
	w.Uint8(uint8(k.Purpose))
	w.Uint16(k.Algorithm)
	w.Opaque(k.Name)
	w.Opaque(k.Sealed)
	w.Uint64(k.AddedMillis)
}

func readServiceKey(r *mls.Reader) ServiceKey {
	return ServiceKey{
		Purpose: KeyPurpose(r.Uint8("purpose")), Algorithm: r.Uint16("algorithm"),
		Name: r.Opaque("name"), Sealed: r.Opaque("sealed"), AddedMillis: r.Uint64("added_millis"),
	}
}

//	struct {
//	    ServiceKey keys<V>;
//	    uint64 stamp;
//	} AddServiceKeys;
func (c AddServiceKeys) appendTo(w *mls.Writer) {
	w.Vector(func(w *mls.Writer) {
		for _, k := range c.Keys {
			k.appendTo(w)
		}
	})
	w.Uint64(c.Stamp)
}

func readAddServiceKeys(r *mls.Reader) AddServiceKeys {
	return AddServiceKeys{Keys: mls.ReadList(r, "keys", readServiceKey), Stamp: r.Uint64("stamp")}
}
