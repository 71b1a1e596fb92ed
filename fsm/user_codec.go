package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// The encodings of the commands on users and their KeyPackages.

//	struct {
//	    opaque user<V>;
//	    opaque client<V>;
//	    KeyPackageFacts packages<V>;
//	} UploadKeyPackages;
func (c UploadKeyPackages) appendTo(w *mls.Writer) {
	c.User.AppendTo(w)
	c.Client.AppendTo(w)
	appendList(w, c.Packages, appendKeyPackage)
}

func readUploadKeyPackages(r *mls.Reader) UploadKeyPackages {
	return UploadKeyPackages{
		User:     mimi.ReadUserURI(r, "user"),
		Client:   mimi.ReadClientURI(r, "client"),
		Packages: readList(r, "packages", readKeyPackage),
	}
}

//	struct {
//	    opaque ref<V>;
//	    uint16 suite;
//	    uint64 not_before;
//	    uint64 not_after;
//	    uint8 last_resort; // 0 or 1
//	    uint16 extensions<V>;
//	    uint16 proposals<V>;
//	    uint16 credentials<V>;
//	    opaque message<V>;
//	} KeyPackageFacts;
func appendKeyPackage(w *mls.Writer, k KeyPackageFacts) {
	appendText(w, k.Ref)
	w.Uint16(uint16(k.Suite))
	w.Uint64(k.NotBefore)
	w.Uint64(k.NotAfter)
	w.Bool(k.LastResort)
	appendCodes(w, k.Extensions)
	appendCodes(w, k.Proposals)
	appendCodes(w, k.Credentials)
	w.Opaque(k.Message)
}

func readKeyPackage(r *mls.Reader) KeyPackageFacts {
	return KeyPackageFacts{
		Ref:         readText[mls.KeyPackageRef](r, "ref"),
		Suite:       mls.CipherSuite(r.Uint16("suite")),
		NotBefore:   r.Uint64("not_before"),
		NotAfter:    r.Uint64("not_after"),
		LastResort:  r.Bool("last_resort"),
		Extensions:  readCodes[mls.ExtensionType](r, "extensions"),
		Proposals:   readCodes[mls.ProposalType](r, "proposals"),
		Credentials: readCodes[mls.CredentialType](r, "credentials"),
		Message:     r.Opaque("message"),
	}
}

//	struct {
//	    opaque user<V>;
//	    opaque requester<V>;
//	    opaque provider<V>;
//	    opaque room<V>;    // empty: for no room
//	    uint16 suites<V>;
//	    uint16 extensions<V>;
//	    uint16 proposals<V>;
//	    uint16 credentials<V>;
//	    opaque exclude<V>; // empty: none
//	    opaque replay_key[32];
//	    uint64 replay_millis;
//	} ClaimKeyPackages;
func (c ClaimKeyPackages) appendTo(w *mls.Writer) {
	c.User.AppendTo(w)
	c.Requester.AppendTo(w)
	c.Provider.AppendTo(w)
	c.Room.AppendTo(w)
	appendCodes(w, c.Suites)
	appendCodes(w, c.Extensions)
	appendCodes(w, c.Proposals)
	appendCodes(w, c.Credentials)
	c.Exclude.AppendTo(w)
	w.Fixed(c.ReplayKey[:])
	w.Uint64(c.ReplayMillis)
}

func readClaimKeyPackages(r *mls.Reader) ClaimKeyPackages {
	return ClaimKeyPackages{
		User:         mimi.ReadUserURI(r, "user"),
		Requester:    mimi.ReadUserURI(r, "requester"),
		Provider:     mimi.ReadProvider(r, "provider"),
		Room:         mimi.ReadOptionalRoomURI(r, "room"),
		Suites:       readCodes[mls.CipherSuite](r, "suites"),
		Extensions:   readCodes[mls.ExtensionType](r, "extensions"),
		Proposals:    readCodes[mls.ProposalType](r, "proposals"),
		Credentials:  readCodes[mls.CredentialType](r, "credentials"),
		Exclude:      mimi.ReadOptionalClientURI(r, "exclude"),
		ReplayKey:    readHash(r, "replay_key"),
		ReplayMillis: r.Uint64("replay_millis"),
	}
}

//	struct {
//	    opaque room<V>;
//	    KeyPackageRoute refs<V>;
//	} RecordKeyPackageRefs;
func (c RecordKeyPackageRefs) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	appendList(w, c.Refs, appendRoute)
}

func readRecordKeyPackageRefs(r *mls.Reader) RecordKeyPackageRefs {
	return RecordKeyPackageRefs{Room: mimi.ReadRoomURI(r, "room"), Refs: readList(r, "refs", readRoute)}
}

//	struct {
//	    opaque ref<V>;
//	    opaque provider<V>;
//	    opaque user<V>;   // empty: not known
//	    opaque client<V>; // empty: not known
//	    uint64 not_after;
//	} KeyPackageRoute;
func appendRoute(w *mls.Writer, k KeyPackageRoute) {
	appendText(w, k.Ref)
	k.Provider.AppendTo(w)
	k.User.AppendTo(w)
	k.Client.AppendTo(w)
	w.Uint64(k.NotAfter)
}

func readRoute(r *mls.Reader) KeyPackageRoute {
	return KeyPackageRoute{
		Ref:      readText[mls.KeyPackageRef](r, "ref"),
		Provider: mimi.ReadProvider(r, "provider"),
		User:     mimi.ReadOptionalUserURI(r, "user"),
		Client:   mimi.ReadOptionalClientURI(r, "client"),
		NotAfter: r.Uint64("not_after"),
	}
}
