package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

const (
	inboxBytesMax = 8 << 20 // bodies of a page of the inbox, and of what one shard adds to it, which travels in one answer
	inboxItemsMax = 1000    // of a page, likewise

	// inboxPatience is how long a page waits for a shard at another node. What does not come by then is in a later page.
	inboxPatience = 2 * time.Second
)

// Inbox returns a page of all that waits for the local provider, at most max items.
func (n *Node) Inbox(ctx context.Context, max int) ([]fsm.OutboxItem, error) {
	page, err := n.ReadInbox(ctx, fsm.InboxQuery{Items: max})
	return page.Items, err
}

// ReadInbox returns a page of what waits for the local provider, over all shards. Of each slot the page has the first items that fit the
// query, in order, so a room's come in order. Where not all of them have room, those slots go first whose first item has waited longest,
// and each gets as much as the others: neither a busy room nor a shard can keep the rest out, and none waits for ever. Within the page
// the items stand in order of hub time.
//
// Each shard is read at its leader, where an acknowledgement is seen as soon as it is answered. A shard that has none, or whose does not
// answer within inboxPatience, is left out, unless there is nothing from the others either.
func (n *Node) ReadInbox(ctx context.Context, query fsm.InboxQuery) (fsm.InboxPage, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return fsm.InboxPage{}, err
	}
	defer done()
	destination := n.localDestination()
	if destination.IsZero() {
		return fsm.InboxPage{Whole: true}, nil
	}
	query = bounded(query)
	shards := n.Map().Shards()
	pages := make([]fsm.InboxPage, len(shards))
	failed := make([]error, len(shards))
	var wait sync.WaitGroup
	for i, shard := range shards {
		if shard.State == meta.ShardActive {
			wait.Go(func() { pages[i], failed[i] = n.inboxOf(ctx, shard, destination, query) })
		} else {
			pages[i].Whole = true
		}
	}
	wait.Wait()
	page := dealt(pages, query)
	if err := errors.Join(failed...); err != nil {
		page.Whole = false
		if len(page.Items) == 0 {
			return fsm.InboxPage{}, fmt.Errorf("%w: inbox: %w", fsm.ErrNotProposed, err)
		}
	}
	return page, nil
}

// bounded is a query within the bounds of a page.
func bounded(query fsm.InboxQuery) fsm.InboxQuery {
	query.Items = max(0, min(query.Items, inboxItemsMax))
	if query.Bytes <= 0 || query.Bytes > inboxBytesMax {
		query.Bytes = inboxBytesMax
	}
	if query.Classes == 0 {
		query.Classes = fsm.AllClasses
	}
	return query
}

// dealt makes one page of those of several shards: an item of each slot, then a second one of each, and so on.
func dealt(pages []fsm.InboxPage, query fsm.InboxQuery) fsm.InboxPage {
	page := fsm.InboxPage{Whole: true}
	bySlot := make(map[fsm.SlotID][]fsm.OutboxItem)
	var slots []fsm.SlotID
	left := 0
	for _, p := range pages {
		page.Whole = page.Whole && p.Whole
		here := make(map[fsm.SlotID][]fsm.OutboxItem)
		for _, item := range p.Items {
			here[item.Slot] = append(here[item.Slot], item)
		}
		for _, slot := range slices.Sorted(maps.Keys(here)) {
			if was := bySlot[slot]; len(was) == 0 {
				slots = append(slots, slot)
			} else if was[0].Sequence >= here[slot][0].Sequence {
				continue // the slot has moved between two readings: the later one, in which no less is acknowledged, stands
			}
			left += len(here[slot]) - len(bySlot[slot])
			bySlot[slot] = here[slot]
		}
	}
	slices.SortFunc(slots, func(a, b fsm.SlotID) int {
		return cmp.Or(cmp.Compare(bySlot[a][0].Millis, bySlot[b][0].Millis), cmp.Compare(a, b))
	})
	bytes, full := 0, false
	for round := 0; left > 0 && !full; round++ {
		for _, slot := range slots {
			if round >= len(bySlot[slot]) {
				continue
			}
			item := bySlot[slot][round]
			if full = len(page.Items) > 0 && bytes+len(item.Body) > query.Bytes || len(page.Items) == query.Items; full {
				break
			}
			page.Items = append(page.Items, item)
			bytes += len(item.Body)
			left--
		}
	}
	page.Whole = page.Whole && left == 0
	// Within a slot hub time does not fall, so this keeps each room's order.
	slices.SortStableFunc(page.Items, func(a, b fsm.OutboxItem) int { return cmp.Compare(a.Millis, b.Millis) })
	return page
}

