package server

import (
	"slices"
	"sync"

	"parley/cmd/parley/config"
)

// configNow is the configuration as it is in force. Safe for concurrent use.
type configNow struct {
	mu     sync.Mutex
	config config.Config
}

func (n *configNow) get() config.Config {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.config
}

func (n *configNow) set(c config.Config) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.config = c
}

// Reload takes over what a running node can of another configuration, which is valid: the log's level, and the files of the listeners'
// certificates. The log says what has changed, and which keys wait for a restart. Certificates whose files have changed need no Reload.
// One call at a time.
func (s *Server) Reload(c config.Config) {
	was := s.present.get()
	now := was
	var taken []string
	take := func(key string, apply func() error) {
		if err := apply(); err != nil {
			s.log.Error("a key of the configuration is not taken over", "key", key, "error", err)
			return
		}
		taken = append(taken, key)
	}
	changed := config.Changed(was, c)
	if slices.Contains(changed, "log.level") {
		take("log.level", func() error { return s.program.SetLevel(c.Log.Level) })
	}
	files := certificateFiles(c)
	for listener, held := range s.certificates {
		cert, key := listener+".cert_file", listener+".key_file"
		if slices.Contains(changed, cert) || slices.Contains(changed, key) {
			take(cert, func() error { return held.use(files[listener][0], files[listener][1]) })
			if slices.Contains(taken, cert) && !slices.Contains(taken, key) {
				taken = append(taken, key)
			}
		}
	}
	if slices.Contains(taken, "log.level") {
		now.Log.Level = c.Log.Level
	}
	for listener, to := range map[string]*config.Listener{peerListener: &now.Peer, localListener: &now.Local} {
		if slices.Contains(taken, listener+".cert_file") {
			to.CertFile, to.KeyFile = files[listener][0], files[listener][1]
		}
	}
	if slices.Contains(taken, "admin.cert_file") {
		now.Admin.CertFile, now.Admin.KeyFile = c.Admin.CertFile, c.Admin.KeyFile
	}
	s.present.set(now)
	if waits := config.Changed(now, c); len(waits) > 0 {
		s.log.Warn("some keys of the configuration have changed and take effect with a restart", "keys", waits)
	}
	slices.Sort(taken)
	s.log.Info("the configuration was read again", "taken_over", taken)
}
