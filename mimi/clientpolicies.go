package mimi

import (
	"parley/mls"
)

// The policies of this file are kept by clients: a hub sees only that they can be read.

// StatusNotificationPolicy is about delivery and read notifications (room-policy-03 §6.1).
//
//	struct {
//	    Optionality delivery_notifications;
//	    Optionality read_receipts;
//	} StatusNotificationPolicy;
type StatusNotificationPolicy struct{ Delivery, Read Optionality }

func ReadStatusNotificationPolicy(r *mls.Reader) StatusNotificationPolicy {
	return StatusNotificationPolicy{
		Delivery: readOptionality(r, "delivery_notifications"),
		Read:     readOptionality(r, "read_receipts"),
	}
}

func ParseStatusNotificationPolicy(b []byte) (StatusNotificationPolicy, error) {
	return mls.Parse("StatusNotificationPolicy", b, ReadStatusNotificationPolicy)
}

func (p StatusNotificationPolicy) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(p.Delivery))
	w.Uint8(uint8(p.Read))
}

func (p StatusNotificationPolicy) Marshal() []byte { return marshal(p) }

// JoinLinkPolicy is about new join links (room-policy-03 §6.2).
//
//	struct {
//	    bool on_request;
//	    Uri join_link;
//	    bool multiuser;
//	    uint32 expiration;
//	} JoinLinkPolicy;
type JoinLinkPolicy struct {
	OnRequest   bool
	RequestLink string // where a link can be asked for; may be empty
	MultiUser   bool
	Expiration  uint32 // seconds
}

func ReadJoinLinkPolicy(r *mls.Reader) JoinLinkPolicy {
	return JoinLinkPolicy{
		OnRequest:   r.Bool("on_request"),
		RequestLink: readText(r, "join_link"),
		MultiUser:   r.Bool("multiuser"),
		Expiration:  r.Uint32("expiration"),
	}
}

func ParseJoinLinkPolicy(b []byte) (JoinLinkPolicy, error) {
	return mls.Parse("JoinLinkPolicy", b, ReadJoinLinkPolicy)
}

func (p JoinLinkPolicy) AppendTo(w *mls.Writer) {
	w.Bool(p.OnRequest)
	appendText(w, p.RequestLink)
	w.Bool(p.MultiUser)
	w.Uint32(p.Expiration)
}

func (p JoinLinkPolicy) Marshal() []byte { return marshal(p) }

// LinkPreviewPolicy is about previews of links (room-policy-03 §6.3). Autodetection cannot be required, and where a proxy may or must
// be used there is one.
//
//	struct {
//	    Optionality autodetect_hyperlinks_in_text;
//	    Optionality send_link_previews;
//	    Optionality automatic_link_previews;
//	    Optionality link_preview_proxy_use;
//	    select (link_preview_proxy_use) {
//	        case mandatory: Uri link_preview_proxy<V>;
//	        case optional:  Uri link_preview_proxy<V>;
//	        case forbidden: struct {};
//	    };
//	} LinkPreviewPolicy;
type LinkPreviewPolicy struct {
	Autodetect, Send, Automatic, ProxyUse Optionality
	Proxies                               []string // of ProxyUse that is not Forbidden
}

func ReadLinkPreviewPolicy(r *mls.Reader) LinkPreviewPolicy {
	p := LinkPreviewPolicy{
		Autodetect: readOptionality(r, "autodetect_hyperlinks_in_text"),
		Send:       readOptionality(r, "send_link_previews"),
		Automatic:  readOptionality(r, "automatic_link_previews"),
		ProxyUse:   readOptionality(r, "link_preview_proxy_use"),
	}
	if p.ProxyUse != Forbidden {
		p.Proxies = readTexts(r, "link_preview_proxy", "uri")
	}
	switch {
	case r.Failed():
	case p.Autodetect == Required:
		r.Fail("autodetect_hyperlinks_in_text", "it cannot be required")
	case p.ProxyUse != Forbidden && len(p.Proxies) == 0:
		r.Fail("link_preview_proxy", "there is none to be used")
	}
	return p
}

func ParseLinkPreviewPolicy(b []byte) (LinkPreviewPolicy, error) {
	return mls.Parse("LinkPreviewPolicy", b, ReadLinkPreviewPolicy)
}

func (p LinkPreviewPolicy) AppendTo(w *mls.Writer) {
	for _, o := range []Optionality{p.Autodetect, p.Send, p.Automatic, p.ProxyUse} {
		w.Uint8(uint8(o))
	}
	if p.ProxyUse != Forbidden {
		appendTexts(w, p.Proxies)
	}
}

func (p LinkPreviewPolicy) Marshal() []byte { return marshal(p) }

