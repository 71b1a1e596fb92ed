package recentlog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	var l Lines
	for i := range 100_000 {
		fmt.Fprintf(&l, "line %d\n", i)
	}
	kept := l.Bytes()
	if len(kept) > bytesMax || len(kept) < bytesMax-20 || !bytes.HasSuffix(kept, []byte("line 99999\n")) || !bytes.HasPrefix(kept, []byte("line ")) {
		t.Errorf("%d bytes from %.20q on", len(kept), kept)
	}
	if n, err := l.Write([]byte(strings.Repeat("x", 2*bytesMax))); n != 2*bytesMax || err != nil || len(l.Bytes()) > bytesMax {
		t.Errorf("a line that is too long: %d, %v, %d kept", n, err, len(l.Bytes()))
	}
}
