package interop

import (
	"bytes"
	"fmt"

	"parley/mls"
)

// damagedPerMessage is how many damaged copies of each message a hub has to refuse before it takes the message.
const damagedPerMessage = 6

// read reads an MLSMessage of one kind.
func read[T mls.Body](raw []byte) (T, error) {
	var none T
	m, err := mls.ParseMLSMessage(raw)
	if err != nil {
		return none, err
	}
	body, ok := m.Body.(T)
	if !ok {
		return none, fmt.Errorf("the message is a %T, not a %T", m.Body, none)
	}
	return body, nil
}

func readInfo(raw []byte) (mls.GroupInfo, error) {
	info, err := read[*mls.GroupInfo](raw)
	if err != nil {
		return mls.GroupInfo{}, err
	}
	return *info, nil
}

// signedBytes is how much of a PublicMessage, from its beginning, a hub can check: all but the tags, which need the group's
// secrets.
func signedBytes(raw []byte, m *mls.PublicMessage) int {
	var tags mls.Writer
	if m.Content.Body.ContentType() == mls.ContentCommit {
		tags.Opaque(m.Auth.ConfirmationTag)
	}
	if _, member := m.Content.Sender.(mls.MemberSender); member {
		tags.Opaque(m.MembershipTag)
	}
	return len(raw) - len(tags.Bytes())
}

// refuses damages a message within its first checked bytes, or its end, and expects each copy to be refused.
func (h *history) refuses(what string, raw []byte, checked int, judge func([]byte) error) error {
	for range damagedPerMessage {
		damaged := bytes.Clone(raw)
		at := h.damage.IntN(checked)
		bit := h.damage.IntN(8)
		how := fmt.Sprintf("bit %d of byte %d is flipped", bit, at)
		switch h.damage.IntN(12) {
		case 0:
			damaged, how = damaged[:at], fmt.Sprintf("it ends after %d bytes", at)
		case 1:
			damaged, how = append(damaged, byte(at)), "a byte is appended"
		default:
			damaged[at] ^= 1 << bit
		}
		if judge(damaged) == nil {
			return fmt.Errorf("the hub takes a %s although %s:\n%x", what, how, raw)
		}
		h.tally["damaged messages refused"]++
	}
	return nil
}
