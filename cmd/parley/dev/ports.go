package dev

import (
	"fmt"
	"net"
	"os"
)

// firstPort lies below the range from which the kernel takes ports for outgoing connections, so that a chosen port stays free
// while a killed node is away.
const (
	firstPort = 21000
	lastPort  = 29999
)

// ports hands out loopback ports on which nothing listens, over TCP and UDP, each once.
type ports struct{ next int }

// newPorts begins at a place of this process's own, so that two runs beside each other rarely meet.
func newPorts() *ports {
	const span = lastPort - firstPort - 1000
	return &ports{next: firstPort + os.Getpid()*61%span}
}

func (p *ports) take() (int, error) {
	for ; p.next <= lastPort; p.next++ {
		if free(p.next) {
			p.next++
			return p.next - 1, nil
		}
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1 between %d and %d", firstPort, lastPort)
}

func free(port int) bool {
	address := loopback(port)
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return udp.Close() == nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
