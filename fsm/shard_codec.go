package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// The encodings of the commands that concern a whole shard, and of its settings.

func (Fence) appendTo(*mls.Writer) {}

//	struct {
//	    uint32 shard;
//	    uint64 generation;
//	    uint16 first;
//	    uint16 last;
//	} OwnSlots;
func (c OwnSlots) appendTo(w *mls.Writer) {
	w.Uint32(uint32(c.Shard))
	w.Uint64(c.Generation)
	w.Uint16(uint16(c.First))
	w.Uint16(uint16(c.Last))
}

func readOwnSlots(r *mls.Reader) OwnSlots {
	return OwnSlots{
		Shard:      ShardID(r.Uint32("shard")),
		Generation: r.Uint64("generation"),
		First:      SlotID(r.Uint16("first")),
		Last:       SlotID(r.Uint16("last")),
	}
}

//	struct {
//	    uint64 version;
//	    Settings settings; // of the command's version
//	} EnterSettings;
func (c EnterSettings) appendTo(w *mls.Writer) {
	w.Uint64(c.Version)
	c.Settings.appendTo(w)
}

func (c EnterSettings) version() uint8 { return c.Settings.version() }

func readEnterSettings(r *mls.Reader, version uint8) EnterSettings {
	return EnterSettings{Version: r.Uint64("version"), Settings: readSettings(r, version)}
}

// struct { uint32 max; } Sweep;
func (c Sweep) appendTo(w *mls.Writer) { w.Uint32(c.Max) }

func readSweep(r *mls.Reader) Sweep { return Sweep{Max: r.Uint32("max")} }

// EncodeSettings writes settings with a version before them, for other records than a shard's.
func EncodeSettings(s Settings) []byte { return encode(s.version(), s.appendTo) }

// DecodeSettings reads what EncodeSettings wrote. The error is a *mls.MalformedError.
func DecodeSettings(b []byte) (Settings, error) {
	return decodeUpTo("Settings", b, settingsVersion, readSettings)
}

// settingsVersion is the last layout of settings. The first has no format.
const settingsVersion = 4

// version is the layout that the settings need, so that programs which know only the first can read what does not raise the format.
func (s Settings) version() uint8 {
	switch {
	case s.Format >= FormatBulk:
		return 4
	case s.Format >= FormatExclusive:
		return 3
	case s.Format > FormatFirst:
		return 2
	default:
		return 1
	}
}

//	struct {
//	    opaque domains<V><V>;
//	    uint32 epoch_window;
//	    uint64 lease_default_millis;
//	    uint64 lease_min_millis;
//	    uint64 lease_max_millis;
//	    uint32 key_packages_per_client_max;
//	    uint64 key_package_lifetime_max;
//	    uint64 retention_millis;
//	    opaque hub_keys<V><V>;
//	    select (version) {
//	        case 1: struct {};
//	        case 2: uint32 format;
//	        case 3:
//	            uint32 format;
//	            uint64 leave_grace_millis;
//	            ClaimRules claims;
//	        case 4:
//	            uint32 format;
//	            uint64 leave_grace_millis;
//	            ClaimRules claims;
//	            BulkRules bulk;
//	    };
//	} Settings;
func (s Settings) appendTo(w *mls.Writer) {
	appendProviders(w, s.Domains)
	w.Uint32(s.EpochWindow)
	w.Uint64(s.LeaseDefaultMillis)
	w.Uint64(s.LeaseMinMillis)
	w.Uint64(s.LeaseMaxMillis)
	w.Uint32(s.KeyPackagesPerClientMax)
	w.Uint64(s.KeyPackageLifetimeMax)
	w.Uint64(s.RetentionMillis)
	appendList(w, s.HubKeys, func(w *mls.Writer, key []byte) { w.Opaque(key) })
	if s.version() >= 2 {
		w.Uint32(uint32(s.Format))
	}
	if s.version() >= 3 {
		w.Uint64(s.LeaveGraceMillis)
		s.Claims.appendTo(w)
	}
	if s.version() >= 4 {
		s.Bulk.appendTo(w)
	}
}

