package meta

import (
	"fmt"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// Commands and records are TLS presentation language behind a version. A layout never changes under its version.
const formatVersion = 1

// EncodeCommand writes a command: an entry of the meta group's log holds one.
//
//	struct {
//	    uint8 version = 1;
//	    uint16 kind;
//	    select (kind) { ... } command;
//	} Command;
func EncodeCommand(c Command) []byte {
	return encode(func(w *mls.Writer) {
		w.Uint16(uint16(c.kind()))
		c.appendTo(w)
	})
}

// DecodeCommand reads what EncodeCommand wrote. The error is a *mls.MalformedError or an *UnknownCommandError.
func DecodeCommand(entry []byte) (Command, error) {
	r := mls.NewReader("Command", entry)
	readVersion(r)
	kind := r.Uint16("kind")
	if r.Failed() {
		return nil, r.Err()
	}
	c := readCommand(r, commandKind(kind))
	if c == nil {
		return nil, &UnknownCommandError{Kind: kind}
	}
	return c, r.Close()
}

func readCommand(r *mls.Reader, kind commandKind) Command {
	switch kind {
	case kindInitCluster:
		return readInitCluster(r)
	case kindAddNode:
		return AddNode{readNode(r)}
	case kindUpdateNode:
		return UpdateNode{readNode(r)}
	case kindPlaceShards:
		return PlaceShards{mls.ReadList(r, "shards", readShard)}
	case kindActivateShard:
		return ActivateShard{fsm.ShardID(r.Uint32("id"))}
	case kindPutPeer:
		return PutPeer{readPeer(r)}
	case kindRemovePeer:
		return RemovePeer{mimi.ReadProvider(r, "domain")}
	case kindPutToken:
		return PutToken{readToken(r)}
	case kindRevokeToken:
		return RevokeToken{string(r.Opaque("id"))}
	case kindPutSettings:
		return PutSettings{readSettings(r)}
	case kindAddServiceKeys:
		return readAddServiceKeys(r)
	case kindChangeSettings:
		return ChangeSettings{Version: r.Uint64("version"), Settings: readSettings(r)}
	case kindAddHubKey:
		return AddHubKey{Key: readHubKey(r), Stamp: r.Uint64("stamp")}
	case kindHoldPeer:
		return HoldPeer{Hold: readHold(r), Stamp: r.Uint64("stamp")}
	case kindPutHubKey:
		return PutHubKey{readHubKey(r)}
	case kindAssignNode:
		return AssignNode{Duty: readDuty(r), Stamp: r.Uint64("stamp")}
	case kindTellZone:
		return TellZone{readZone(r)}
	case kindChangePlacement:
		return readChangePlacement(r)
	case kindChangeReplicas:
		return readChangeReplicas(r)
	case kindBeginGeneration:
		return readBeginGeneration(r)
	case kindDismissNode:
		return DismissNode{Node: string(r.Opaque("node")), Stamp: r.Uint64("stamp")}
	default:
		if c := readSlotCommand(r, kind); c != nil {
			return c
		}
		if c := readRestoreCommand(r, kind); c != nil {
			return c
		}
		return readTrustCommand(r, kind)
	}
}

// readTrustCommand goes on where readCommand ends.
func readTrustCommand(r *mls.Reader, kind commandKind) Command {
	switch kind {
	case kindPutCA:
		return PutCA{readCA(r)}
	case kindPutJoinToken:
		return PutJoinToken{Token: readJoinToken(r), Millis: r.Uint64("millis"), Stamp: r.Uint64("stamp")}
	case kindRevokeJoinToken:
		return RevokeJoinToken{string(r.Opaque("id"))}
	case kindEnrolNode:
		return readEnrolNode(r)
	case kindRecordCertificate:
		return RecordCertificate{Certificate: readCertificate(r), Stamp: r.Uint64("stamp")}
	case kindRevokeCertificates:
		return RevokeCertificates{Node: string(r.Opaque("node")), Stamp: r.Uint64("stamp")}
	case kindPutGossipKey:
		return PutGossipKey{readGossipKey(r)}
	case kindUseGossipKey:
		return UseGossipKey{string(r.Opaque("id"))}
	case kindRemoveGossipKey:
		return RemoveGossipKey{string(r.Opaque("id"))}
	case kindReseal:
		return Reseal{mls.ReadList(r, "secrets", readResealed)}
	default:
		return readOperatorCommand(r, kind)
	}
}

// readOperatorCommand goes on where readTrustCommand ends.
func readOperatorCommand(r *mls.Reader, kind commandKind) Command {
	switch kind {
	case kindPutJob:
		return readPutJob(r)
	case kindReportJob:
		return readReportJob(r)
	case kindSteerJob:
		return readSteerJob(r)
	case kindEndJob:
		return readEndJob(r)
	case kindAudited:
		return readAudited(r)
	default:
		return nil
	}
}

//	struct {
//	    opaque cluster_id<V>;
//	    opaque settings<V>;        // fsm.EncodeSettings
//	    uint32 replication_factor;
//	    uint32 shards;
//	} InitCluster;
func (c InitCluster) appendTo(w *mls.Writer) {
	appendText(w, c.ClusterID)
	appendSettings(w, c.Settings)
	w.Uint32(c.ReplicationFactor)
	w.Uint32(c.Shards)
}

func readInitCluster(r *mls.Reader) InitCluster {
	return InitCluster{
		ClusterID: string(r.Opaque("cluster_id")), Settings: readSettings(r),
		ReplicationFactor: r.Uint32("replication_factor"), Shards: r.Uint32("shards"),
	}
}

func (c AddNode) appendTo(w *mls.Writer)       { c.Node.appendTo(w) }
func (c UpdateNode) appendTo(w *mls.Writer)    { c.Node.appendTo(w) }
func (c ActivateShard) appendTo(w *mls.Writer) { w.Uint32(uint32(c.ID)) }
func (c PutPeer) appendTo(w *mls.Writer)       { c.Peer.appendTo(w) }
func (c RemovePeer) appendTo(w *mls.Writer)    { c.Domain.AppendTo(w) }
func (c PutToken) appendTo(w *mls.Writer)      { c.Token.appendTo(w) }
func (c RevokeToken) appendTo(w *mls.Writer)   { appendText(w, c.ID) }
func (c PutSettings) appendTo(w *mls.Writer)   { appendSettings(w, c.Settings) }
func (c PutHubKey) appendTo(w *mls.Writer)     { c.Key.appendTo(w) }

//	struct {
//	    uint64 version;
//	    opaque settings<V>; // fsm.EncodeSettings
//	} ChangeSettings;
func (c ChangeSettings) appendTo(w *mls.Writer) {
	w.Uint64(c.Version)
	appendSettings(w, c.Settings)
}

//	struct {
//	    HubKey key;
//	    uint64 stamp;
//	} AddHubKey;
func (c AddHubKey) appendTo(w *mls.Writer) {
	c.Key.appendTo(w)
	w.Uint64(c.Stamp)
}

// struct { Shard shards<V>; } PlaceShards;
func (c PlaceShards) appendTo(w *mls.Writer) {
	w.Vector(func(w *mls.Writer) {
		for _, s := range c.Shards {
			s.appendTo(w)
		}
	})
}

//	struct {
//	    opaque id<V>;
//	    opaque incarnation<V>;
//	    opaque cluster_addr<V>;
//	    uint8 state;
//	} Node;
func (n Node) appendTo(w *mls.Writer) {
	appendText(w, n.ID)
	appendText(w, n.Incarnation)
	appendText(w, n.ClusterAddr)
	w.Uint8(uint8(n.State))
}

func readNode(r *mls.Reader) Node {
	return Node{
		ID: string(r.Opaque("id")), Incarnation: string(r.Opaque("incarnation")), ClusterAddr: string(r.Opaque("cluster_addr")),
		State: NodeState(r.Uint8("state")),
	}
}

//	struct {
//	    uint32 id;
//	    uint64 generation;
//	    uint16 first;
//	    uint16 last;
//	    opaque replicas<V><V>;
//	    uint8 state;
//	} Shard;
func (s Shard) appendTo(w *mls.Writer) {
	w.Uint32(uint32(s.ID))
	w.Uint64(s.Generation)
	w.Uint16(uint16(s.First))
	w.Uint16(uint16(s.Last))
	appendTexts(w, s.Replicas)
	w.Uint8(uint8(s.State))
}

func readShard(r *mls.Reader) Shard {
	return Shard{
		ID: fsm.ShardID(r.Uint32("id")), Generation: r.Uint64("generation"),
		First: fsm.SlotID(r.Uint16("first")), Last: fsm.SlotID(r.Uint16("last")),
		Replicas: readTexts(r, "replicas"), State: ShardState(r.Uint8("state")),
	}
}

//	struct {
//	    opaque domain<V>;
//	    opaque domains<V><V>;
//	    opaque directory_urls<V><V>;
//	    opaque trust_pem<V>;
//	    uint8 accept_server_auth;
//	    uint8 allow_private_addresses;
//	} Peer;
func (p Peer) appendTo(w *mls.Writer) {
	p.Domain.AppendTo(w)
	w.Vector(func(w *mls.Writer) {
		for _, domain := range p.Domains {
			domain.AppendTo(w)
		}
	})
	appendTexts(w, p.DirectoryURLs)
	w.Opaque(p.TrustPEM)
	w.Bool(p.AcceptServerAuth)
	w.Bool(p.AllowPrivateAddresses)
}

func readPeer(r *mls.Reader) Peer {
	return Peer{
		Domain:        mimi.ReadProvider(r, "domain"),
		Domains:       mls.ReadList(r, "domains", func(r *mls.Reader) mimi.Provider { return mimi.ReadProvider(r, "") }),
		DirectoryURLs: readTexts(r, "directory_urls"), TrustPEM: r.Opaque("trust_pem"),
		AcceptServerAuth: r.Bool("accept_server_auth"), AllowPrivateAddresses: r.Bool("allow_private_addresses"),
	}
}

//	struct {
//	    opaque id<V>;
//	    opaque name<V>;
//	    opaque secret_hash[32];
//	    uint8 scopes<V>;
//	} Token;
func (t Token) appendTo(w *mls.Writer) {
	appendText(w, t.ID)
	appendText(w, t.Name)
	w.Fixed(t.SecretHash[:])
	w.Vector(func(w *mls.Writer) {
		for _, scope := range t.Scopes {
			w.Uint8(uint8(scope))
		}
	})
}

func readToken(r *mls.Reader) Token {
	t := Token{ID: string(r.Opaque("id")), Name: string(r.Opaque("name"))}
	copy(t.SecretHash[:], r.Fixed("secret_hash", len(t.SecretHash)))
	t.Scopes = mls.ReadList(r, "scopes", func(r *mls.Reader) Scope { return Scope(r.Uint8("")) })
	return t
}

//	struct {
//	    uint8 scheme;
//	    opaque public<V>;
//	    opaque sealed<V>;
//	    uint8 development_only;
//	} HubKey;
func (k HubKey) appendTo(w *mls.Writer) {
	w.Uint8(uint8(k.Scheme))
	w.Opaque(k.Public)
	w.Opaque(k.Sealed)
	w.Bool(k.DevelopmentOnly)
}

func readHubKey(r *mls.Reader) HubKey {
	return HubKey{
		Scheme: mls.SignatureScheme(r.Uint8("scheme")), Public: r.Opaque("public"),
		Sealed: r.Opaque("sealed"), DevelopmentOnly: r.Bool("development_only"),
	}
}

func appendSettings(w *mls.Writer, s fsm.Settings) { w.Opaque(fsm.EncodeSettings(s)) }

func readSettings(r *mls.Reader) fsm.Settings {
	b := r.Opaque("settings")
	if r.Failed() {
		return fsm.Settings{}
	}
	s, err := fsm.DecodeSettings(b)
	if err != nil {
		r.Fail("settings", err.Error())
	}
	return s
}

func appendText(w *mls.Writer, s string) { w.Opaque([]byte(s)) }

func appendTexts(w *mls.Writer, list []string) {
	w.Vector(func(w *mls.Writer) {
		for _, s := range list {
			appendText(w, s)
		}
	})
}

func readTexts(r *mls.Reader, field string) []string {
	return mls.ReadList(r, field, func(r *mls.Reader) string { return string(r.Opaque("")) })
}

func readVersion(r *mls.Reader) {
	if version := r.Uint8("version"); !r.Failed() && version != formatVersion {
		r.Fail("version", "it is not known to this program")
	}
}

func encode(write func(*mls.Writer)) []byte {
	var w mls.Writer
	w.Uint8(formatVersion)
	write(&w)
	return w.Bytes()
}

// decode reads a versioned record. A record that cannot be read means that the state was damaged, or written by a newer program.
func decode[T any](name string, b []byte, read func(*mls.Reader) T) (T, error) {
	r := mls.NewReader(name, b)
	readVersion(r)
	v := read(r)
	if err := r.Close(); err != nil {
		var none T
		return none, fmt.Errorf("the state is damaged: %w", err)
	}
	return v, nil
}
