package dev

import (
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// The recorded conversation is what real MLS clients sent; interop/openmls makes it anew. Nobody needs Rust to replay it.
//
//go:embed conversation/manifest.json
var recorded embed.FS

// recordingFormat is the shape of manifest.json that this program reads.
const recordingFormat = 1

// recording is a conversation of real clients, ready to be sent. Bytes are base64 in the file.
type recording struct {
	Format    int `json:"format"`
	Generator struct{ Program, OpenMLS string }
	Room      struct {
		URI     mimi.RoomURI `json:"uri"`
		GroupID mls.GroupID  `json:"group_id"`
	} `json:"room"`
	HubKey struct {
		DevelopmentOnly bool     `json:"development_only"`
		Identity        string   `json:"identity"`
		Seed            hexBytes `json:"seed_hex"`
		Public          hexBytes `json:"public_hex"`
	} `json:"hub_key"`
	Clients  []recordedClient `json:"clients"`
	Steps    []recordedStep   `json:"steps"` // up to the race
	Race     struct{ Alice, Bob recordedStep }
	Branches struct{ Alice, Bob []recordedStep } // what follows, by who won the race
}

type recordedClient struct {
	URI          mimi.ClientURI `json:"uri"`
	User         mimi.UserURI   `json:"user"`
	SignatureKey struct {
		Seed   hexBytes `json:"seed_hex"`
		Public hexBytes `json:"public_hex"`
	} `json:"signature_key"`
	KeyPackages []struct {
		KeyPackage []byte   `json:"key_package"` // MLSMessage
		Ref        hexBytes `json:"ref_hex"`
	} `json:"key_packages"`
}

// stepKind is what a client does in a step.
type stepKind string

const (
	kindCreateGroup    stepKind = "create_group"
	kindCommit         stepKind = "commit"
	kindExternalCommit stepKind = "external_commit"
	kindProposal       stepKind = "proposal"
	kindMessage        stepKind = "message"
	kindRefusedCommit  stepKind = "refused_commit" // for an epoch that is over when it is sent
)

// recordedStep is one thing that a client sends; what its kind does not have is empty.
type recordedStep struct {
	Name        string         `json:"name"`
	Kind        stepKind       `json:"kind"`
	From        mimi.ClientURI `json:"from"`
	Epoch       mls.Epoch      `json:"epoch"`        // in which it is sent
	Commit      []byte         `json:"commit"`       // MLSMessage
	Proposal    []byte         `json:"proposal"`     // MLSMessage
	Message     []byte         `json:"message"`      // MLSMessage
	Welcome     []byte         `json:"welcome"`      // MLSMessage
	GroupInfo   []byte         `json:"group_info"`   // MLSMessage, of the epoch that a Commit begins
	RatchetTree []byte         `json:"ratchet_tree"` // optional<Node> ratchet_tree<V>, of that epoch
	Plaintext   string         `json:"plaintext"`
	Adds        []struct {
		Client mimi.ClientURI `json:"client"`
		Ref    hexBytes       `json:"key_package_ref_hex"`
	} `json:"adds"`
	After *struct {
		Epoch    mls.Epoch `json:"epoch"`
		TreeHash hexBytes  `json:"tree_hash_hex"`
		RoomName string    `json:"room_name"`
		Members  []string  `json:"members"`
	} `json:"after"`
}

type hexBytes []byte

func (b *hexBytes) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	*b = raw
	return err
}

func loadRecording() (*recording, error) {
	text, err := recorded.ReadFile("conversation/manifest.json")
	if err != nil {
		return nil, err
	}
	var r recording
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("recorded conversation: %w", err)
	}
	if r.Format != recordingFormat {
		return nil, fmt.Errorf("recorded conversation: format %d, this program reads %d", r.Format, recordingFormat)
	}
	return &r, nil
}

// client finds a recorded client by the last part of its URI, "bob1".
func (r *recording) client(name string) (*recordedClient, error) {
	for i := range r.Clients {
		if shortName(r.Clients[i].URI) == name {
			return &r.Clients[i], nil
		}
	}
	return nil, fmt.Errorf("recorded conversation: no client %q", name)
}

func (r *recording) sender(step recordedStep) (*recordedClient, error) {
	return r.client(shortName(step.From))
}

// signingKey is the client's signature key, with which this program signs requests that are not recorded.
func (c *recordedClient) signingKey() (*mls.SigningKey, error) {
	return mls.NewSigningKey(mls.Ed25519, c.SignatureKey.Seed)
}

// packages are the client's KeyPackages, in the order of their upload.
func (c *recordedClient) packages() (list [][]byte) {
	for _, k := range c.KeyPackages {
		list = append(list, k.KeyPackage)
	}
	return list
}

// bundle is the body of an update request for a Commit or a Proposal.
func (s recordedStep) bundle() ([]byte, error) {
	if s.Kind == kindProposal {
		proposal, err := mls.ParseMLSMessage(s.Proposal)
		return mimi.ProposalBundle{Proposals: []mls.MLSMessage{proposal}}.Marshal(), err
	}
	commit, err := mls.ParseMLSMessage(s.Commit)
	if err != nil {
		return nil, err
	}
	info, err := mls.ParseMLSMessage(s.GroupInfo)
	if err != nil {
		return nil, err
	}
	groupInfo, ok := info.Body.(*mls.GroupInfo)
	if !ok {
		return nil, fmt.Errorf("step %s: group_info is not a GroupInfo", s.Name)
	}
	bundle := mimi.CommitBundle{
		Commit: commit, GroupInfo: mimi.FullGroupInfo{GroupInfo: *groupInfo}, Tree: mimi.FullTree{Encoded: s.RatchetTree},
	}
	if len(s.Welcome) > 0 {
		message, err := mls.ParseMLSMessage(s.Welcome)
		if err != nil {
			return nil, err
		}
		if bundle.Welcome, ok = message.Body.(*mls.Welcome); !ok {
			return nil, fmt.Errorf("step %s: welcome is not a Welcome", s.Name)
		}
	}
	return bundle.Marshal(), nil
}

func shortName(uri interface{ String() string }) string {
	text := uri.String()
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == '/' {
			return text[i+1:]
		}
	}
	return text
}
