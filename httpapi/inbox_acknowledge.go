package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/mls"
)

const (
	acknowledgeMax  = 10_000 // IDs in a request
	slotsInParallel = 16
)

// acknowledgeRequest is the body of POST /v1/inbox/acknowledge. An ID that is unknown, or was acknowledged before, is harmless.
type acknowledgeRequest struct {
	IDs []string `json:"ids"`
}

// acknowledgeResult counts the items of the request that do not wait any more, each once. It cannot be told which of them went by
// this request and not by the same one before: a repetition would have nothing to count.
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
	if err := s.acknowledgeSlots(c.Request().Context(), bySlot); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, acknowledgeResult{Acknowledged: len(named)})
}

// acknowledgeSlots asks the slots' shards side by side, a bounded number at a time.
func (s *LocalServer) acknowledgeSlots(ctx context.Context, bySlot map[fsm.SlotID][]uint64) error {
	self, err := s.desk.self()
	if err != nil {
		return err
	}
	turns := make(chan struct{}, slotsInParallel)
	results := make(chan error, len(bySlot))
	for slot, sequences := range bySlot {
		turns <- struct{}{}
		go func() {
			defer func() { <-turns }()
			results <- acknowledge(ctx, s.desk.hub, slot, self, sequences)
		}()
	}
	var errs []error
	for range bySlot {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}
