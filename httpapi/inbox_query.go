package httpapi

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/mls"
)

// headerLastEventID is what a reader of server-sent events sends when it comes again.
const headerLastEventID = "Last-Event-ID"

// inboxQuery is what a reader of the inbox asks for.
type inboxQuery struct {
	max   int
	wait  time.Duration
	raw   bool
	after inboxCursor // its classes are those that the reader wants
}

func parseInboxQuery(c echo.Context) (inboxQuery, error) {
	q := inboxQuery{max: inboxItemsDefault}
	seconds := 0
	err := errors.Join(numberParam(c, "max", 1, inboxItemsMax, &q.max), numberParam(c, "waitSeconds", 0, inboxWaitMax, &seconds))
	if err != nil {
		return inboxQuery{}, err
	}
	q.wait = time.Duration(seconds) * time.Second
	if q.after.classes, err = fsm.ParseEventClasses(c.QueryParam("classes")); err != nil {
		return inboxQuery{}, err
	}
	if field, text := cursorParam(c); text != "" {
		from, err := parseInboxCursor(field, text)
		if err != nil {
			return inboxQuery{}, err
		}
		if from.classes != q.after.classes {
			return inboxQuery{}, &mls.MalformedError{Field: field, Reason: fmt.Sprintf("it belongs to a reading of the classes %s", from.classes)}
		}
		q.after = from
	}
	q.raw, err = parseForm(c)
	return q, err
}

// parseForm reads whether a reader takes bodies as they came.
func parseForm(c echo.Context) (raw bool, err error) {
	switch form := c.QueryParam("form"); form {
	case "", "events":
		return false, nil
	case "raw":
		return true, nil
	default:
		return false, &mls.MalformedError{Field: "form", Reason: "it is neither events nor raw"}
	}
}

// cursorParam is where the reader wants to go on. A stream that was cut says so in its header, and its URL is as old as its beginning.
func cursorParam(c echo.Context) (field, text string) {
	if last := c.Request().Header.Get(headerLastEventID); last != "" {
		return headerLastEventID, last
	}
	return "after", c.QueryParam("after")
}

// uriParam reads a URI from the query; the zero value where there is none. An error names the parameter.
func uriParam[T any](c echo.Context, name string, parse func(string) (T, error)) (uri T, err error) {
	text := c.QueryParam(name)
	if text == "" {
		return uri, nil
	}
	if uri, err = parse(text); err != nil {
		return uri, &mls.MalformedError{Field: name, Reason: err.Error()}
	}
	return uri, nil
}

func numberParam(c echo.Context, name string, low, high int, into *int) error {
	text := c.QueryParam(name)
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return &mls.MalformedError{Field: name, Reason: fmt.Sprintf("it is no number from %d to %d", low, high)}
	}
	*into = n
	return nil
}

// page is the query as the hub takes it.
func (q inboxQuery) page() fsm.InboxQuery {
	return fsm.InboxQuery{Items: q.max, Classes: q.after.classes, After: q.after.places}
}

// accepts reports whether the Accept header names a media type outright.
func accepts(r *http.Request, media string) bool {
	for _, value := range r.Header.Values(echo.HeaderAccept) {
		for part := range strings.SplitSeq(value, ",") {
			if name, _, err := mime.ParseMediaType(part); err == nil && name == media {
				return true
			}
		}
	}
	return false
}