func (n *Node) inboxOf(ctx context.Context, shard meta.Shard, destination mimi.Provider, query fsm.InboxQuery) (fsm.InboxPage, error) {
	ctx, cancel := context.WithTimeout(ctx, inboxPatience)
	defer cancel()
	if local := n.replica(shard.ID); local != nil && local.serving(ctx) == nil {
		return local.page(destination, query)
	}
	return n.fetchInbox(ctx, shard, destination, query)
}

// page reads what one replica has of a page.
func (r *replica) page(destination mimi.Provider, query fsm.InboxQuery) (page fsm.InboxPage, err error) {
	mark := r.outbox.mark() // before the view, see outboxIndex.emptied
	named := r.outbox.slots(destination)
	view, err := r.view()
	if err != nil {
		return fsm.InboxPage{}, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	served := r.servedBy(view)
	slots, err := served.of(named)
	if err != nil {
		return fsm.InboxPage{}, err
	}
	readers, err := r.inboxReaders(view, slots, mark, destination, query)
	if err != nil {
		return fsm.InboxPage{}, err
	}
	gathered := inboxGathered{query: query}
	for len(readers) > 0 && !gathered.full {
		share := max(1, (query.Items-len(gathered.items))/len(readers))
		var more []*inboxReader
		for _, reader := range readers {
			if gathered.full {
				break
			}
			if err := reader.read(view, share, &gathered); err != nil {
				return fsm.InboxPage{}, err
			}
			if !reader.ended {
				more = append(more, reader)
			}
		}
		readers = more
	}
	// What a slot on its way holds may be in no shard's page: its next one may have been read before it came, and this one after it went.
	return fsm.InboxPage{Items: gathered.items, Whole: !gathered.full && !served.left && !r.goneAt.within(2*inboxPatience)}, nil
}

// inboxGathered is a page of one replica under way. It is full once something did not fit.
type inboxGathered struct {
	query fsm.InboxQuery
	items []fsm.OutboxItem
	bytes int
	full  bool
}

func (g *inboxGathered) fits(item fsm.OutboxItem) bool {
	g.full = len(g.items) == g.query.Items || len(g.items) > 0 && g.bytes+len(item.Body) > g.query.Bytes
	return !g.full
}

// inboxReader reads one slot in several steps.
type inboxReader struct {
	slot        fsm.SlotID
	destination mimi.Provider
	classes     fsm.EventClass
	next        uint64 // sequence
	millis      uint64 // hub time of the first item
	ended       bool
}

// inboxReaders are those of the slots that have something, those first that have had it longest.
func (r *replica) inboxReaders(view fsm.Reader, slots []fsm.SlotID, mark uint64, destination mimi.Provider, query fsm.InboxQuery) ([]*inboxReader, error) {
	var readers []*inboxReader
	for _, slot := range slots {
		reader := &inboxReader{slot: slot, destination: destination, classes: query.Classes, next: query.After.Of(slot) + 1, ended: true}
		err := reader.visit(view, func(item fsm.OutboxItem) bool {
			reader.next, reader.millis, reader.ended = item.Sequence, item.Millis, false
			return false
		})
		if err != nil {
			return nil, err
		}
		if !reader.ended {
			readers = append(readers, reader)
		} else if err := r.noteEmptied(view, destination, slot, mark); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(readers, func(a, b *inboxReader) int { return cmp.Compare(a.millis, b.millis) })
	return readers, nil
}

// noteEmptied takes a slot off the index if nothing waits in it.
func (r *replica) noteEmptied(view fsm.Reader, destination mimi.Provider, slot fsm.SlotID, mark uint64) error {
	head, err := fsm.ReadOutboxPosition(view, slot, destination)
	if err == nil && head.Waiting == 0 {
		r.outbox.emptied(destination, slot, mark)
	}
	return err
}

// visit shows the items from next on that fit the query.
func (s *inboxReader) visit(view fsm.Reader, show func(fsm.OutboxItem) (more bool)) error {
	return fsm.ReadOutbox(view, s.slot, s.destination, s.next, func(item fsm.OutboxItem) (bool, error) {
		if s.classes != fsm.AllClasses {
			classes, err := item.Classes()
			if err != nil || classes&s.classes == 0 {
				return err == nil, err
			}
		}
		return show(item), nil
	})
}

// read takes a share of items at most.
func (s *inboxReader) read(view fsm.Reader, share int, into *inboxGathered) error {
	s.ended = true
	return s.visit(view, func(item fsm.OutboxItem) bool {
		s.next, s.ended = item.Sequence, false
		if share == 0 || !into.fits(item) {
			return false
		}
		share--
		into.items, into.bytes = append(into.items, item), into.bytes+len(item.Body)
		s.next, s.ended = item.Sequence+1, true
		return true
	})
}

// inboxRequestVersion is the last layout of a request for a shard's part of the inbox. The first two are the layouts of items that a node
// of an older program asks for.
const inboxRequestVersion = 3

// fetchInbox asks the shard's leader:
//
//	struct {
//	    uint8 version;
//	    uint32 shard;
//	    opaque destination<V>;
//	    uint32 max;
//	    select (version) {
//	        case 1, 2: struct {};
//	        case 3:
//	            uint32 bytes;
//	            uint8 classes;
//	            InboxPlaces after;
//	    };
//	} InboxRequest;
//
//	struct {
//	    OutboxItem items<V>; // in the layout of the request's version, in 3 in the last of format bulk
//	    select (version) {
//	        case 1, 2: struct {};
//	        case 3: uint8 whole; // 0 or 1
//	    };
//	} InboxAnswer;
func (n *Node) fetchInbox(ctx context.Context, shard meta.Shard, destination mimi.Provider, query fsm.InboxQuery) (fsm.InboxPage, error) {
	version := n.inboxVersion()
	var w mls.Writer
	w.Uint8(version)
	w.Uint32(uint32(shard.ID))
	destination.AppendTo(&w)
	w.Uint32(uint32(query.Items))
	if version >= 3 {
		w.Uint32(uint32(query.Bytes))
		w.Uint8(uint8(query.Classes))
		query.After.AppendTo(&w)
	}
	raw, err := n.askLeading(ctx, shard, methodInbox, w.Bytes())
	if err != nil {
		return fsm.InboxPage{}, err
	}
	r := mls.NewReader("InboxAnswer", raw)
	page := fsm.InboxPage{Items: mls.ReadList(r, "items", func(r *mls.Reader) fsm.OutboxItem { return fsm.ReadOutboxItem(r, itemVersion(version)) })}
	if version >= 3 {
		page.Whole = r.Bool("whole")
		return page, r.Close()
	}
	if err := r.Close(); err != nil {
		return fsm.InboxPage{}, err
	}
	return fitting(page, query)
}

// fitting leaves of a page what a query asks for, where the node that made the page did not know how to.
func fitting(page fsm.InboxPage, query fsm.InboxQuery) (fsm.InboxPage, error) {
	var fit fsm.InboxPage
	for _, item := range page.Items {
		classes, err := item.Classes()
		if err != nil {
			return fsm.InboxPage{}, err
		}
		if classes&query.Classes != 0 && item.Sequence > query.After.Of(item.Slot) {
			fit.Items = append(fit.Items, item)
		}
	}
	return fit, nil
}

// inboxVersion is what every node of the cluster understands: a node of an older program knows no notes, and there are none before every
// node runs one that does.
func (n *Node) inboxVersion() uint8 {
	switch format := n.Settings().Format; {
	case format >= fsm.FormatBulk:
		return inboxRequestVersion
	case format >= fsm.FormatExclusive:
		return 2
	default:
		return 1
	}
}

func itemVersion(requestVersion uint8) uint8 { return min(requestVersion, fsm.ItemVersion) }

func (n *Node) serveInbox(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("InboxRequest", payload)
	version := r.Uint8("version")
	if version == 0 || version > inboxRequestVersion {
		r.Fail("version", "is not known")
	}
	shard := fsm.ShardID(r.Uint32("shard"))
	destination := mimi.ReadProvider(r, "destination")
	query := fsm.InboxQuery{Items: int(r.Uint32("max"))}
	if version >= 3 {
		query.Bytes, query.Classes, query.After = int(r.Uint32("bytes")), fsm.EventClass(r.Uint8("classes")), fsm.ReadInboxPlaces(r, "after")
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	replica := n.replica(shard)
	if replica == nil {
		return nil, fmt.Errorf("shard %d is not here", shard)
	}
	if err := replica.serving(ctx); err != nil {
		return nil, err
	}
	page, err := replica.page(destination, bounded(query))
	if err != nil {
		return nil, err
	}
	var w mls.Writer
	w.Vector(func(w *mls.Writer) {
		for _, item := range page.Items {
			item.AppendTo(w, itemVersion(version))
		}
	})
	if version >= 3 {
		w.Bool(page.Whole)
	}
	return w.Bytes(), nil
}
