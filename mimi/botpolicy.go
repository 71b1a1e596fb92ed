package mimi

import (
	"parley/mls"
)

// BotPolicy is about chat bots (room-policy-03 §6.7); clients keep it.
//
//	struct {
//	    Bot allowed_bots<V>;
//	} BotPolicy;
type BotPolicy struct {
	Bots []Bot
}

// Bot is one that is allowed. One that works in a client has no role of its own, 0.
//
//	struct {
//	    opaque name<V>;
//	    opaque description<V>;
//	    Uri homepage;
//	    bool local_client_bot;
//	    uint32 bot_role_index;
//	    bool can_target_message_in_group;
//	    bool per_user_content;
//	} Bot;
type Bot struct {
	Name, Description, Homepage string
	Local                       bool
	Role                        uint32
	TargetsMessages             bool
	PerUserContent              bool
}

func ReadBot(r *mls.Reader) Bot {
	b := Bot{
		Name:            readText(r, "name"),
		Description:     readText(r, "description"),
		Homepage:        readText(r, "homepage"),
		Local:           r.Bool("local_client_bot"),
		Role:            r.Uint32("bot_role_index"),
		TargetsMessages: r.Bool("can_target_message_in_group"),
		PerUserContent:  r.Bool("per_user_content"),
	}
	if !r.Failed() && b.Local && b.Role != RoleNone {
		r.Fail("bot_role_index", "a bot in a client has the role 0")
	}
	return b
}

func (b Bot) AppendTo(w *mls.Writer) {
	appendText(w, b.Name)
	appendText(w, b.Description)
	appendText(w, b.Homepage)
	w.Bool(b.Local)
	w.Uint32(b.Role)
	w.Bool(b.TargetsMessages)
	w.Bool(b.PerUserContent)
}

func ReadBotPolicy(r *mls.Reader) BotPolicy {
	return BotPolicy{mls.ReadList(r, "allowed_bots", ReadBot)}
}

func ParseBotPolicy(b []byte) (BotPolicy, error) { return mls.Parse("BotPolicy", b, ReadBotPolicy) }

func (p BotPolicy) AppendTo(w *mls.Writer) { mls.AppendList(w, p.Bots) }

func (p BotPolicy) Marshal() []byte { return marshal(p) }
