package fsm

import "parley/mls"

// ReadClock returns hub time as of the applied index, in milliseconds since 1970; 0 before the first entry.
func ReadClock(r Reader) (millis uint64, err error) {
	millis, _, err = readRecord(r, shardKey(keyClock), "hub clock", func(r *mls.Reader) uint64 { return r.Uint64("millis") })
	return millis, err
}

// ReadSettings returns the settings that are in force in the shard and their version; version 0 before any has entered.
func ReadSettings(r Reader) (settings Settings, version uint64, err error) {
	entered, _, err := readRecord(r, shardKey(keySettings), "settings", readEnterSettings)
	return entered.Settings, entered.Version, err
}

func (t *tx) setClock(millis uint64) {
	t.set(shardKey(keyClock), record(func(w *mls.Writer) { w.Uint64(millis) }))
}

// enterSettings takes settings that are newer than those in force.
func (t *tx) enterSettings(c EnterSettings) Outcome {
	if c.Version > t.settingsVersion {
		t.set(shardKey(keySettings), record(c.appendTo))
		t.settings, t.settingsVersion = c.Settings, c.Version
	}
	return Done{}
}
