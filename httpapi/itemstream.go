package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

const (
	ndjsonMediaType = "application/x-ndjson"
	sseMediaType    = "text/event-stream"

	// streamWriteMax is how long a reader of a stream may take to let a batch through.
	streamWriteMax = 30 * time.Second
	// streamQuietMax is how long a stream of events says nothing: those between see that it lives, and the server that its reader is gone.
	streamQuietMax = 15 * time.Second
)

// itemStream sends items without end, one a line or one an event (WHATWG HTML, server-sent events). It belongs to one goroutine.
type itemStream struct {
	response *echo.Response
	control  *http.ResponseController
	events   bool
	written  time.Time
}

// streamMedia is the kind of stream that a request asks for; empty for none.
func streamMedia(r *http.Request) string {
	for _, media := range []string{sseMediaType, ndjsonMediaType} {
		if accepts(r, media) {
			return media
		}
	}
	return ""
}

// openStream sends the head of the answer. The connection has no read deadline from there on.
func openStream(c echo.Context, media string) (*itemStream, error) {
	s := &itemStream{response: c.Response(), control: http.NewResponseController(c.Response()), events: media == sseMediaType, written: time.Now()}
	if err := s.control.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("lift the read deadline: %w", err)
	}
	if err := s.limit(); err != nil {
		return nil, err
	}
	s.response.Header().Set(echo.HeaderContentType, media)
	s.response.Header().Set(echo.HeaderCacheControl, "no-store")
	s.response.WriteHeader(http.StatusOK)
	s.response.Flush()
	return s, nil
}

func (s *itemStream) limit() error {
	if err := s.control.SetWriteDeadline(time.Now().Add(streamWriteMax)); err != nil {
		return fmt.Errorf("set the write deadline: %w", err)
	}
	return nil
}

// send writes one item. id is where a reader that has had it goes on; empty where it cannot go on there.
func (s *itemStream) send(item any, id string) error {
	encoded, err := json.Marshal(item)
	if err != nil {
		return fmt.Errorf("encode an item: %w", err)
	}
	var line bytes.Buffer
	if s.events {
		if id != "" {
			fmt.Fprintf(&line, "id: %s\n", id)
		}
		fmt.Fprintf(&line, "event: item\ndata: %s\n\n", encoded)
	} else {
		line.Write(encoded)
		line.WriteByte('\n')
	}
	return s.write(line.Bytes())
}

// idle says that the stream lives, where nothing was sent for a while.
func (s *itemStream) idle() error {
	if !s.events || time.Since(s.written) < streamQuietMax {
		return nil
	}
	if err := s.write([]byte(":\n\n")); err != nil {
		return err
	}
	s.flush()
	return nil
}

func (s *itemStream) write(b []byte) error {
	if err := s.limit(); err != nil {
		return err
	}
	_, err := s.response.Write(b)
	s.written = time.Now()
	return err
}

// flush brings what was sent on its way.
func (s *itemStream) flush() { s.response.Flush() }
