package mls

import "fmt"

// SafeAADItem is one component's authenticated data (mls-extensions, Safe Additional Authenticated Data).
//
//	struct {
//	    ComponentID component_id;
//	    opaque aad_item_data<V>;
//	} SafeAADItem;
type SafeAADItem struct {
	Component ComponentID
	Data      []byte
}

// SafeAAD frames authenticated_data in groups whose dictionary has the safe_aad component: by increasing component.
//
//	struct {
//	    SafeAADItem aad_items<V>;
//	} SafeAAD;
type SafeAAD []SafeAADItem

func ReadSafeAAD(r *Reader) SafeAAD {
	list := ReadList(r, "aad_items", func(r *Reader) SafeAADItem {
		return SafeAADItem{Component: ComponentID(r.Uint16("component_id")), Data: r.Opaque("aad_item_data")}
	})
	for i := 1; i < len(list); i++ {
		if list[i].Component <= list[i-1].Component {
			r.Fail("aad_items", fmt.Sprintf("component 0x%04x stands after 0x%04x", uint16(list[i].Component), uint16(list[i-1].Component)))
			return nil
		}
	}
	return list
}

func ParseSafeAAD(b []byte) (SafeAAD, error) { return Parse("SafeAAD", b, ReadSafeAAD) }

func (l SafeAAD) AppendTo(w *Writer) { AppendList(w, l) }

func (i SafeAADItem) AppendTo(w *Writer) {
	w.Uint16(uint16(i.Component))
	w.Opaque(i.Data)
}

func (l SafeAAD) Marshal() []byte { return marshal(l) }

// CheckAuthenticatedData verifies the authenticated_data of a message of this epoch, of either framing: where the GroupContext
// has the safe_aad component, the whole of it must be a SafeAAD. The error is an *InvalidError.
func (g *PublicGroup) CheckAuthenticatedData(data []byte) error {
	if !g.safeAAD {
		return nil
	}
	return checkSafeAAD(data)
}

// CheckAuthenticatedData is PublicGroup's, for who has no more than the epoch's GroupContext. The error is an *InvalidError.
func (c GroupContext) CheckAuthenticatedData(data []byte) error {
	dictionary, err := c.Extensions.Dictionary()
	if err != nil {
		return invalidExtension("Application Data Dictionary", "the GroupContext cannot be read: %v", err)
	}
	if _, framed := dictionary.Get(ComponentSafeAAD); !framed {
		return nil
	}
	return checkSafeAAD(data)
}

func checkSafeAAD(data []byte) error {
	if _, err := ParseSafeAAD(data); err != nil {
		return invalidExtension("Safe AAD", "the authenticated data cannot be read: %v", err)
	}
	return nil
}
