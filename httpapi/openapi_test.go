package httpapi

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"parley/httpapi/openapi"
	"parley/mimi"
	"parley/mls"
)

type openapiDocument struct {
	OpenAPI    string                                 `json:"openapi"`
	Paths      map[string]map[string]openapiOperation `json:"paths"`
	Components map[string]map[string]any              `json:"components"`
}

type openapiOperation struct {
	OperationID string                      `json:"operationId"`
	Parameters  []struct{ Name, In string } `json:"parameters"`
	Responses   map[string]any              `json:"responses"`
}

var pathVariable = regexp.MustCompile(`:(\w+)`)

func echoRoutes(e *echo.Echo) []string {
	var routes []string
	for _, r := range e.Routes() {
		if r.Method == echo.RouteNotFound {
			continue
		}
		routes = append(routes, r.Method+" "+pathVariable.ReplaceAllString(r.Path, "{$1}"))
	}
	slices.Sort(routes)
	return routes
}

// The documents and the routes list the same operations, with the same variables.
func TestOpenAPI(t *testing.T) {
	cluster := &fakeCluster{domains: []mimi.Provider{hubDomain}}
	desk := NewDesk(answers(nil), cluster, cluster, &fakePoster{})
	local := NewLocalServer(LocalConfig{}, desk, &fakeInbox{}, NewPulse(nil), cluster, cluster, nil, requestMetrics(t), quiet())
	admin := NewAdminServer(AdminConfig{}, &fakeAdmin{}, prometheus.NewRegistry(), requestMetrics(t), quiet())
	for name, test := range map[string]struct {
		echo *echo.Echo
		raw  []byte
	}{"local": {local.echo, openapi.Local}, "admin": {admin.echo, openapi.Admin}} {
		t.Run(name, func(t *testing.T) {
			var document openapiDocument
			if err := json.Unmarshal(test.raw, &document); err != nil {
				t.Fatal(err)
			}
			if document.OpenAPI != "3.1.0" {
				t.Errorf("version %q", document.OpenAPI)
			}
			var described []string
			ids := map[string]bool{}
			for path, operations := range document.Paths {
				for method, operation := range operations {
					described = append(described, strings.ToUpper(method)+" "+path)
					if operation.OperationID == "" || ids[operation.OperationID] || len(operation.Responses) == 0 {
						t.Errorf("%s %s: operationId %q missing or repeated, or no responses", method, path, operation.OperationID)
					}
					ids[operation.OperationID] = true
					for _, variable := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
						if !slices.ContainsFunc(operation.Parameters, func(p struct{ Name, In string }) bool { return p.In == "path" && p.Name == variable[1] }) {
							t.Errorf("%s %s: the variable %s is not described", method, path, variable[1])
						}
					}
				}
			}
			slices.Sort(described)
			if routes := echoRoutes(test.echo); !slices.Equal(routes, described) {
				t.Errorf("routes and document differ:\n%v\n%v", routes, described)
			}
			for _, reference := range regexp.MustCompile(`"#/components/(\w+)/(\w+)"`).FindAllStringSubmatch(string(test.raw), -1) {
				if document.Components[reference[1]][reference[2]] == nil {
					t.Errorf("%s points nowhere", reference[0])
				}
			}
		})
	}
}

