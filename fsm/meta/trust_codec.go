package meta

import "parley/mls"

func (c PutCA) appendTo(w *mls.Writer)           { c.CA.appendTo(w) }
func (c RevokeJoinToken) appendTo(w *mls.Writer) { appendText(w, c.ID) }
func (c PutGossipKey) appendTo(w *mls.Writer)    { c.Key.appendTo(w) }
func (c UseGossipKey) appendTo(w *mls.Writer)    { appendText(w, c.ID) }
func (c RemoveGossipKey) appendTo(w *mls.Writer) { appendText(w, c.ID) }

// struct { JoinToken token; uint64 millis; uint64 stamp; } PutJoinToken;
func (c PutJoinToken) appendTo(w *mls.Writer) {
	c.Token.appendTo(w)
	w.Uint64(c.Millis)
	w.Uint64(c.Stamp)
}

//	struct {
//	    opaque token_id<V>;
//	    opaque secret_hash[32];
//	    opaque key_hash[32];
//	    Certificate certificate;
//	    uint64 stamp;
//	} EnrolNode;
func (c EnrolNode) appendTo(w *mls.Writer) {
	appendText(w, c.TokenID)
	w.Fixed(c.SecretHash[:])
	w.Fixed(c.KeyHash[:])
	c.Certificate.appendTo(w)
	w.Uint64(c.Stamp)
}

func readEnrolNode(r *mls.Reader) EnrolNode {
	c := EnrolNode{TokenID: string(r.Opaque("token_id"))}
	copy(c.SecretHash[:], r.Fixed("secret_hash", len(c.SecretHash)))
	copy(c.KeyHash[:], r.Fixed("key_hash", len(c.KeyHash)))
	c.Certificate = readCertificate(r)
	c.Stamp = r.Uint64("stamp")
	return c
}

// struct { Certificate certificate; uint64 stamp; } RecordCertificate;
func (c RecordCertificate) appendTo(w *mls.Writer) {
	c.Certificate.appendTo(w)
	w.Uint64(c.Stamp)
}

// struct { opaque node<V>; uint64 stamp; } RevokeCertificates;
func (c RevokeCertificates) appendTo(w *mls.Writer) {
	appendText(w, c.Node)
	w.Uint64(c.Stamp)
}

// struct { Resealed secrets<V>; } Reseal;
func (c Reseal) appendTo(w *mls.Writer) {
	w.Vector(func(w *mls.Writer) {
		for _, s := range c.Secrets {
			s.appendTo(w)
		}
	})
}

// struct { opaque certificate<V>; opaque sealed<V>; } CA;
func (ca CA) appendTo(w *mls.Writer) {
	w.Opaque(ca.Certificate)
	w.Opaque(ca.Sealed)
}

func readCA(r *mls.Reader) CA {
	return CA{Certificate: r.Opaque("certificate"), Sealed: r.Opaque("sealed")}
}

// EncodeCA writes a CA for a file. A file is a place for it until the map has it.
func EncodeCA(ca CA) []byte { return encode(ca.appendTo) }

// DecodeCA reads what EncodeCA wrote.
func DecodeCA(b []byte) (CA, error) { return decode("CA", b, readCA) }

//	struct {
//	    opaque id<V>;
//	    opaque secret_hash[32];
//	    opaque node<V>;
//	    uint64 until;
//	    opaque used_by<V>;
//	    opaque used_key[32];
//	} JoinToken;
func (k JoinToken) appendTo(w *mls.Writer) {
	appendText(w, k.ID)
	w.Fixed(k.SecretHash[:])
	appendText(w, k.Node)
	w.Uint64(k.Until)
	appendText(w, k.UsedBy)
	w.Fixed(k.UsedKey[:])
}

func readJoinToken(r *mls.Reader) JoinToken {
	k := JoinToken{ID: string(r.Opaque("id"))}
	copy(k.SecretHash[:], r.Fixed("secret_hash", len(k.SecretHash)))
	k.Node = string(r.Opaque("node"))
	k.Until = r.Uint64("until")
	k.UsedBy = string(r.Opaque("used_by"))
	copy(k.UsedKey[:], r.Fixed("used_key", len(k.UsedKey)))
	return k
}

//	struct {
//	    opaque serial<V>;
//	    opaque node<V>;
//	    uint64 not_after;
//	    uint8 revoked;
//	} Certificate;
func (c Certificate) appendTo(w *mls.Writer) {
	w.Opaque(c.Serial)
	appendText(w, c.Node)
	w.Uint64(c.NotAfter)
	w.Bool(c.Revoked)
}

func readCertificate(r *mls.Reader) Certificate {
	return Certificate{
		Serial: r.Opaque("serial"), Node: string(r.Opaque("node")), NotAfter: r.Uint64("not_after"), Revoked: r.Bool("revoked"),
	}
}

// struct { opaque node<V>; uint64 at; } Revocation;
func (v Revocation) appendTo(w *mls.Writer) {
	appendText(w, v.Node)
	w.Uint64(v.At)
}

func readRevocation(r *mls.Reader) Revocation {
	return Revocation{Node: string(r.Opaque("node")), At: r.Uint64("at")}
}

// struct { opaque id<V>; opaque sealed<V>; uint8 primary; } GossipKey;
func (k GossipKey) appendTo(w *mls.Writer) {
	appendText(w, k.ID)
	w.Opaque(k.Sealed)
	w.Bool(k.Primary)
}

func readGossipKey(r *mls.Reader) GossipKey {
	return GossipKey{ID: string(r.Opaque("id")), Sealed: r.Opaque("sealed"), Primary: r.Bool("primary")}
}

//	struct {
//	    uint8 kind;
//	    opaque name<V>;
//	    opaque was[32];
//	    opaque sealed<V>;
//	} Resealed;
func (s Resealed) appendTo(w *mls.Writer) {
	w.Uint8(uint8(s.Kind))
	w.Opaque(s.Name)
	w.Fixed(s.Was[:])
	w.Opaque(s.Sealed)
}

func readResealed(r *mls.Reader) Resealed {
	s := Resealed{Kind: SecretKind(r.Uint8("kind")), Name: r.Opaque("name")}
	copy(s.Was[:], r.Fixed("was", len(s.Was)))
	s.Sealed = r.Opaque("sealed")
	return s
}
