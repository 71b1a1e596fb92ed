package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"parley/mimi"
)

// bulkNotifyPath is where the peer listener takes bulk deliveries; the directory document lists it.
const bulkNotifyPath = "/v1/bulkNotify"

// bulkNotify is POST /v1/bulkNotify of the peer listener: a hub delivers what happened in many of its rooms (docs/extensions.md). What is
// not among the exceptions of the answer is durable.
func (s *PeerServer) bulkNotify(c echo.Context) error {
	from, err := s.caller(c)
	if err != nil {
		return err
	}
	if !s.desk.takesBulk() {
		return newProblem(http.StatusNotFound, problemNotFound, "path", "Not every node here takes bulk deliveries yet: notify does.")
	}
	body, err := readBody(c, s.bodyBytesMax)
	if err != nil {
		return err
	}
	request, err := mimi.ParseBulkNotifyRequest(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), receivingPatience)
	defer cancel()
	response, faults := acknowledged(s.desk.receive(ctx, from, request.Items))
	if faults != nil {
		s.log.Error("parts of a bulk delivery failed", "error", faults)
	}
	return coded(response).send(c)
}

// acknowledged is the answer to items that were all looked at. faults are errors of this node.
func acknowledged(arrivals []arrival) (response mimi.BulkNotifyResponse, faults error) {
	response.Taken = uint32(len(arrivals))
	for i, a := range arrivals {
		if a.err == nil {
			continue
		}
		exception, fault := exceptionOf(i, a.err)
		response.Exceptions = append(response.Exceptions, exception)
		faults = errors.Join(faults, fault)
	}
	return response, faults
}
