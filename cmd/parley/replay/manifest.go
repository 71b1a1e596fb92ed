package replay

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// manifestName is the file in which a transcript lists its steps.
const manifestName = "manifest.json"

// fileBytesMax bounds each file of a transcript.
const fileBytesMax = 64 << 20

// Transcript is a recorded conversation of MLS clients: a folder with manifest.json and the files that it names, all read. Every
// field of the manifest but the steps, and of a step all but its kind, may be absent; what is absent is not compared. Other
// fields are passed over.
type Transcript struct {
	folder           string
	suite, generator string // for people
	suiteID          optional[uint64]
	generatedAt      optional[uint64]
	steps            []step
}

// GeneratedAt is when the transcript was made, in seconds since 1970; false where it does not say.
func (t *Transcript) GeneratedAt() (seconds uint64, known bool) {
	return t.generatedAt.value, t.generatedAt.given
}

// manifest is the form of manifest.json.
type manifest struct {
	Suite       any               `json:"suite"`
	SuiteID     number            `json:"suite_id"`
	Generator   any               `json:"generator"`
	GeneratedAt instant           `json:"generated_at"`
	Steps       []json.RawMessage `json:"steps"`
}

// step is one step: something that a client sent, and, of a step that begins an epoch, what the clients then had.
type step struct {
	Kind string
	Who  string // for people

	// What was sent: MLSMessages. A step has Commit, with Welcome if it adds somebody, or File. UsedGroupInfo and UsedTree are
	// what one who joined by an external Commit had been given.
	File, Commit, Welcome, UsedGroupInfo, UsedTree *file

	Ref       optional[[]byte] // of a KeyPackage or Proposal
	Committer optional[uint64] // the leaf that a Commit is of
	Leaf      optional[uint64] // the leaf that one who joined by an external Commit got
	From      optional[uint64] // the leaf that a Proposal is of

	// What holds after the step. GroupInfo is an MLSMessage or bare, the other two files are bare.
	Epoch                                optional[uint64]
	TreeHash, Confirmed, ConfirmationTag optional[[]byte]
	Context, Tree, GroupInfo             *file
}

// file is a file of the transcript.
type file struct {
	name    string
	content []byte
}

// optional is a value that a manifest may leave out.
type optional[T any] struct {
	value T
	given bool
}

// rawStep is the form of a step in manifest.json.
type rawStep struct {
	Kind          string    `json:"kind"`
	Who           any       `json:"who"`
	File          string    `json:"file"`
	Commit        string    `json:"commit"`
	Welcome       string    `json:"welcome"`
	UsedGroupInfo string    `json:"used_group_info"`
	UsedTree      string    `json:"used_tree"`
	Ref           hexField  `json:"ref"`
	Committer     leafField `json:"committer"`
	Leaf          leafField `json:"leaf"`
	From          leafField `json:"from"`
	Epoch         number    `json:"epoch"`
	TreeHash      hexField  `json:"tree_hash"`
	Confirmed     hexField  `json:"confirmed_transcript_hash"`
	Tag           hexField  `json:"confirmation_tag"`
	Context       string    `json:"group_context"`
	Tree          string    `json:"ratchet_tree"`
	GroupInfo     string    `json:"group_info"`
}

// Load reads a transcript. The error is of what stands in the way of a replay: a folder or file that is not there, a manifest
// that cannot be read, a name that leads out of the folder.
func Load(folder string) (*Transcript, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	content, err := readIn(root, manifestName)
	if err != nil {
		return nil, fmt.Errorf("%s is no transcript: %w", folder, err)
	}
	var m manifest
	if err := json.Unmarshal(content, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(folder, manifestName), err)
	}
	if len(m.Steps) == 0 {
		return nil, fmt.Errorf("%s: there are no steps", filepath.Join(folder, manifestName))
	}
	t := &Transcript{
		folder: folder, suite: words(m.Suite), generator: words(m.Generator), suiteID: optional[uint64](m.SuiteID),
		generatedAt: optional[uint64](m.GeneratedAt),
	}
	for i, raw := range m.Steps {
		s, err := readStep(root, raw)
		if err != nil {
			return nil, fmt.Errorf("%s: step %d: %w", filepath.Join(folder, manifestName), i+1, err)
		}
		t.steps = append(t.steps, s)
	}
	return t, nil
}

