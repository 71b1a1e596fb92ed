package fsm

import "parley/mls"

// ReadClock returns hub time as of the applied index, in milliseconds since 1970; 0 before the first entry.
func ReadClock(r Reader) (millis uint64, err error) {
	millis, _, err = readRecord(r, shardKey(keyClock), "hub clock", func(r *mls.Reader) uint64 { return r.Uint64("millis") })
	return millis, err
}

// ReadSettings returns the settings that are in force in the shard and their version; version 0 before any has entered.
func ReadSettings(r Reader) (settings Settings, version uint64, err error) {
	entered, _, err := readRecordUpTo(r, shardKey(keySettings), "settings", settingsVersion, readEnterSettings)
	return entered.Settings, entered.Version, err
}

func (t *tx) setClock(millis uint64) {
	t.set(shardKey(keyClock), record(func(w *mls.Writer) { w.Uint64(millis) }))
}

// enterSettings takes settings that are newer than those in force. The format that they ask for is raised with them, and stays
// when later ones ask for less.
func (t *tx) enterSettings(c EnterSettings) Outcome {
	if c.Version > t.settingsVersion {
		had := t.clientInboxes()
		t.set(shardKey(keySettings), encode(c.Settings.version(), c.appendTo))
		t.settings, t.settingsVersion = c.Settings, c.Version
		t.raiseFormat(c.Settings.Format)
		if had && !t.clientInboxes() {
			t.dropClientInboxes()
		}
	}
	return Done{}
}
