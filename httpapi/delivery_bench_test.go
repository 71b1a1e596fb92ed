package httpapi

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/fsm/meta"
	"parley/mimi"
)

// queueOutbox is an outbox in memory whose costs are those of what is read.
type queueOutbox struct {
	mu    sync.Mutex
	rooms []mimi.RoomURI
	queue map[mimi.RoomURI][]fsm.OutboxItem
	left  int
	empty chan struct{}
}

func (o *queueOutbox) Heads(_ context.Context, _ mimi.Provider, busy func(mimi.RoomURI) bool, page fsm.OutboxPage) (heads []fsm.OutboxItem, _ error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	rooms, bytes := 0, 0
	for _, room := range o.rooms {
		if len(o.queue[room]) == 0 || busy(room) {
			continue
		}
		for _, item := range o.queue[room][:min(page.PerRoom, len(o.queue[room]))] {
			heads, bytes = append(heads, item), bytes+len(item.Body)
		}
		if rooms++; rooms == page.Rooms || page.Bytes > 0 && bytes >= page.Bytes {
			break
		}
	}
	return heads, nil
}

// Replays implements Outbox: nobody asks.
func (o *queueOutbox) Replays(mimi.Provider) uint64 { return 0 }

func (o *queueOutbox) Waiting() []mimi.Provider {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.left == 0 {
		return nil
	}
	return []mimi.Provider{peerDomain}
}

// Do takes acknowledgements, one for each room's slot.
func (o *queueOutbox) Do(_ context.Context, r judge.Request) (fsm.Outcome, error) {
	verdict, err := r.Judge(nil)
	if err != nil {
		return nil, err
	}
	command := verdict.(judge.Propose).Command.(fsm.Acknowledge)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, room := range o.rooms {
		if fsm.SlotOfRoom(room) != command.At {
			continue
		}
		for len(o.queue[room]) > 0 && acknowledges(command, o.queue[room][0]) {
			o.queue[room] = o.queue[room][1:]
			if o.left--; o.left == 0 {
				close(o.empty)
			}
		}
	}
	return fsm.Done{}, nil
}

func acknowledges(c fsm.Acknowledge, item fsm.OutboxItem) bool {
	for _, r := range c.Rooms {
		if r.Room == item.Room && item.Sequence <= r.Through {
			return true
		}
	}
	for _, sequence := range c.Sequences {
		if sequence == item.Sequence {
			return true
		}
	}
	return false
}

// BenchmarkDelivery brings bodies of 1 KiB of 200 rooms to a peer over mutual TLS, which takes all and keeps nothing.
func BenchmarkDelivery(b *testing.B) {
	for name, bulk := range map[string]bool{"standard": false, "bulk": true} {
		b.Run(name, func(b *testing.B) {
			client := sink(b, bulk)
			outbox := &queueOutbox{queue: map[mimi.RoomURI][]fsm.OutboxItem{}, empty: make(chan struct{}), left: b.N}
			for n := range 200 {
				outbox.rooms = append(outbox.rooms, testRoom(n))
			}
			for n := range b.N {
				item := outboxItem(testRoom(n%200), uint64(n)+1)
				item.Body = append(make([]byte, 1<<10), item.Body...)
				outbox.queue[item.Room] = append(outbox.queue[item.Room], item)
			}
			metrics, err := NewDeliveryMetrics(prometheus.NewRegistry())
			if err != nil {
				b.Fatal(err)
			}
			pulse := NewPulse(make(chan struct{}))
			d := NewDeliverer(DeliveryConfig{Config: &fakeConfig{fsm.DefaultSettings(hubDomain)}}, outbox, outbox, client, pulse, metrics, quiet())
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			b.ResetTimer()
			running.Go(func() { d.Run(ctx) })
			<-outbox.empty
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "bodies/s")
			cancel()
			running.Wait()
		})
	}
}

// sink is a peer that takes everything, and the client that reaches it.
func sink(b *testing.B, bulk bool) *Client {
	b.Helper()
	ca := newAuthority(b, "CA of the sink")
	e := echo.New()
	server := httptest.NewUnstartedServer(e)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(bothUsages, "b.example")}, ClientAuth: tls.RequireAnyClientCert}
	server.EnableHTTP2 = true
	server.StartTLS()
	b.Cleanup(server.Close)
	directory, err := mimi.NewDirectory(server.URL+"/v1", mimi.EndpointNotify)
	if err == nil && bulk {
		directory, err = directory.With(mimi.EndpointBulkNotify, server.URL+bulkNotifyPath)
	}
	if err != nil {
		b.Fatal(err)
	}
	e.GET(mimi.DirectoryPath, func(c echo.Context) error { return c.JSON(http.StatusOK, directory) })
	e.POST("/v1/notify/*", func(c echo.Context) error {
		if _, err := readBody(c, RequestBytesMax); err != nil {
			return err
		}
		return c.NoContent(http.StatusCreated)
	})
	e.POST(bulkNotifyPath, func(c echo.Context) error {
		body, err := readBody(c, RequestBytesMax)
		if err != nil {
			return err
		}
		request, err := mimi.ParseBulkNotifyRequest(body)
		if err != nil {
			return err
		}
		return c.Blob(http.StatusOK, mimi.MediaType, takesAll(request.Items).Marshal())
	})
	cluster := &fakeCluster{domains: []mimi.Provider{hubDomain}}
	cluster.setPeers(meta.Peer{Domain: peerDomain, Domains: []mimi.Provider{peerDomain}, TrustPEM: ca.pem, AllowPrivateAddresses: true,
		DirectoryURLs: []string{server.URL + mimi.DirectoryPath}})
	client := NewClient(ClientLimits{}, cluster, cluster, always(ca.issue(bothUsages, "a.example")))
	b.Cleanup(client.Close)
	return client
}
