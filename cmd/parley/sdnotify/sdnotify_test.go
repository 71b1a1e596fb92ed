package sdnotify

import (
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestTell(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Tell(Ready); err != nil {
		t.Errorf("without systemd: %v", err)
	}
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Tell(Ready, Status("serves %s\nand more", "a.example")); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 1000)
	n, err := socket.Read(said)
	if want := "READY=1\nSTATUS=serves a.example; and more"; err != nil || string(said[:n]) != want {
		t.Errorf("%q, %v", said[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", path+"x")
	if err := Tell(Ready); err == nil {
		t.Error("nobody was told, and no error")
	}
}

func TestWatchdogInterval(t *testing.T) {
	t.Setenv("WATCHDOG_PID", "")
	for text, want := range map[string]time.Duration{"": 0, "x": 0, "30000000": 30 * time.Second} {
		t.Setenv("WATCHDOG_USEC", text)
		if got := WatchdogInterval(); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
	t.Setenv("WATCHDOG_PID", strconv.Itoa(1))
	if WatchdogInterval() != 0 {
		t.Error("another process is watched")
	}
}
