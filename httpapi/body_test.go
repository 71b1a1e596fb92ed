package httpapi

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"parley/fsm"
)

// A body over the limit, cut short or with trailing bytes gets 400 naming the field, and the hub is never asked.
func TestBodyFaults(t *testing.T) {
	d := openPeerDoor(t, func(c *PeerConfig) { c.BodyBytesMax = 1000 })
	d.hub.set(fsm.Accepted{}, nil)
	target := path("submitMessage", ourRoom)
	whole := submitBody(bob)
	for name, test := range map[string]struct {
		body  io.Reader
		field string
		kind  string
	}{
		"over the limit":            {bytes.NewReader(make([]byte, 1001)), "body", problemBodyTooLarge},
		"over the limit, in chunks": {struct{ io.Reader }{bytes.NewReader(make([]byte, 5000))}, "body", problemBodyTooLarge},
		"trailing bytes":            {bytes.NewReader(append(bytes.Clone(whole), 0)), "SubmitMessageRequest", problemMalformed},
		"too short in itself":       {bytes.NewReader(whole[:len(whole)-3]), "SubmitMessageRequest.sendingUri", problemMalformed},
		"empty":                     {bytes.NewReader(nil), "SubmitMessageRequest.protocol", problemMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequest(http.MethodPost, "https://"+d.address+target, test.body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("From", "mimi@b.example")
			a := do(t, d.client, r)
			if p := problemIn(t, a); a.status != http.StatusBadRequest || p.Field != test.field || p.Type != "urn:parley:problem:"+test.kind {
				t.Errorf("got %d %+v", a.status, p)
			}
		})
	}
	t.Run("cut short", func(t *testing.T) {
		head := fmt.Sprintf("Content-Length: %d\r\n\r\n", len(whole)+40)
		checkCut(t, d, target, head+string(whole))
	})
	t.Run("cut short, in chunks", func(t *testing.T) {
		checkCut(t, d, target, fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(whole), whole))
	})
	t.Run("compressed", func(t *testing.T) {
		r := d.request(t, target, "mimi@b.example", whole)
		r.Header.Set("Content-Encoding", "gzip")
		if a := do(t, d.client, r); a.status != http.StatusUnsupportedMediaType {
			t.Errorf("got %d", a.status)
		}
	})
	if n := len(d.hub.asked()); n != 0 {
		t.Errorf("the hub was asked %d times", n)
	}
}

// checkCut sends the request over HTTP/1.1 and ends the sending direction behind it.
func checkCut(t *testing.T, d *peerDoor, target, rest string) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(d.ca.cert)
	conn, err := tls.Dial("tcp", d.address, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{d.ca.issue(bothUsages, "b.example")}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	head := "POST " + target + " HTTP/1.1\r\nHost: " + d.address + "\r\nFrom: mimi@b.example\r\n"
	if _, err := io.Copy(conn, strings.NewReader(head+rest)); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answered{response.StatusCode, response.Header, body}
	if p := problemIn(t, a); a.status != http.StatusBadRequest || p.Field != "body" || p.Type != "urn:parley:problem:"+problemBodyCutShort {
		t.Errorf("got %d %+v", a.status, p)
	}
}
