package mls

import (
	"cmp"
	"fmt"
	"slices"
)

// ComponentData is one component's entry in an AppDataDictionary (mls-extensions).
//
//	struct {
//	    ComponentID component_id;
//	    opaque data<V>;
//	} ComponentData;
type ComponentData struct {
	ID   ComponentID
	Data []byte
}

func ReadComponentData(r *Reader) ComponentData {
	return ComponentData{ID: ComponentID(r.Uint16("component_id")), Data: r.Opaque("data")}
}

func (c ComponentData) AppendTo(w *Writer) {
	w.Uint16(uint16(c.ID))
	w.Opaque(c.Data)
}

// AppDataDictionary is the data of the app_data_dictionary extension (mls-extensions): sorted by component, each at most once.
//
//	struct {
//	    ComponentData component_data<V>;
//	} AppDataDictionary;
type AppDataDictionary []ComponentData

func ReadAppDataDictionary(r *Reader) AppDataDictionary {
	list := ReadList(r, "component_data", ReadComponentData)
	for i := 1; i < len(list); i++ {
		if list[i].ID <= list[i-1].ID {
			r.Fail("component_data", fmt.Sprintf("component 0x%04x stands after 0x%04x", uint16(list[i].ID), uint16(list[i-1].ID)))
			return nil
		}
	}
	return list
}

func ParseAppDataDictionary(b []byte) (AppDataDictionary, error) {
	return Parse("AppDataDictionary", b, ReadAppDataDictionary)
}

func (d AppDataDictionary) AppendTo(w *Writer) { AppendList(w, d) }

func (d AppDataDictionary) Marshal() []byte { return marshal(d) }

// Get returns a component's data, and whether it is present.
func (d AppDataDictionary) Get(id ComponentID) ([]byte, bool) {
	if i, found := d.find(id); found {
		return d[i].Data, true
	}
	return nil, false
}

// With returns a copy in which the component has this data.
func (d AppDataDictionary) With(id ComponentID, data []byte) AppDataDictionary {
	i, found := d.find(id)
	if found {
		out := slices.Clone(d)
		out[i].Data = data
		return out
	}
	return slices.Insert(slices.Clone(d), i, ComponentData{ID: id, Data: data})
}

// Without returns a copy in which the component has no entry.
func (d AppDataDictionary) Without(id ComponentID) AppDataDictionary {
	i, found := d.find(id)
	if !found {
		return d
	}
	return slices.Delete(slices.Clone(d), i, i+1)
}

func (d AppDataDictionary) find(id ComponentID) (int, bool) {
	return slices.BinarySearchFunc(d, id, func(c ComponentData, id ComponentID) int { return cmp.Compare(c.ID, id) })
}

// Dictionary reads the app_data_dictionary of an extension list; an absent one is empty.
func (l Extensions) Dictionary() (AppDataDictionary, error) {
	data, present := l.Get(ExtensionAppDataDictionary)
	if !present {
		return nil, nil
	}
	return ParseAppDataDictionary(data)
}
