package httpapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mls"
)

const (
	acknowledgeMax  = 10_000 // IDs in a request
	slotsInParallel = 16
)

// acknowledgeRequest is the body of POST /v1/inbox/acknowledge: items by their IDs, or all that a cursor stands behind, or both. An ID
// that is unknown, or was acknowledged before, is harmless.
type acknowledgeRequest struct {
	IDs    []string `json:"ids"`
	Cursor string   `json:"cursor,omitempty"`
}

// acknowledgeResult counts the items that the request names and that do not wait any more, each once, and those that it took by its
// cursor. Of items that are named it cannot be told which of them went by this request and not by the same one before.
type acknowledgeResult struct {
	Acknowledged int `json:"acknowledged"`
}

// itemName is what an ID says.
type itemName struct {
	slot     fsm.SlotID
	sequence uint64
}

// acknowledgeInbox is POST /v1/inbox/acknowledge. After an error some of the items may have been acknowledged; the same request
// can be sent again.
func (s *LocalServer) acknowledgeInbox(c echo.Context) error {
	var r acknowledgeRequest
	if err := readJSON(c, s.bodyBytesMax, &r); err != nil {
		return err
	}
	if len(r.IDs) > acknowledgeMax {
		return &mls.MalformedError{Field: "ids", Reason: fmt.Sprintf("more than %d IDs", acknowledgeMax)}
	}
	bySlot, named := map[fsm.SlotID][]uint64{}, map[itemName]bool{}
	for _, id := range r.IDs {
		slot, sequence, err := parseItemID(id)
		if err != nil {
			return err
		}
		item := itemName{slot, sequence}
		if !named[item] {
			named[item] = true
			bySlot[slot] = append(bySlot[slot], sequence)
		}
	}
	var through inboxCursor
	if r.Cursor != "" {
		var err error
		if through, err = parseInboxCursor("cursor", r.Cursor); err != nil {
			return err
		}
		if through.classes != fsm.AllClasses {
			return &mls.MalformedError{Field: "cursor", Reason: "it is of a reading of some classes only, which left out others before it: name the IDs"}
		}
	}
	if err := s.acknowledgeSlots(c.Request().Context(), bySlot); err != nil {
		return err
	}
	byCursor, err := s.acknowledgeThrough(c.Request().Context(), through.places)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, acknowledgeResult{Acknowledged: len(named) + byCursor})
}

// acknowledgeThrough acknowledges all up to some places, and counts what went.
func (s *LocalServer) acknowledgeThrough(ctx context.Context, places fsm.InboxPlaces) (int, error) {
	self, err := s.desk.self()
	if err != nil {
		return 0, err
	}
	var items atomic.Int64
	err = sideBySide(places, func(place fsm.InboxPlace) error {
		request, err := judge.NewAcknowledgeThrough(place.Slot, self, place.Sequence)
		if err != nil {
			return err
		}
		for {
			outcome, err := s.desk.hub.Do(ctx, request)
			if err != nil {
				return err
			}
			switch o := outcome.(type) {
			case fsm.Acknowledged:
				items.Add(int64(o.Items))
				if !o.More {
					return nil
				}
			case fsm.FormatNotReached:
				return olderFormat()
			default:
				return unexpected("an acknowledgement", outcome)
			}
		}
	})
	return int(items.Load()), err
}

// acknowledgeSlots asks the slots' shards side by side.
func (s *LocalServer) acknowledgeSlots(ctx context.Context, bySlot map[fsm.SlotID][]uint64) error {
	self, err := s.desk.self()
	if err != nil {
		return err
	}
	return sideBySide(slices.Collect(maps.Keys(bySlot)), func(slot fsm.SlotID) error {
		return acknowledge(ctx, s.desk.hub, slot, self, bySlot[slot])
	})
}

// sideBySide does something for each of a list, a bounded number at a time, and returns what failed.
func sideBySide[T any](list []T, do func(T) error) error {
	turns := make(chan struct{}, slotsInParallel)
	results := make(chan error, len(list))
	for _, each := range list {
		turns <- struct{}{}
		go func() {
			defer func() { <-turns }()
			results <- do(each)
		}()
	}
	var errs []error
	for range list {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}
