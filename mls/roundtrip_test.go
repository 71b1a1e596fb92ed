package mls

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// codecs has, for each structure that stands alone somewhere, what parses it and writes it again.
var codecs = map[string]func([]byte) ([]byte, error){
	"MLSMessage":           codec(ParseMLSMessage),
	"PublicMessage":        codec(ParsePublicMessage),
	"PrivateMessage":       codec(ParsePrivateMessage),
	"AuthenticatedContent": codec(ParseAuthenticatedContent),
	"Proposal":             codec(ParseProposal),
	"Commit":               codec(ParseCommit),
	"UpdatePath":           codec(ParseUpdatePath),
	"Welcome":              codec(ParseWelcome),
	"GroupInfo":            codec(ParseGroupInfo),
	"GroupContext":         codec(ParseGroupContext),
	"KeyPackage":           codec(ParseKeyPackage),
	"LeafNode":             codec(ParseLeafNode),
	"Capabilities":         codec(ParseCapabilities),
	"Credential":           codec(ParseCredential),
	"Extensions":           codec(ParseExtensions),
	"RequiredCapabilities": codec(ParseRequiredCapabilities),
	"ExternalSender":       codec(ParseExternalSender),
	"ExternalSenders":      codec(ParseExternalSenders),
	"ExternalPub":          codec(ParseExternalPub),
	"AppDataDictionary":    codec(ParseAppDataDictionary),
	"RatchetTree":          codec(ParseRatchetTree),
	"TreePatch":            codec(ParseTreePatch),
	"ComponentsList":       codec(ParseComponentsList),
	"WireFormats":          codec(ParseWireFormats),
	"SafeAAD":              codec(ParseSafeAAD),
	"AppAck":               codec(ParseAppAck),
}

func codec[T interface{ Marshal() []byte }](parse func([]byte) (T, error)) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		v, err := parse(b)
		if err != nil {
			return nil, err
		}
		return v.Marshal(), nil
	}
}

func checkRoundTrip(t *testing.T, structure string, b []byte) {
	t.Helper()
	again, err := codecs[structure](b)
	if err != nil {
		t.Errorf("%s: %v", structure, err)
	} else if !bytes.Equal(again, b) {
		t.Errorf("%s changed:\n got %x\nwant %x", structure, again, b)
	}
}

func TestMessagesVectors(t *testing.T) {
	for _, v := range loadVectors[map[string]hexBytes](t, "messages.json") {
		for name, b := range v {
			switch name {
			case "mls_welcome", "mls_group_info", "mls_key_package", "public_message_application", "public_message_proposal",
				"public_message_commit", "private_message":
				checkRoundTrip(t, "MLSMessage", b)
			case "ratchet_tree":
				checkRoundTrip(t, "RatchetTree", b)
			case "commit":
				checkRoundTrip(t, "Commit", b)
			case "group_secrets": // secret, so this package has no such structure
			default:
				checkRoundTrip(t, "Proposal", append(proposalTypeOf(t, name), b...))
			}
		}
	}
}

// proposalTypeOf is the type that the vectors leave off their bare proposal bodies.
func proposalTypeOf(t *testing.T, name string) []byte {
	names := []string{"add_proposal", "update_proposal", "remove_proposal", "pre_shared_key_proposal", "re_init_proposal",
		"external_init_proposal", "group_context_extensions_proposal"}
	for i, n := range names {
		if n == name {
			return []byte{0, byte(i + 1)}
		}
	}
	t.Fatalf("unknown field %q in messages.json", name)
	return nil
}

// TestTranscriptMessages writes every file of the client transcripts again.
func TestTranscriptMessages(t *testing.T) {
	dir := dataDir(t, "mls-transcripts", "PARLEY_MLS_TRANSCRIPTS")
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.bin"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no messages in %s: %v", dir, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		structure := "MLSMessage"
		switch {
		case strings.HasSuffix(file, ".group_context.bin"):
			structure = "GroupContext"
		case strings.HasSuffix(file, "tree.bin"):
			structure = "RatchetTree"
		}
		checkRoundTrip(t, structure, b)
	}
}

func TestDeserializationVectors(t *testing.T) {
	type vector struct {
		Header hexBytes `json:"vlbytes_header"`
		Length int      `json:"length"`
	}
	for _, v := range loadVectors[vector](t, "deserialization.json") {
		r := NewReader("header", v.Header)
		if n := r.length(""); n != v.Length || r.Close() != nil {
			t.Errorf("%x reads as %d (%v), want %d", v.Header, n, r.Err(), v.Length)
		}
		var w Writer
		if w.length(v.Length); !bytes.Equal(w.Bytes(), v.Header) {
			t.Errorf("%d is written %x, want %x", v.Length, w.Bytes(), v.Header)
		}
	}
}