// The JSON that goes out has no field that the documents do not name, and all those that they require.
func TestOpenAPISchemas(t *testing.T) {
	for schema, value := range map[string]any{
		"UploadResult": uploadResult{}, "CreateRoom": createRoomRequest{}, "Upload": uploadRequest{}, "RoomAccepted": roomAccepted{}, "Room": roomDescription{Next: &nextGroup{}, Stale: &staleRoom{}}, "FastForward": fastForwardRequest{}, "StaleRoom": staleRoom{}, "StaleRooms": staleRoomList{Next: ourRoom},
		"Departure": departure{Client: &mimi.ClientURI{}}, "RoomDestroyed": roomDestroyed{},
		"InboxBatch": inboxBatch{}, "ClientBatch": clientBatch{}, "AcknowledgeEvents": acknowledgeEventsRequest{}, "RoomPlace": roomPlaced{Room: ourRoom}, "AcknowledgedEvents": acknowledgedEvents{}, "HubKeys": hubKeyList{}, "HubSuite": hubSuite{},
		"InboxItem": inboxItem{Room: ourRoom, Events: []inboxEvent{}, Body: []byte{1}, WelcomeFor: []welcomeFor{{}}, RoomDestroyed: true, Cursor: "c"},
		"InboxEvent": inboxEvent{
			GroupID: []byte{1}, Epoch: new(mls.Epoch), Message: []byte{1}, MoreProposals: [][]byte{{1}}, RatchetTree: []byte{1},
			KeyPackageRefs: [][]byte{{1}}, ServerFrank: []byte{1}, User: alice, Client: clientURI("mimi://a.example/d/1"), Left: new(uint32), Generation: 2,
			noticeFields: &noticeFields{
				Receipt: "00", Verdict: "accepted", Reason: "r", CurrentEpoch: new(mls.Epoch), VerdictMillis: 1, ProposalRef: []byte{1}, Committed: new(bool),
				Changes: []string{"roles"}, GainedVoice: []string{"u"}, LostVoice: []string{"u"}, DroppedItems: 1, DroppedFrom: 1, DroppedThrough: 1,
			},
		},
		"Inventory": inventory{}, "ClientInventory": clientInventory{}, "SuiteStock": suiteStock{}, "Deletion": deletionRequest{}, "DeletionResult": deletionResult{},
		"CreateJoiningCode": createCodeRequest{}, "JoiningCode": joiningCode{Code: "x"}, "JoiningCodeList": joiningCodeList{},
		"Consents": consentList{Next: "n"}, "ConsentEntry": consentEntry{Room: ourRoom, SinceMillis: 1}, "ConsentChanges": consentChanges{},
		"ConsentDecision": consentDecision{}, "ConsentPolicy": consentPolicy{},
	} {
		checkSchema(t, openapi.Local, schema, value)
	}
	for schema, value := range map[string]any{
		"Readiness": Readiness{}, "ClusterIdentity": ClusterIdentity{}, "InitRequest": InitRequest{Shards: 1, Replicas: 1, KeyPackageLifetimeMaxDays: 1, ConsentDefault: "ask", Claims: &ClaimLimits{}, DevelopmentHubKeySeed: "00", Node: "n1"},
		"JoinRequest": JoinRequest{Seeds: []string{"s"}, Token: "t", Node: "n2"}, "ClusterStatus": ClusterStatus{MetaLeader: "n", Removed: "r"}, "FetchStatus": FetchStatus{}, "Peer": PeerEntry{TrustPEM: "x", Hold: &PeerHold{}}, "Token": TokenEntry{},
		"TokenRequest": TokenRequest{}, "NewToken": NewToken{}, "ShardDigests": ShardDigests{}, "InviteRequest": InviteRequest{Node: "n", TTLSeconds: 1},
		"Invitation": Invitation{}, "CertificateList": certificateList{}, "Keyring": Keyring{Waits: "w"}, "ResealReport": ResealReport{},
		"ClusterSettings": ClusterSettings{}, "Setting": Setting{}, "SettingsChange": SettingsChange{Version: 1},
		"BackupRequest": BackupRequest{BytesPerSecond: 1, UnlessWithinSeconds: 1}, "RestoreRequest": RestoreRequest{Backup: "b", Node: "n", Shards: 1, Replicas: 1}, "RestoreStatus": RestoreStatus{Backup: "b", ClusterID: "c", Generation: 2, Node: "n"},
		"PeerHold": PeerHold{}, "HoldRequest": HoldRequest{By: "b", Why: "w"}, "NodeFailure": NodeFailure{}, "ReplayReport": ReplayReport{},
		"Backlog": Backlog{}, "PeerBacklog": PeerBacklog{Waits: Waits{Oldest: time.Unix(1, 0)}, Hold: &PeerHold{}},
		"ShardBacklog": ShardBacklog{Waits: Waits{Oldest: time.Unix(1, 0)}, Deliverer: "n"},
		"DeliveryLane": DeliveryLane{FailingSince: time.Unix(1, 0), Error: "e", NextTry: time.Unix(1, 0), ParkedMore: 1}, "ParkedRoom": ParkedRoom{},
		"HubKeyList": hubKeyEntries{}, "HubKeyRotation": HubKeyRotation{Purpose: "franking", SignatureScheme: "Ed25519"}, "HubKey": HubKeyEntry{SignatureScheme: "Ed25519", CipherSuite: 1, Added: time.UnixMilli(1)},
		"ClaimLimits": ClaimLimits{new(uint32), new(uint64), new(uint32), new(uint32), new(uint32), new(uint32), new(bool)},
		"ShardCheck":  ShardCheck{}, "ReplicaCheck": ReplicaCheck{Digest: "d", Error: "e", Differs: true, First: "f"}, "Diagnosis": Diagnosis{}, "Finding": Finding{},
		"UpgradeStatus": UpgradeStatus{}, "NodeVersion": NodeVersion{Version: "v", Error: "e"},
		"Problem": Problem{Detail: "d", Field: "f", Blocker: "b", See: "s", Clear: "c"},
	} {
		checkSchema(t, openapi.Admin, schema, value)
	}
}

func checkSchema(t *testing.T, raw []byte, name string, value any) {
	t.Helper()
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any `json:"properties"`
				Required   []string       `json:"required"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(encoded, &fields); err != nil {
		t.Fatal(err)
	}
	schema, known := document.Components.Schemas[name]
	if !known {
		t.Errorf("no schema %s", name)
	}
	for field := range fields {
		if schema.Properties[field] == nil {
			t.Errorf("%s: %s is not described", name, field)
		}
	}
	for _, field := range schema.Required {
		if _, there := fields[field]; !there {
			t.Errorf("%s: %s is required and never sent", name, field)
		}
	}
	for field := range schema.Properties {
		if _, there := fields[field]; !there && !(name == "InboxItem" && field == "events") {
			t.Errorf("%s: %s is described and never sent", name, field)
		}
	}
}