func readSettings(r *mls.Reader, version uint8) Settings {
	s := Settings{
		Domains:                 readProviders(r, "domains"),
		EpochWindow:             r.Uint32("epoch_window"),
		LeaseDefaultMillis:      r.Uint64("lease_default_millis"),
		LeaseMinMillis:          r.Uint64("lease_min_millis"),
		LeaseMaxMillis:          r.Uint64("lease_max_millis"),
		KeyPackagesPerClientMax: r.Uint32("key_packages_per_client_max"),
		KeyPackageLifetimeMax:   r.Uint64("key_package_lifetime_max"),
		RetentionMillis:         r.Uint64("retention_millis"),
		HubKeys:                 readList(r, "hub_keys", func(r *mls.Reader) []byte { return r.Opaque("") }),
		Format:                  FormatFirst,
	}
	if version >= 2 {
		s.Format = Format(r.Uint32("format"))
	}
	if version >= 3 {
		s.LeaveGraceMillis = r.Uint64("leave_grace_millis")
		s.Claims = mls.ReadIn(r, "claims", readClaimRules)
	}
	if version >= 4 {
		s.Bulk = mls.ReadIn(r, "bulk", readBulkRules)
	}
	return s
}

//	struct {
//	    uint16 at;
//	    opaque destination<V>;
//	    uint64 sequences<V>;
//	    select (version) {
//	        case 1: struct {};
//	        case 2: RoomTaken rooms<V>;
//	    };
//	} Acknowledge;
//
//	struct {
//	    opaque room<V>; // empty: the items of no room
//	    uint64 through;
//	} RoomTaken;
func (c Acknowledge) appendTo(w *mls.Writer) {
	w.Uint16(uint16(c.At))
	c.Destination.AppendTo(w)
	appendList(w, c.Sequences, (*mls.Writer).Uint64)
	if c.version() >= 2 {
		appendList(w, c.Rooms, func(w *mls.Writer, taken RoomTaken) {
			taken.Room.AppendTo(w)
			w.Uint64(taken.Through)
		})
	}
}

func (c Acknowledge) version() uint8 {
	if len(c.Rooms) > 0 {
		return 2
	}
	return 1
}

func readAcknowledge(r *mls.Reader, version uint8) Acknowledge {
	c := Acknowledge{
		At:          SlotID(r.Uint16("at")),
		Destination: mimi.ReadProvider(r, "destination"),
		Sequences:   readList(r, "sequences", func(r *mls.Reader) uint64 { return r.Uint64("") }),
	}
	if version >= 2 {
		c.Rooms = readList(r, "rooms", func(r *mls.Reader) RoomTaken {
			return RoomTaken{Room: mimi.ReadOptionalRoomURI(r, "room"), Through: r.Uint64("through")}
		})
	}
	return c
}

//	struct {
//	    opaque room<V>;
//	    opaque hub<V>;
//	    opaque body_hash[32];
//	    FanoutItem messages<V>;
//	} ReceiveFanout;
//
//	struct {
//	    opaque hash[32];
//	    opaque bytes<V>;
//	} FanoutItem;
func (c ReceiveFanout) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	c.Hub.AppendTo(w)
	w.Fixed(c.BodyHash[:])
	appendList(w, c.Messages, func(w *mls.Writer, m FanoutItem) {
		w.Fixed(m.Hash[:])
		w.Opaque(m.Bytes)
	})
}

func readReceiveFanout(r *mls.Reader) ReceiveFanout {
	return ReceiveFanout{
		Room:     mimi.ReadRoomURI(r, "room"),
		Hub:      mimi.ReadProvider(r, "hub"),
		BodyHash: readHash(r, "body_hash"),
		Messages: readList(r, "messages", func(r *mls.Reader) FanoutItem {
			return FanoutItem{Hash: readHash(r, "hash"), Bytes: r.Opaque("bytes")}
		}),
	}
}