// readStep reads a step with the files that it names.
func readStep(root *os.Root, raw json.RawMessage) (step, error) {
	var r rawStep
	if err := json.Unmarshal(raw, &r); err != nil {
		return step{}, err
	}
	if r.Kind == "" {
		return step{}, errors.New("the step has no kind")
	}
	s := step{
		Kind: r.Kind, Who: words(r.Who), Ref: optional[[]byte](r.Ref),
		Committer: optional[uint64](r.Committer), Leaf: optional[uint64](r.Leaf), From: optional[uint64](r.From),
		Epoch: optional[uint64](r.Epoch), TreeHash: optional[[]byte](r.TreeHash), Confirmed: optional[[]byte](r.Confirmed),
		ConfirmationTag: optional[[]byte](r.Tag),
	}
	for _, f := range []struct {
		field, name string
		to          **file
	}{
		{"file", r.File, &s.File}, {"commit", r.Commit, &s.Commit}, {"welcome", r.Welcome, &s.Welcome},
		{"used_group_info", r.UsedGroupInfo, &s.UsedGroupInfo}, {"used_tree", r.UsedTree, &s.UsedTree},
		{"group_context", r.Context, &s.Context}, {"ratchet_tree", r.Tree, &s.Tree}, {"group_info", r.GroupInfo, &s.GroupInfo},
	} {
		if f.name == "" {
			continue
		}
		content, err := readIn(root, f.name)
		if err != nil {
			return step{}, fmt.Errorf("%s (%s): %w", r.Kind, f.field, err)
		}
		*f.to = &file{f.name, content}
	}
	if s.Kind == kindCreateGroup && s.GroupInfo == nil {
		s.GroupInfo = s.File // it is what this step sends
	}
	return s, nil
}

// readIn reads a file of the folder. No name leads out of it, neither by itself nor by a link.
func readIn(root *os.Root, name string) ([]byte, error) {
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("%q leads out of the folder", name)
	}
	info, err := root.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", name)
	case info.Size() > fileBytesMax:
		return nil, fmt.Errorf("%s has %d bytes, more than %d", name, info.Size(), fileBytesMax)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, fileBytesMax))
}

// number is an integer, or a string of decimal digits.
type number optional[uint64]

func (n *number) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	digits := string(b)
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		digits = v
	case float64:
	default:
		return fmt.Errorf("%s is not a number", b)
	}
	value, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return fmt.Errorf("%s is not a whole number of 64 bits", b)
	}
	*n = number{value, true}
	return nil
}

// leafField is a leaf's number. A name in its place is for people, and nothing is given by it.
type leafField optional[uint64]

func (l *leafField) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil && (s == "" || strings.Trim(s, "0123456789") != "") {
		return nil
	}
	var n number
	if err := n.UnmarshalJSON(b); err != nil {
		return err
	}
	*l = leafField(n)
	return nil
}

// secondsMax is the last second of the year 9999, where RFC 3339 ends.
const secondsMax = 253402300799

// instant is a time: seconds since 1970, as a number or in a string, or RFC 3339.
type instant optional[uint64]

func (i *instant) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		if at, err := time.Parse(time.RFC3339, s); err == nil && at.Unix() >= 0 {
			*i = instant{uint64(at.Unix()), true}
			return nil
		}
	}
	var n number
	if err := n.UnmarshalJSON(b); err != nil {
		return err
	}
	if n.value > secondsMax {
		return fmt.Errorf("%s is not a time in seconds since 1970", b)
	}
	*i = instant(n)
	return nil
}

// hexField is octets in hexadecimal digits; an empty string is none of them, and null nothing at all.
type hexField optional[[]byte]

func (h *hexField) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if s == nil {
		return nil
	}
	value, err := hex.DecodeString(*s)
	if err != nil {
		return fmt.Errorf("%q is not in hexadecimal digits", *s)
	}
	*h = hexField{value, true}
	return nil
}

// words is a value that only people read.
func words(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}
