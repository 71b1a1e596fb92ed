// Package sdnotify tells systemd how a service is: one datagram for each word, to the socket that it names (sd_notify(3)).
package sdnotify

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// What can be said.
const (
	Ready    = "READY=1"
	Stopping = "STOPPING=1"
	Watchdog = "WATCHDOG=1"
)

// Status is a line for people.
func Status(format string, arguments ...any) string {
	return "STATUS=" + strings.ReplaceAll(fmt.Sprintf(format, arguments...), "\n", "; ")
}

// Tell says some words at once. Where the process was not started by systemd it does nothing.
func Tell(words ...string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	socket, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"}) // a leading @ is an abstract name
	if err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	defer socket.Close()
	if _, err := socket.Write([]byte(strings.Join(words, "\n"))); err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	return nil
}

// WatchdogInterval is how often Watchdog has to be said at least; 0 where systemd does not watch this process.
func WatchdogInterval() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	micros, err := strconv.ParseUint(os.Getenv("WATCHDOG_USEC"), 10, 40)
	if err != nil {
		return 0
	}
	return time.Duration(micros) * time.Microsecond
}
