package fsm

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
)

// SlotPageBytes is a good size for what a page carries: with it an entry is as large as a proposer gathers.
const SlotPageBytes = 240 << 10

var (
	// ErrSlotNotExported: the view shows no export of the slot, so there is nothing to carry.
	ErrSlotNotExported = errors.New("the slot is not on its way out of this shard")
	// ErrSlotViewOld: the view is older than that from which the target has its last page. A later one is needed.
	ErrSlotViewOld = errors.New("the view is older than what the target of the slot has")
)

// SlotPage is what is to be carried next of a slot.
type SlotPage struct {
	Page ImportSlotPage
	// Marks is for the source once the target has taken Page; Carried says that there are any.
	Marks   DropSlotMarks
	Carried bool
	// More says that as of the view Page is not the last. Where it is, and the slot is frozen, the page is Complete, and ActivateSlot comes behind it.
	More bool

	told bool // the target knows as much of how far the slot has been carried
}

// Empty reports whether the target already has all that the view shows, so that Page need not be carried.
func (p SlotPage) Empty() bool { return p.told && len(p.Page.Records) == 0 && !p.More }

// NextSlotPage makes the page that follows on what has come at the target, from a view of the source whose applied index is index. First come all
// keys in their order, then those that are marked; what came of another move counts for nothing. The keys and values of the page
// come to bytesMax at most, which should be SlotPageBytes. An error wraps ErrSlotNotExported, ErrSlotViewOld, or is the reader's.
func NextSlotPage(r Reader, index uint64, slot SlotID, came SlotImport, bytesMax int) (SlotPage, error) {
	export, found, err := ReadSlotExport(r, slot)
	if err == nil && !found {
		err = ErrSlotNotExported
	}
	if err != nil {
		return SlotPage{}, fmt.Errorf("slot %d: %w", slot, err)
	}
	if came.Move != export.Move {
		came = SlotImport{}
	}
	if index < came.Index {
		return SlotPage{}, fmt.Errorf("slot %d: %w", slot, ErrSlotViewOld)
	}
	shard, _, err := ReadShard(r)
	if err != nil {
		return SlotPage{}, err
	}
	format, err := ReadFormat(r)
	if err != nil {
		return SlotPage{}, err
	}
	p := pager{r: r, slot: slot, part: came.Part, bytesMax: bytesMax, left: bytesMax}
	page := SlotPage{Page: ImportSlotPage{
		At: slot, Move: export.Move, From: shard.Shard, Sequence: came.Sequence + 1, Index: index, Format: format,
		Through: came.Through, Whole: came.Whole,
	}}
	if came.Whole {
		err = p.marked()
		page.Marks = DropSlotMarks{At: slot, Move: export.Move, Through: index, Last: p.last}
		page.Carried, page.More = p.last != nil, p.full
	} else {
		err = p.all(came.Through)
		if p.last != nil {
			page.Page.Through = p.last
		}
		page.Page.Whole, page.More = !p.full, true
		if err == nil && page.Page.Whole {
			marks, countErr := SlotMarks(r, slot, 1)
			page.More, err = marks > 0, countErr
		}
	}
	page.Page.Records = p.records
	page.Page.Complete = export.Frozen && page.Page.Whole && !page.More
	page.told = came.Whole && came.Complete == page.Page.Complete
	return page, err
}

// SlotMarks counts the keys of a slot that are marked, up to most: what there is to be carried once all keys have been.
func SlotMarks(r Reader, slot SlotID, most int) (marks int, err error) {
	err = visitSlotMarks(r, slot, nil, func([]byte, uint64) (bool, error) {
		marks++
		return marks < most, nil
	})
	return marks, err
}

// pager fills a page with records.
type pager struct {
	r        Reader
	slot     SlotID
	part     SlotPart // that the target has begun with
	bytesMax int
	left     int
	records  []SlotRecord
	last     []byte // the last key that has come whole
	full     bool
}

// all goes through the slot's keys behind after.
func (p *pager) all(after []byte) error {
	lower, upper := slotRange(p.slot)
	if len(after) > 0 {
		lower = successor(newSlotKey(p.slot, after))
	}
	return p.r.Scan(lower, upper, func(k, value []byte) (bool, error) {
		return p.add(bytes.Clone(k[slotBytes:]), bytes.Clone(value)), nil
	})
}

// marked goes through the keys that are marked.
func (p *pager) marked() error {
	var keys [][]byte
	room := p.left
	err := visitSlotMarks(p.r, p.slot, nil, func(k []byte, _ uint64) (bool, error) {
		keys = append(keys, bytes.Clone(k))
		room -= recordBytes(k)
		return room > 0, nil
	})
	if err != nil {
		return err
	}
	for _, k := range keys {
		value, err := p.r.Get(newSlotKey(p.slot, k))
		if err != nil {
			return err
		}
		if !p.add(k, value) {
			break
		}
	}
	p.full = p.full || room <= 0 // then there are marks that were not looked at
	return nil
}

// recordBytes is what a record costs beside its value, about.
func recordBytes(key []byte) int { return len(key) + 12 }

// add takes a key with its value, nil where it is gone, and reports whether the page has room for more.
func (p *pager) add(k, value []byte) bool {
	sum, summed := [hashBytes]byte{}, false
	hash := func() [hashBytes]byte { // the most of what a part costs, and nothing where the value comes whole
		if !summed {
			sum, summed = sha256.Sum256(value), true
		}
		return sum
	}
	begun := 0
	if len(p.part.Key) > 0 && bytes.Equal(k, p.part.Key) && int(p.part.Total) == len(value) && p.part.Hash == hash() {
		begun = int(p.part.Offset)
	}
	part := func(end int) SlotRecord {
		return SlotPart{Key: k, Offset: uint32(begun), Total: uint32(len(value)), Hash: hash(), Bytes: value[begun:end]}
	}
	room := p.left - recordBytes(k)
	switch rest := value[begun:]; {
	case begun == 0 && (len(rest) <= room || len(rest) == 0 && len(p.records) == 0): // a key alone goes into a page of any size
		p.take(whole(k, value), recordBytes(k)+len(value))
		p.last = k
	case len(rest) <= room-partBytes:
		p.take(part(len(value)), recordBytes(k)+partBytes+len(rest))
		p.last = k
	case len(p.records) > 0 && (room < p.bytesMax/2 || len(rest) <= p.bytesMax-recordBytes(k)-partBytes):
		p.full = true // it goes whole, or with more of it, into the next page
	default:
		end := min(begun+max(room-partBytes, 1), len(value))
		p.take(part(end), p.left)
		if end == len(value) {
			p.last = k
		}
	}
	p.full = p.full || p.left <= 0
	return !p.full
}

func (p *pager) take(record SlotRecord, cost int) {
	p.records = append(p.records, record)
	p.left -= cost
}

func whole(k, value []byte) SlotRecord {
	if value == nil {
		return SlotGone{Key: k}
	}
	return SlotValue{Key: k, Value: value}
}

// partBytes is what a part costs beside what any record does.
const partBytes = 4 + 4 + hashBytes
