package httpapi

import (
	"encoding/binary"
	"testing"
)

// Answers are read here by hand, from the drafts' structures, so that a mistake which the codec makes both ways is seen.

// octets is what is left of a message in TLS presentation language.
type octets struct {
	t    testing.TB
	rest []byte
}

func (o *octets) take(n int) []byte {
	o.t.Helper()
	if n > len(o.rest) {
		o.t.Fatalf("%d octets are needed, %d are left", n, len(o.rest))
	}
	taken := o.rest[:n]
	o.rest = o.rest[n:]
	return taken
}

func (o *octets) uint8() uint8   { o.t.Helper(); return o.take(1)[0] }
func (o *octets) uint16() uint16 { o.t.Helper(); return binary.BigEndian.Uint16(o.take(2)) }
func (o *octets) uint32() uint32 { o.t.Helper(); return binary.BigEndian.Uint32(o.take(4)) }
func (o *octets) uint64() uint64 { o.t.Helper(); return binary.BigEndian.Uint64(o.take(8)) }

// vector is opaque<V>: the two high bits of the first octet tell how many hold the length (RFC 9420 §2.1.2).
func (o *octets) vector() []byte {
	o.t.Helper()
	first := o.uint8()
	length := int(first & 0x3f)
	for range 1<<(first>>6) - 1 {
		length = length<<8 | int(o.uint8())
	}
	return o.take(length)
}

func (o *octets) text() string { o.t.Helper(); return string(o.vector()) }

// inside reads a vector's content.
func (o *octets) inside() *octets { o.t.Helper(); return &octets{o.t, o.vector()} }

func (o *octets) end() {
	o.t.Helper()
	if len(o.rest) > 0 {
		o.t.Fatalf("%d octets too many: %x", len(o.rest), o.rest)
	}
}

// updateAnswerRead is an UpdateRoomResponse (mimi-protocol-06 §5.3).
type updateAnswerRead struct {
	code     uint8 // 0 success, 1 wrongEpoch, 2 notAllowed, 3 invalidProposal
	text     string
	accepted uint64
	epoch    uint64
	refs     []string
}

func readUpdateAnswer(t testing.TB, body []byte) (a updateAnswerRead) {
	t.Helper()
	o := &octets{t, body}
	a.code = o.uint8()
	a.text = o.text()
	switch a.code {
	case 0:
		a.accepted = o.uint64()
	case 1:
		a.epoch = o.uint64()
	case 3:
		for list := o.inside(); len(list.rest) > 0; {
			a.refs = append(a.refs, list.text())
		}
	}
	o.end()
	return a
}

// materialRead is what an answer says of one user.
type materialRead struct {
	code    uint8
	user    string
	clients []clientRead
	wait    uint32
}

type clientRead struct {
	code       uint8 // 0 success, 1 keyMaterialExhausted, 2 nothingCompatible
	client     string
	keyPackage []byte
	suite      uint16
}

// readMaterial reads a KeyMaterialResponse (mimi-protocol-06 §5.2).
func readMaterial(t testing.TB, body []byte) (m materialRead) {
	t.Helper()
	o := &octets{t, body}
	if protocol := o.uint8(); protocol != 1 {
		t.Fatalf("protocol %d", protocol)
	}
	m.code, m.user = o.uint8(), o.text()
	m.clients = readClients(o.inside())
	o.end()
	return m
}

// readBulkMaterial reads a BulkKeyMaterialResponse (docs/extensions.md).
func readBulkMaterial(t testing.TB, body []byte) (users []materialRead) {
	t.Helper()
	o := &octets{t, body}
	if format := o.uint8(); format != 1 {
		t.Fatalf("format %d", format)
	}
	list := o.inside()
	o.end()
	for len(list.rest) > 0 {
		m := materialRead{code: list.uint8(), user: list.text()}
		switch m.code {
		case 0, 1, 3:
			m.clients = readClients(list.inside())
		case 0x80, 0x81, 0x82:
			m.wait = list.uint32()
		}
		users = append(users, m)
	}
	return users
}

func readClients(list *octets) (clients []clientRead) {
	list.t.Helper()
	for len(list.rest) > 0 {
		c := clientRead{code: list.uint8(), client: list.text()}
		switch c.code {
		case 0:
			c.keyPackage, c.suite = readPackage(list)
		case 2:
			if list.uint8() == 1 {
				readCapabilities(list)
			}
		}
		clients = append(clients, c)
	}
	return clients
}

// readPackage reads a bare KeyPackage (RFC 9420 §10, §7.2).
func readPackage(o *octets) (encoded []byte, suite uint16) {
	o.t.Helper()
	whole := o.rest
	o.uint16() // version
	suite = o.uint16()
	o.vector() // init_key
	o.vector() // encryption_key
	o.vector() // signature_key
	if credential := o.uint16(); credential != 1 {
		o.t.Fatalf("credential type %d", credential)
	}
	o.vector() // identity
	readCapabilities(o)
	if source := o.uint8(); source != 1 {
		o.t.Fatalf("leaf_node_source %d", source)
	}
	o.uint64() // not_before
	o.uint64() // not_after
	o.vector() // the leaf's extensions
	o.vector() // the leaf's signature
	o.vector() // extensions
	o.vector() // signature
	return whole[:len(whole)-len(o.rest)], suite
}

func readCapabilities(o *octets) {
	o.t.Helper()
	for range 5 { // versions, cipher_suites, extensions, proposals, credentials
		o.vector()
	}
}
