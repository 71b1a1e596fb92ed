package judge

import (
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// packagesPerUploadMax bounds one upload; a client's inventory is bounded by the settings.
const packagesPerUploadMax = 200

// Upload adds KeyPackages to the inventory of a local user's client.
type Upload struct {
	asDecided
	command  fsm.UploadKeyPackages
	packages [][]byte
}

// NewUpload reads and verifies KeyPackages, each bare or as an MLSMessage. All syntax, each signature and the credential are
// checked; lifetimes are left to apply, which has the time. One bad KeyPackage refuses the whole upload.
func NewUpload(user mimi.UserURI, client mimi.ClientURI, packages [][]byte) (*Upload, error) {
	switch {
	case client.Provider() != user.Provider():
		return nil, &mls.MalformedError{Field: "client", Reason: "it belongs to another provider than the user"}
	case len(packages) == 0 || len(packages) > packagesPerUploadMax:
		return nil, &mls.MalformedError{Field: "keyPackages", Reason: fmt.Sprintf("between 1 and %d are taken, not %d", packagesPerUploadMax, len(packages))}
	}
	upload := &Upload{command: fsm.UploadKeyPackages{User: user, Client: client}, packages: make([][]byte, len(packages))}
	for i, raw := range packages {
		upload.packages[i] = slices.Clone(raw)
		facts, err := keyPackageFacts(upload.packages[i], user, client)
		if err != nil {
			return nil, &mls.MalformedError{Field: fmt.Sprintf("keyPackages[%d]", i), Reason: err.Error()}
		}
		upload.command.Packages = append(upload.command.Packages, facts)
	}
	return upload, nil
}

func keyPackageFacts(raw []byte, user mimi.UserURI, client mimi.ClientURI) (fsm.KeyPackageFacts, error) {
	k, err := parseKeyPackage(raw)
	if err != nil {
		return fsm.KeyPackageFacts{}, err
	}
	if identity := namedBy(k.Leaf.Credential); identity != client && identity != user {
		return fsm.KeyPackageFacts{}, fmt.Errorf("the credential names %q, neither the client nor the user", nameOf(k.Leaf.Credential))
	}
	lifetime, ok := k.Lifetime()
	if !ok {
		return fsm.KeyPackageFacts{}, fmt.Errorf("the leaf_node has no lifetime (RFC 9420 §10.1)")
	}
	if err := k.Verify(lifetime.NotBefore); err != nil {
		return fsm.KeyPackageFacts{}, err
	}
	ref, err := k.Ref()
	if err != nil {
		return fsm.KeyPackageFacts{}, err
	}
	capabilities := k.Leaf.Capabilities
	return fsm.KeyPackageFacts{
		Ref: ref, Suite: k.Suite, NotBefore: lifetime.NotBefore, NotAfter: lifetime.NotAfter, LastResort: k.LastResort(),
		Extensions: capabilities.Extensions, Proposals: capabilities.Proposals, Credentials: capabilities.Credentials,
		Message: k.Marshal(),
	}, nil
}

func parseKeyPackage(raw []byte) (mls.KeyPackage, error) {
	if message, err := mls.ParseMLSMessage(raw); err == nil {
		k, ok := message.Body.(*mls.KeyPackage)
		if !ok {
			return mls.KeyPackage{}, fmt.Errorf("the MLSMessage is not a KeyPackage")
		}
		return *k, nil
	}
	return mls.ParseKeyPackage(raw)
}

func (u *Upload) Slot() fsm.SlotID { return u.command.Slot() }
func (*Upload) kind() requestKind  { return kindUpload }

// Judge refuses another provider's user, whose KeyPackages its own provider keeps.
func (u *Upload) Judge(replica fsm.Reader) (Verdict, error) {
	return ofLocalUser(replica, u.command.User, Propose{u.command})
}

func (u *Upload) appendArguments(w *mls.Writer) {
	appendURIs(w, u.command.User, u.command.Client)
	w.Vector(func(w *mls.Writer) {
		for _, raw := range u.packages {
			w.Opaque(raw)
		}
	})
}
