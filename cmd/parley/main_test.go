package main

import (
	"context"
	"os"
	"testing"
)

// actAsParley makes this test program behave as `parley` itself, so that tests run the real program in processes of its own.
const actAsParley = "PARLEY_TEST_ACT_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(actAsParley) == "yes" {
		main()
		return
	}
	if err := os.Setenv(actAsParley, "yes"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestExitCodes(t *testing.T) {
	for name, test := range map[string]struct {
		arguments []string
		want      int
	}{
		"version":             {[]string{"version"}, exitOK},
		"unknown flag":        {[]string{"version", "--nonsense"}, exitUsage},
		"unknown command":     {[]string{"nonsense"}, exitUsage},
		"a flag is missing":   {[]string{"node", "join"}, exitUsage},
		"no configuration":    {[]string{"serve", "--config", "/nonexistent/parley.toml"}, exitUsage},
		"a scenario too many": {[]string{"dev", "--scenario", "nonsense"}, exitUsage},
		"no kills at all":     {[]string{"dev", "--scenario", "failover", "--kills", "0"}, exitUsage},
		"hardly any load":     {[]string{"dev", "--scenario", "bulk", "--rate", "1"}, exitUsage},
		"a wrong domain":      {[]string{"cluster", "init", "--domain", "not a domain"}, exitUsage},
		"no URL":              {[]string{"cluster", "status", "--admin", "127.0.0.1:1"}, exitUsage},
		"backups of nowhere":  {[]string{"backup", "list", "file:///nonexistent/backups"}, exitUsage},
		"a bucket of no name": {[]string{"backup", "verify", "s3://"}, exitUsage},
		"nobody listens":      {[]string{"cluster", "status", "--admin", "http://127.0.0.1:1"}, exitError},
	} {
		t.Run(name, func(t *testing.T) {
			if got := run(context.Background(), test.arguments); got != test.want {
				t.Errorf("exit code %d, want %d", got, test.want)
			}
		})
	}
}
