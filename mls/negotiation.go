package mls

// ComponentsList is the data of the components app_components and safe_aad (mls-extensions, Negotiating Extensions and
// Components): in a leaf what the client supports, in the GroupContext what every member must.
//
//	struct {
//	    ComponentID component_ids<V>;
//	} ComponentsList;
type ComponentsList []ComponentID

func ReadComponentsList(r *Reader) ComponentsList { return readCodes[ComponentID](r, "component_ids") }

func ParseComponentsList(b []byte) (ComponentsList, error) {
	return Parse("ComponentsList", b, ReadComponentsList)
}

func (l ComponentsList) AppendTo(w *Writer) { appendCodes(w, l) }

func (l ComponentsList) Marshal() []byte { return marshal(l) }

// WireFormats is the data of the extensions supported_wire_formats, of a leaf, and required_wire_formats, of the GroupContext
// (mls-extensions). Those of RFC 9420 are always supported and need not be listed.
//
//	struct {
//	    WireFormat wire_formats<V>;
//	} WireFormats;
type WireFormats []WireFormat

func ReadWireFormats(r *Reader) WireFormats { return readCodes[WireFormat](r, "wire_formats") }

func ParseWireFormats(b []byte) (WireFormats, error) {
	return Parse("WireFormats", b, ReadWireFormats)
}

func (l WireFormats) AppendTo(w *Writer) { appendCodes(w, l) }

func (l WireFormats) Marshal() []byte { return marshal(l) }
