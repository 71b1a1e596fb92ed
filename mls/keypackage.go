package mls

// KeyPackage lets others add a client to a group while it is away (RFC 9420 §10). It is used once, unless it is of last resort.
//
//	struct {
//	    ProtocolVersion version;
//	    CipherSuite cipher_suite;
//	    HPKEPublicKey init_key;
//	    LeafNode leaf_node;
//	    Extension extensions<V>;
//	    opaque signature<V>; // SignWithLabel(., "KeyPackageTBS", KeyPackageTBS)
//	} KeyPackage;
type KeyPackage struct {
	Suite      CipherSuite
	InitKey    []byte
	Leaf       LeafNode
	Extensions Extensions
	Signature  []byte
}

func ReadKeyPackage(r *Reader) KeyPackage {
	readVersion(r, "version")
	return KeyPackage{
		Suite:      CipherSuite(r.Uint16("cipher_suite")),
		InitKey:    r.Opaque("init_key"),
		Leaf:       ReadIn(r, "leaf_node", ReadLeafNode),
		Extensions: ReadIn(r, "extensions", ReadExtensions),
		Signature:  r.Opaque("signature"),
	}
}

func ParseKeyPackage(b []byte) (KeyPackage, error) { return Parse("KeyPackage", b, ReadKeyPackage) }

func (k KeyPackage) AppendTo(w *Writer) {
	k.appendUnsigned(w)
	w.Opaque(k.Signature)
}

func (k KeyPackage) Marshal() []byte { return marshal(k) }

// appendUnsigned appends KeyPackageTBS: all but the signature.
func (k KeyPackage) appendUnsigned(w *Writer) {
	w.Uint16(uint16(MLS10))
	w.Uint16(uint16(k.Suite))
	w.Opaque(k.InitKey)
	k.Leaf.AppendTo(w)
	k.Extensions.AppendTo(w)
}

// Lifetime is the lifetime of the KeyPackage's leaf; false where the leaf has another source, which §10.1 forbids.
func (k KeyPackage) Lifetime() (Lifetime, bool) {
	l, ok := k.Leaf.Source.(Lifetime)
	return l, ok
}

// LastResort reports whether the KeyPackage may be used more than once: marked by the last_resort component in its
// dictionary (mls-extensions), or by the older extension. An unreadable dictionary marks nothing.
func (k KeyPackage) LastResort() bool {
	if _, old := k.Extensions.Get(ExtensionLastResort); old {
		return true
	}
	dictionary, err := k.Extensions.Dictionary()
	if err != nil {
		return false
	}
	_, marked := dictionary.Get(ComponentLastResort)
	return marked
}

// checkLastResort refuses a mark of last resort that is not empty, and a dictionary that cannot be read (mls-extensions,
// Last-Resort KeyPackages).
func (k KeyPackage) checkLastResort() error {
	dictionary, err := k.Extensions.Dictionary()
	if err != nil {
		return invalidExtension("Application Data Dictionary", "the KeyPackage cannot be read: %v", err)
	}
	component, _ := dictionary.Get(ComponentLastResort)
	older, _ := k.Extensions.Get(ExtensionLastResort)
	if len(component)+len(older) > 0 {
		return invalidExtension("Last-Resort KeyPackages", "the mark of last resort has data")
	}
	return nil
}
