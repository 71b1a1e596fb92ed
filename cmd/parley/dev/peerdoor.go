package dev

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"

	"parley/mimi"
)

// peerDoor knocks at the peer listeners of another provider with the certificate of one's own, as that provider's nodes do. With
// it a single node can be asked, whichever it is.
type peerDoor struct {
	from   mimi.Provider
	client *http.Client
}

func newPeerDoor(from *provider, caPEM []byte) (*peerDoor, error) {
	domain, err := mimi.ParseProvider(from.domain)
	if err != nil {
		return nil, err
	}
	folder := from.nodes[0].Folder
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "web.pem"), filepath.Join(folder, "web.key"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		return nil, errors.New("the development CA is not a certificate")
	}
	return &peerDoor{from: domain, client: &http.Client{
		Timeout: stepMax,
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}},
			MaxIdleConnsPerHost: 8,
		},
	}}, nil
}

// post sends a request to one node.
func (d *peerDoor) post(ctx context.Context, n *node, path string, body []byte) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, n.PeerURL()+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set(mimi.HeaderFrom, mimi.FromHeader(d.from))
	request.Header.Set(mimi.HeaderContentType, mediaOctets)
	response, err := d.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, responseBytesMax))
	return reply{status: response.StatusCode, header: response.Header, body: answer, node: n}, err
}

// update posts an update request to one node of the hub.
func (d *peerDoor) update(ctx context.Context, n *node, room mimi.RoomURI, bundle []byte) (updated, error) {
	r, err := d.post(ctx, n, "/v1/update/"+mimi.PathSegment(room), bundle)
	if err != nil {
		return updated{}, err
	}
	if r.status != http.StatusOK {
		return updated{}, fmt.Errorf("%s answered %d: %s", n.ID, r.status, bytes.TrimSpace(r.body))
	}
	answer, err := mimi.ParseUpdateRoomResponse(r.body)
	return updated{answer, r.header.Get(mimi.HeaderEpochWinner), n}, err
}
