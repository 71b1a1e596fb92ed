package mimi

import (
	"parley/mls"
)

// Optionality is whether members may, must or must not do something (room-policy-03 §6.1). The draft's selects call required mandatory.
//
//	enum { optional(0), required(1), forbidden(2) } Optionality;
type Optionality uint8

const (
	Optional  Optionality = 0
	Required  Optionality = 1
	Forbidden Optionality = 2
)

func (o Optionality) String() string {
	return enumName(uint8(o), "Optionality", "optional", "required", "forbidden")
}

func readOptionality(r *mls.Reader, field string) Optionality {
	o := Optionality(r.Uint8(field))
	if o > Forbidden {
		failEnum(r, field, uint8(o))
	}
	return o
}

func readTexts(r *mls.Reader, field, element string) []string {
	return mls.ReadList(r, field, func(r *mls.Reader) string { return readText(r, element) })
}
