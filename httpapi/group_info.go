package httpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// groupInfo is POST /v1/groupInfo/{roomId} of the peer listener (mimi-protocol-06 §5.6).
func (s *PeerServer) groupInfo(c echo.Context) error {
	from, room, body, err := s.roomRequest(c)
	if err != nil {
		return err
	}
	request, err := mimi.ParseGroupInfoRequest(body)
	if err != nil {
		return err
	}
	a, err := s.desk.groupInfo(c.Request().Context(), from.inNameOf(credentialDomain(request.Credential)), room, body)
	if err != nil {
		return err
	}
	return a.send(c)
}

// credentialDomain is the domain of whom a basic credential names; none where it names nobody in a form that can be read here.
func credentialDomain(credential mls.Credential) mimi.Provider {
	basic, ok := credential.(mls.BasicCredential)
	if !ok {
		return mimi.Provider{}
	}
	identity, err := mimi.ParseIdentityURI(basic.Identity)
	if err != nil {
		return mimi.Provider{}
	}
	return identity.Provider()
}

// groupInfo lends the GroupInfo of a room hosted here to one requester, encrypted to the requester's key.
func (d *Desk) groupInfo(ctx context.Context, from mimi.Provider, room mimi.RoomURI, body []byte) (answer, error) {
	if !d.isOurs(room.Provider()) {
		return coded(mimi.GroupInfoNoSuchRoom{Room: room}), nil
	}
	request, err := judge.NewGroupInfo(from, room, body)
	if err != nil {
		return answer{}, err
	}
	asked := request.Request()
	suite, err := asked.Suite.Suite()
	if err != nil {
		return answer{}, &mls.MalformedError{Field: "GroupInfoRequest.cipher_suite", Reason: err.Error()}
	}
	// Both are looked at before the lease is taken: without a key of the scheme, or to a key that is none, nothing can be disclosed.
	key, sender, found := d.keys.HubSigner(suite.Scheme)
	if !found {
		return answer{}, &mls.MalformedError{Field: "GroupInfoRequest.cipher_suite", Reason: "this hub has no key of its signature scheme"}
	}
	if _, err := suite.SealWithLabel(rand.Reader, asked.HPKEKey, "", nil, nil); err != nil {
		return answer{}, &mls.MalformedError{Field: "GroupInfoRequest.groupInfoPublicKey", Reason: "it is no public key of the suite"}
	}
	outcome, err := d.hub.Do(ctx, request)
	if err != nil {
		return answer{}, err
	}
	switch o := outcome.(type) {
	case fsm.Disclosed:
		return d.disclose(room, o, asked, key, sender)
	case fsm.NotAllowed:
		return coded(mimi.GroupInfoNotAuthorized{Room: room}), nil
	case fsm.StaleRoom:
		return answer{}, staleProblem(o)
	case fsm.RoomEnded:
		if o.Status == fsm.RoomDestroyed {
			return coded(mimi.GroupInfoNoSuchRoom{Room: room}), nil
		}
		return coded(mimi.GroupInfoNotAuthorized{Room: room}), nil
	case fsm.NoSuchRoom:
		return coded(mimi.GroupInfoNoSuchRoom{Room: room}), nil
	case fsm.LeaseHeld:
		return answer{}, newProblem(http.StatusTooManyRequests, problemLeaseHeld, "roomId",
			"Another client is joining just now.").after(waitUntil(o.UntilMillis, o.NowMillis))
	case fsm.Damped:
		return answer{}, newProblem(http.StatusTooManyRequests, problemTooMany, "roomId",
			"Come back later: "+o.Reason+".").after(waitUntil(o.UntilMillis, o.NowMillis))
	default:
		return answer{}, unexpected("a request for the GroupInfo", outcome)
	}
}

// waitUntil is at least a second, so that Retry-After never says 0.
func waitUntil(millis, now uint64) time.Duration {
	if millis <= now {
		return time.Second
	}
	return max(time.Duration(millis-now)*time.Millisecond, time.Second)
}

// disclose builds the GroupInfoResponse: encrypted to the requester, signed by the hub, with a key that the room lists if there is one
// of the scheme of the requester's suite, which may be one that other rooms are not created with any more.
func (d *Desk) disclose(room mimi.RoomURI, disclosed fsm.Disclosed, asked mimi.GroupInfoRequest, key *mls.SigningKey,
	sender mls.ExternalSender) (answer, error) {
	plain, context, err := disclosedPlaintext(disclosed)
	if err != nil {
		return answer{}, fmt.Errorf("disclose %s: %w", room, err)
	}
	key, sender = d.senderInRoom(context, key, sender)
	granted := mimi.GroupInfoGranted{Room: room, Suite: asked.Suite, HubSender: sender}
	if granted, err = granted.Sealed(rand.Reader, asked.HPKEKey, plain); err != nil {
		return answer{}, fmt.Errorf("encrypt the GroupInfo of %s: %w", room, err)
	}
	if granted, err = granted.Signed(key); err != nil {
		return answer{}, fmt.Errorf("sign the GroupInfo of %s: %w", room, err)
	}
	return coded(granted), nil
}

// disclosedPlaintext builds GroupInfoRatchetTreeTBE. What it is built of came through apply, so an error is a fault of this
// node and not of the requester.
func disclosedPlaintext(disclosed fsm.Disclosed) (plain mimi.GroupInfoRatchetTree, context mls.GroupContext, err error) {
	info, err := mls.ParseGroupInfo(disclosed.GroupInfo)
	if err != nil {
		return plain, context, errors.New("stored GroupInfo: " + err.Error())
	}
	plain = mimi.GroupInfoRatchetTree{GroupInfo: info, Tree: mimi.FullTree{Encoded: disclosed.RatchetTree}}
	for _, pending := range disclosed.Pending {
		message, err := mls.ParseMLSMessage(pending.Message)
		if err != nil {
			return plain, context, errors.New("stored Proposal: " + err.Error())
		}
		plain.Pending = append(plain.Pending, mimi.PendingProposal{Proposal: message, AcceptedMillis: pending.AcceptedMillis})
	}
	return plain, info.Context, nil
}

// senderInRoom is the first entry in the room's external_senders whose key is the hub's and of the scheme that is wanted, else the key as
// the hub publishes it (docs/deviations.md, P §5.6).
func (d *Desk) senderInRoom(context mls.GroupContext, key *mls.SigningKey, sender mls.ExternalSender) (*mls.SigningKey, mls.ExternalSender) {
	data, found := context.Extensions.Get(mls.ExtensionExternalSenders)
	if !found {
		return key, sender
	}
	entries, err := mls.ParseExternalSenders(data)
	if err != nil {
		return key, sender
	}
	for _, entry := range entries {
		if listed, ours := d.keys.SignerOf(entry.SignatureKey); ours && listed.Scheme() == key.Scheme() {
			return listed, entry
		}
	}
	return key, sender
}
