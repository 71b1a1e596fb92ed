package cluster

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestQuietSaysALineOnce(t *testing.T) {
	var out bytes.Buffer
	log := quiet(slog.New(slog.NewTextHandler(&out, nil)))
	for range 3 {
		log.With("group", 1).Error("failed to heartbeat to", "peer", "n2", "error", "refused")
		log.With("group", 2).Error("failed to heartbeat to", "peer", "n2", "error", "refused")
		log.With("group", 1).Error("failed to heartbeat to", "peer", "n3", "error", "refused")
		log.Info("a detail")
	}
	text := out.String()
	if n := strings.Count(text, "heartbeat"); n != 3 {
		t.Errorf("%d lines, want one for each group and peer:\n%s", n, text)
	}
	if strings.Contains(text, "level=ERROR") || !strings.Contains(text, "level=WARN") || strings.Contains(text, "a detail") {
		t.Errorf("levels are not one lower:\n%s", text)
	}
}
