package transport

import (
	"log/slog"
	"testing"
	"time"

	"parley/cluster/pki"
)

// BenchmarkCall is a small call from many callers at once, over loopback and TLS.
func BenchmarkCall(b *testing.B) {
	ca, err := pki.NewCA("c1")
	if err != nil {
		b.Fatal(err)
	}
	var ports []*Port
	for _, node := range []string{"n1", "n2"} {
		creds, err := pki.IssueNode(ca, node, nil, time.Hour)
		if err != nil {
			b.Fatal(err)
		}
		p, err := Listen("127.0.0.1:0", creds, Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		ports = append(ports, p)
	}
	ports[1].Handle("echo", echo)
	addr, request := ports[1].Addr().String(), make([]byte, 1024)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := ports[0].Call(b.Context(), "n2", addr, "echo", request); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
