package main

import (
	"errors"
	"slices"
	"testing"

	"parley/fsm"
)

func TestSlotNumbers(t *testing.T) {
	for _, test := range []struct {
		texts []string
		want  []fsm.SlotID // nil: refused
	}{
		{[]string{"7"}, []fsm.SlotID{7}},
		{[]string{"7-9", "4095"}, []fsm.SlotID{7, 8, 9, 4095}},
		{[]string{"5-5"}, []fsm.SlotID{5}},
		{[]string{"9-7"}, nil},
		{[]string{"4096"}, nil},
		{[]string{"1", "x"}, nil},
		{[]string{"-1"}, nil},
		{[]string{"1-"}, nil},
	} {
		slots, err := slotNumbers(test.texts)
		coded := (*codedError)(nil)
		if refused := errors.As(err, &coded) && coded.code == exitUsage; refused != (test.want == nil) || !slices.Equal(slots, test.want) {
			t.Errorf("%v came to %v, %v", test.texts, slots, err)
		}
	}
}
