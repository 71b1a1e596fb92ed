package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"
)

// RequestBytesMax is the default limit of a request's body: 8 MiB.
const RequestBytesMax = 8 << 20

// readBody takes a whole request body or none of it. Every fault is a *Problem with status 400 (415 for a content coding,
// since nothing is ever decompressed) that names the field "body" or "Content-Encoding"; the caller has changed nothing yet.
func readBody(c echo.Context, limit int64) ([]byte, error) {
	r := c.Request()
	if coding := r.Header.Get(echo.HeaderContentEncoding); coding != "" && coding != "identity" {
		return nil, newProblem(http.StatusUnsupportedMediaType, problemMalformed, echo.HeaderContentEncoding,
			"Bodies are taken without a content coding only.")
	}
	if r.ContentLength > limit {
		return nil, newProblem(http.StatusBadRequest, problemBodyTooLarge, "body",
			fmt.Sprintf("%d bytes, more than the limit of %d", r.ContentLength, limit))
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, newProblem(http.StatusBadRequest, problemBodyTooLarge, "body", fmt.Sprintf("more than the limit of %d bytes", limit))
	case err != nil:
		return nil, newProblem(http.StatusBadRequest, problemBodyCutShort, "body", cutShort(r, len(body)))
	case r.ContentLength >= 0 && int64(len(body)) != r.ContentLength:
		return nil, newProblem(http.StatusBadRequest, problemBodyCutShort, "body", cutShort(r, len(body)))
	}
	return body, nil
}

func cutShort(r *http.Request, got int) string {
	if r.ContentLength >= 0 {
		return fmt.Sprintf("%d bytes came of the %d that Content-Length promises", got, r.ContentLength)
	}
	return fmt.Sprintf("the body ended after %d bytes, before its end was marked", got)
}
