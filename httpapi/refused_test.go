package httpapi

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// wrongSender is a client over HTTP/2 that sends a body to the end, whatever the server says meanwhile; Go's own gives up when it is refused.
type wrongSender struct {
	t      *testing.T
	framer *http2.Framer
	status int
	body   []byte // of the answer, which has come
	length int    // of it, as told; -1 before it is
	ended  bool   // the answer is said to end
	reset  bool   // the stream was
	stream int    // bytes that may be sent on it
	whole  int    // on the connection
}

// sendsWrongly begins a request whose body is of a wrong type.
func sendsWrongly(t *testing.T, d *localDoor, token string) *wrongSender {
	t.Helper()
	address, err := url.Parse(d.address)
	if err != nil {
		t.Fatal(err)
	}
	settings := d.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	settings.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", address.Host, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s := &wrongSender{t: t, framer: http2.NewFramer(conn, conn), stream: 65535, whole: 65535, length: -1}
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "https"}, {":authority", address.Host}, {":path", "/v1/rooms"},
		{"authorization", "Bearer " + token}, {"content-type", "text/plain"},
	} {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = io.WriteString(conn, http2.ClientPreface)
	for _, step := range []error{err, s.framer.WriteSettings(), s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})} {
		if step != nil {
			t.Fatal(step)
		}
	}
	return s
}

// take reads a frame.
func (s *wrongSender) take() {
	s.t.Helper()
	frame, err := s.framer.ReadFrame()
	if err != nil {
		s.t.Fatal(err)
	}
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if size, told := f.Value(http2.SettingInitialWindowSize); told {
			s.stream += int(size) - 65535
		}
		if !f.IsAck() {
			err = s.framer.WriteSettingsAck()
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			s.whole += int(f.Increment)
		} else {
			s.stream += int(f.Increment)
		}
	case *http2.MetaHeadersFrame:
		s.status, err = strconv.Atoi(f.PseudoValue("status"))
		if i := slices.IndexFunc(f.Fields, func(h hpack.HeaderField) bool { return h.Name == "content-length" }); i >= 0 {
			s.length, err = strconv.Atoi(f.Fields[i].Value)
		}
	case *http2.DataFrame:
		s.body, s.ended = append(s.body, f.Data()...), s.ended || f.StreamEnded()
	case *http2.RSTStreamFrame:
		s.reset = true
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// send sends so much of the body, the last of it with its end; less where the stream was reset.
func (s *wrongSender) send(size int, last bool) {
	s.t.Helper()
	for size > 0 && !s.reset {
		part := min(size, s.stream, s.whole, 16<<10)
		if part == 0 {
			s.take()
			continue
		}
		if err := s.framer.WriteData(1, last && part == size, make([]byte, part)); err != nil {
			s.t.Fatal(err)
		}
		size, s.stream, s.whole = size-part, s.stream-part, s.whole-part
	}
}

// Who is refused while the body is still on its way has the whole answer, and may finish sending: where the stream is reset then, some clients lose the
// answer. Who does not come to an end is cut.
func TestRefusedBodiesAreTaken(t *testing.T) {
	d := openLocalDoor(t)
	for token, want := range map[string]int{"everything": http.StatusUnsupportedMediaType, "nobody": http.StatusUnauthorized} {
		s := sendsWrongly(t, d, token)
		s.send(1000, false)
		for s.status == 0 || len(s.body) < s.length {
			s.take()
		}
		s.send(2<<20, true)
		for !s.ended && !s.reset {
			s.take()
		}
		if s.status != want || len(s.body) != s.length || s.reset {
			t.Errorf("%s: status %d, %d bytes of %d, ended %v, reset %v", token, s.status, len(s.body), s.length, s.ended, s.reset)
		}
	}
	s := sendsWrongly(t, d, "everything")
	s.send(4*unwantedBytesMax, false)
	if !s.reset {
		t.Error("a body without an end is taken without an end")
	}
}

// HEAD is answered as GET is, without the content.
func TestHeadIsGet(t *testing.T) {
	d := openLocalDoor(t)
	for path, want := range map[string]int{"/openapi.json": http.StatusOK, "/v1/inbox": http.StatusOK, "/v1/rooms": http.StatusMethodNotAllowed, "/nowhere": http.StatusNotFound} {
		for _, protocol := range []string{"http/1.1", "h2"} {
			client, transport := *d.client, d.client.Transport.(*http.Transport).Clone()
			if protocol == "http/1.1" {
				transport.ForceAttemptHTTP2, transport.TLSNextProto = false, nil
				transport.TLSClientConfig.NextProtos = []string{protocol}
			}
			client.Transport = transport
			t.Cleanup(transport.CloseIdleConnections)
			r, err := http.NewRequest(http.MethodHead, d.address+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer everything")
			a := do(t, &client, r)
			if a.status != want || len(a.body) > 0 || a.header.Get("Content-Type") == "" {
				t.Errorf("%s over %s: %d, %d bytes, %v", path, protocol, a.status, len(a.body), a.header)
			}
		}
	}
}
