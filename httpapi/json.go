package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/labstack/echo/v4"

	"parley/mls"
)

// readJSON reads a JSON body whole: unknown names, trailing bytes and a wrong type are malformed, and the field is named.
func readJSON(c echo.Context, limit int64, into any) error {
	media, _, err := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType))
	if err != nil || media != echo.MIMEApplicationJSON {
		return newProblem(http.StatusUnsupportedMediaType, problemMalformed, echo.HeaderContentType, "The endpoint takes application/json.")
	}
	body, err := readBody(c, limit)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return malformedJSON(err, body, into)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return &mls.MalformedError{Field: "body", Reason: "there is more behind the JSON value"}
	}
	return nil
}

// malformedJSON finds the field in the decoder's error. The names that it quotes are the requester's own.
func malformedJSON(err error, body []byte, into any) error {
	var base64Fault base64.CorruptInputError
	var wrongType *json.UnmarshalTypeError
	var malformed *mls.MalformedError
	switch {
	case errors.As(err, &malformed):
		return malformed
	case errors.As(err, &base64Fault):
		return &mls.MalformedError{Field: corruptField(body, into), Reason: "it is not base64"}
	case errors.As(err, &wrongType):
		field := wrongType.Field
		if field == "" {
			field = "body"
		}
		return &mls.MalformedError{Field: field, Reason: fmt.Sprintf("a JSON %s does not fit", wrongType.Value)}
	}
	if name, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return &mls.MalformedError{Field: strings.Trim(name, `"`), Reason: "the endpoint knows no such field"}
	}
	return &mls.MalformedError{Field: "body", Reason: "it is not the JSON that the endpoint takes"}
}

// corruptField is the field of the body whose base64 cannot be read: the decoder does not say which. Fields further down are told by
// the one that they are in.
func corruptField(body []byte, into any) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return "body"
	}
	target := reflect.TypeOf(into).Elem()
	if target.Kind() != reflect.Struct {
		return "body"
	}
	for i := range target.NumField() {
		name, _, _ := strings.Cut(target.Field(i).Tag.Get("json"), ",")
		raw, there := fields[name]
		var fault base64.CorruptInputError
		if there && errors.As(json.Unmarshal(raw, reflect.New(target.Field(i).Type).Interface()), &fault) {
			return name
		}
	}
	return "body"
}

// missing is a required field that is not there.
func missing(field string) error { return &mls.MalformedError{Field: field, Reason: "it is missing"} }