// LoggingPolicy is about clients that record what is said (room-policy-03 §6.5). Where logging is required there is one.
//
//	struct {
//	    Optionality logging;
//	    select (logging) {
//	        case mandatory, optional:
//	            Uri logging_clients<V>;
//	            Uri machine_readable_policy;
//	            Uri human_readable_policy;
//	        case forbidden: struct {};
//	    };
//	} LoggingPolicy;
type LoggingPolicy struct {
	Logging                        Optionality
	Clients                        []string // of Logging that is not Forbidden, as the rest
	MachineReadable, HumanReadable string   // may be empty
}

func ReadLoggingPolicy(r *mls.Reader) LoggingPolicy {
	p := LoggingPolicy{Logging: readOptionality(r, "logging")}
	if r.Failed() || p.Logging == Forbidden {
		return p
	}
	p.Clients = readTexts(r, "logging_clients", "uri")
	p.MachineReadable, p.HumanReadable = readText(r, "machine_readable_policy"), readText(r, "human_readable_policy")
	if !r.Failed() && p.Logging == Required && len(p.Clients) == 0 {
		r.Fail("logging_clients", "logging is required, and nobody is to do it")
	}
	return p
}

func ParseLoggingPolicy(b []byte) (LoggingPolicy, error) {
	return mls.Parse("LoggingPolicy", b, ReadLoggingPolicy)
}

func (p LoggingPolicy) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(p.Logging))
	if p.Logging != Forbidden {
		appendTexts(w, p.Clients)
		appendText(w, p.MachineReadable)
		appendText(w, p.HumanReadable)
	}
}

func (p LoggingPolicy) Marshal() []byte { return marshal(p) }

// HistoryPolicy is about sharing what was said before somebody joined (room-policy-03 §6.6). Nobody and the banned share nothing.
//
//	struct {
//	    Optionality history_sharing;
//	    select (history_sharing) {
//	        case mandatory, optional:
//	            uint32 roles_that_can_share<V>;
//	            bool automatically_share;
//	            uint32 max_time_period;
//	        case forbidden: struct {};
//	    };
//	} HistoryPolicy;
type HistoryPolicy struct {
	Sharing        Optionality
	Roles          []uint32 // of Sharing that is not Forbidden, as the rest
	Automatic      bool
	SpanSecondsMax uint32
}

func ReadHistoryPolicy(r *mls.Reader) HistoryPolicy {
	p := HistoryPolicy{Sharing: readOptionality(r, "history_sharing")}
	if r.Failed() || p.Sharing == Forbidden {
		return p
	}
	p.Roles, p.Automatic, p.SpanSecondsMax = readUint32s(r, "roles_that_can_share"), r.Bool("automatically_share"), r.Uint32("max_time_period")
	for _, role := range p.Roles {
		if role == RoleNone || role == RoleBanned {
			r.Fail("roles_that_can_share", "roles 0 and 1 share nothing")
			break
		}
	}
	return p
}

func ParseHistoryPolicy(b []byte) (HistoryPolicy, error) {
	return mls.Parse("HistoryPolicy", b, ReadHistoryPolicy)
}

func (p HistoryPolicy) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(p.Sharing))
	if p.Sharing != Forbidden {
		appendUint32s(w, p.Roles)
		w.Bool(p.Automatic)
		w.Uint32(p.SpanSecondsMax)
	}
}

func (p HistoryPolicy) Marshal() []byte { return marshal(p) }

// MessageExpiration is about messages that vanish (room-policy-03 §6.8). Durations are in seconds.
//
//	struct {
//	    Optionality expiring_messages;
//	    select (expiring_messages) {
//	        case mandatory, optional:
//	            uint32 min_expiration_duration;
//	            uint32 max_expiration_duration;
//	            optional<uint32> default_expiration_duration;
//	        case forbidden: struct {};
//	    };
//	} MessageExpiration;
type MessageExpiration struct {
	Expiring Optionality
	Min, Max uint32  // of Expiring that is not Forbidden, as the next
	Default  *uint32 // between them
}

func ReadMessageExpiration(r *mls.Reader) MessageExpiration {
	p := MessageExpiration{Expiring: readOptionality(r, "expiring_messages")}
	if r.Failed() || p.Expiring == Forbidden {
		return p
	}
	p.Min, p.Max = r.Uint32("min_expiration_duration"), r.Uint32("max_expiration_duration")
	p.Default = mls.ReadOptional(r, "default_expiration_duration", readUint32)
	switch {
	case r.Failed():
	case p.Min > p.Max:
		r.Fail("min_expiration_duration", "it is above the maximum")
	case p.Default != nil && (*p.Default < p.Min || *p.Default > p.Max):
		r.Fail("default_expiration_duration", "it is not between the minimum and the maximum")
	}
	return p
}

func ParseMessageExpiration(b []byte) (MessageExpiration, error) {
	return mls.Parse("MessageExpiration", b, ReadMessageExpiration)
}

func (p MessageExpiration) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(p.Expiring))
	if p.Expiring != Forbidden {
		w.Uint32(p.Min)
		w.Uint32(p.Max)
		appendOptionalUint32(w, p.Default)
	}
}

func (p MessageExpiration) Marshal() []byte { return marshal(p) }
