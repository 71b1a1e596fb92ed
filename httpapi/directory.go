package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"parley/mimi"
)

// getDirectory is GET /.well-known/mimi-protocol-directory (mimi-protocol-06 §5.1). It needs a peer's certificate, and a From
// header only if it comes with one.
func (s *PeerServer) getDirectory(c echo.Context) error {
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, s.directory)
}

// directoryDocument lists the endpoints that exist, at the node's own address: each node of a cluster answers for the whole.
func directoryDocument(base *url.URL) ([]byte, error) {
	directory, err := mimi.NewDirectory(base.String()+"/v1", mimi.EndpointKeyMaterial, mimi.EndpointUpdate,
		mimi.EndpointSubmitMessage, mimi.EndpointGroupInfo, mimi.EndpointNotify)
	if err != nil {
		return nil, fmt.Errorf("make the directory document: %w", err)
	}
	for _, extension := range []struct {
		endpoint mimi.Endpoint
		path     string
	}{
		{mimi.EndpointBulkKeyMaterial, bulkKeyMaterialPath}, {mimi.EndpointBulkSubmit, bulkSubmitPath}, {mimi.EndpointSubmissions, submissionsPath},
		{mimi.EndpointRoomEpoch, roomEpochPath},
	} {
		if directory, err = directory.With(extension.endpoint, base.String()+extension.path); err != nil {
			return nil, fmt.Errorf("make the directory document: %w", err)
		}
	}
	if directory, err = directory.With(mimi.EndpointBulkNotify, base.String()+bulkNotifyPath); err != nil {
		return nil, fmt.Errorf("make the directory document: %w", err)
	}
	document, err := json.MarshalIndent(directory, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the directory document: %w", err)
	}
	return append(document, '\n'), nil
}
