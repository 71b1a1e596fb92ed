package transport

import (
	"errors"
	"io"
	"sync"
)

// requestBody is the body of a call, and knows whether any of it can have reached the peer. A body is never empty (it begins
// with the version), and the peer acts on complete bodies only. So as long as nothing has been read from it here, the peer has
// not acted; and withdraw sees to it that nothing will be.
type requestBody struct {
	mu        sync.Mutex
	head      [1]byte
	parts     [2][]byte
	started   bool
	withdrawn bool
}

var errWithdrawn = errors.New("the request was withdrawn")

func newRequestBody(request []byte) *requestBody {
	b := &requestBody{head: [1]byte{rpcVersion}}
	b.parts = [2][]byte{b.head[:], request}
	return b
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.withdrawn {
		return 0, errWithdrawn
	}
	b.started = true
	n := 0
	for i := range b.parts {
		k := copy(p[n:], b.parts[i])
		b.parts[i] = b.parts[i][k:]
		n += k
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Close implements io.Closer: what was not read is not read any more.
func (b *requestBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.withdrawn = true
	return nil
}

// withdraw ends reading and reports whether nothing has been read.
func (b *requestBody) withdraw() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.withdrawn = true
	return !b.started
}
