package dev

import (
	"math"
	"time"
)

// traffic counts what goes from the rooms of one hub to one receiver.
type traffic struct {
	accepted       int // letters that the receiver has to get
	messages       int // of these, application messages
	delivered      int // each once
	acknowledged   int // by the receiver's backend
	twice          int // deliveries beyond the first
	acceptedBytes  int
	deliveredBytes int

	all, recent latencies // from the hub's acceptance to the backend's reading; recent since it was last asked for
}

func (t *traffic) latency(d time.Duration) {
	t.all.add(d)
	t.recent.add(d)
}

// latencies is a histogram whose classes are 5 % wide, so that a percentile is right within that.
type latencies struct {
	classes [400]int
	count   int
}

const latencyGrowth = 1.05

func (h *latencies) add(d time.Duration) {
	millis := max(float64(d)/float64(time.Millisecond), 1)
	class := int(math.Log(millis) / math.Log(latencyGrowth))
	h.classes[min(class, len(h.classes)-1)]++
	h.count++
}

// percentile is 0 where there is nothing.
func (h *latencies) percentile(p int) time.Duration {
	rank := (h.count*p + 99) / 100
	for class, n := range h.classes {
		if rank -= n; rank <= 0 && h.count > 0 {
			return time.Duration(math.Pow(latencyGrowth, float64(class)+0.5) * float64(time.Millisecond)).Round(time.Millisecond)
		}
	}
	return 0
}

// text is a percentile for people.
func (h *latencies) text(p int) string {
	if h.count == 0 {
		return "–"
	}
	return h.percentile(p).String()
}

func (h *latencies) merge(other *latencies) {
	for class, n := range other.classes {
		h.classes[class] += n
	}
	h.count += other.count
}
