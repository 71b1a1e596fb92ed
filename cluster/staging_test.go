package cluster

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// TestOnlyTheSourcesSilenceCounts: what is done here between two reads may take as long as it takes.
func TestOnlyTheSourcesSilenceCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gaveUp := make(chan struct{})
		stalled := time.AfterFunc(stallMax, func() { close(gaveUp) })
		in, source := io.Pipe()
		go func() {
			for range 3 {
				time.Sleep(stallMax - time.Second) // silent, but not for too long
				_, _ = source.Write([]byte{1})
			}
		}()
		answer := awaited{in, stalled}
		for range 3 {
			if _, err := answer.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * stallMax) // a slow disk
		}
		select {
		case <-gaveUp:
			t.Fatal("an attempt was given up for what was done here")
		default:
		}
		go func() { _, _ = answer.Read(make([]byte, 1)) }()
		time.Sleep(stallMax + time.Second)
		select {
		case <-gaveUp:
		default:
			t.Error("a source may be silent for ever")
		}
		_ = in.Close()
	})
}
