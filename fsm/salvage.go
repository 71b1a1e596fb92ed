package fsm

import (
	"fmt"

	"parley/mls"
)

// Salvage brings what stood at the end of a replica's log behind what it had applied, when the others are lost: whether it was decided nobody knows
// any more. It comes behind the BeginGeneration, and holds only what does no harm where it was decided otherwise, or twice: messages, and what
// other hubs had delivered. A message is taken into the epoch that its room has, though the room is stale. From FormatResize on.
type Salvage struct{ Commands []Command }

func (Salvage) Slot() SlotID      { return ShardLevel }
func (Salvage) Lane() Lane        { return Bulk }
func (Salvage) kind() CommandKind { return KindSalvage }

// Salvaged picks from an entry what a Salvage may hold, in order. Nobody waits for what becomes of a message, so its sender's provider is told.
func Salvaged(e Entry) (commands []Command) {
	for _, c := range e.Commands {
		switch m := c.(type) {
		case SubmitMessage:
			c = SubmitBatch{Room: m.Room, Tell: true, Again: true, Messages: []BatchMessage{
				{GroupID: m.GroupID, Epoch: m.Epoch, Sender: m.Sender, Hash: m.Hash, Message: m.Message},
			}}
		case SubmitBatch:
			m.Tell, m.Again = true, true
			c = m
		}
		if salvageable(c.kind()) {
			commands = append(commands, c)
		}
	}
	return commands
}

// salvageable lists the kinds: what was told to be accepted and must not be lost, and is exclusive of nothing.
func salvageable(kind CommandKind) bool {
	switch kind {
	case KindSubmitBatch, KindReceiveFanout, KindReceiveBodies, KindFollowGroup, KindQueueSubmissions:
		return true
	default:
		return false
	}
}

// salvage decides on each as if it came now.
func (t *tx) salvage(c Salvage) Outcome {
	t.salvaging = true
	defer func() { t.salvaging = false }()
	for _, command := range c.Commands {
		t.apply(command)
	}
	return Done{}
}

// struct { opaque commands<V><V>; } Salvage; // each as of EncodeCommand
func (c Salvage) appendTo(w *mls.Writer) {
	appendList(w, c.Commands, func(w *mls.Writer, c Command) { w.Opaque(EncodeCommand(c)) })
}

func readSalvage(r *mls.Reader) (c Salvage) {
	for _, encoded := range readList(r, "commands", func(r *mls.Reader) []byte { return r.Opaque("") }) {
		// The kind first: what may not be in it could hold another of it, and so on.
		head := mls.NewReader("Command", encoded)
		head.Uint8("version")
		if kind := CommandKind(head.Uint16("kind")); !salvageable(kind) && !r.Failed() {
			r.Fail("commands", fmt.Sprintf("a command of kind %d is not salvaged", kind))
		}
		if r.Failed() {
			return Salvage{}
		}
		command, err := DecodeCommand(encoded)
		if err != nil {
			r.Fail("commands", err.Error())
			return Salvage{}
		}
		c.Commands = append(c.Commands, command)
	}
	return c
}
