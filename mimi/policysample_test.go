package mimi

import (
	"parley/mls"
)

func samplePreAuth() PreAuthData {
	return PreAuthData{[]PreAuthRoleEntry{{
		Claims: []Claim{{ID: ClaimID{Type: mls.CredentialBasic, ID: []byte("iss")}, Value: []byte("a.example")}},
		Role:   Role{Index: 2, Name: "member"},
	}}}
}

func sampleOperational() OperationalParameters {
	return OperationalParameters{
		Mandatory: ExtendedCapabilities{
			Leaf: sampleCapabilities(), WireFormats: []mls.WireFormats{{1, 2}}, Components: []mls.ComponentID{0x22}, SafeAAD: []mls.ComponentID{0x20},
			MediaTypes:   []ContentMediaType{{Type: "text/plain", Parameters: []MediaTypeParameter{{"charset", "UTF-8"}}}, {Type: "image/png"}},
			ContentTypes: []mls.ContentType{mls.ContentApplication},
		},
		HandshakeFormats: []mls.WireFormats{{mls.WirePublicMessage}}, ExternalProposals: true, ExternalCommits: true,
		Pending:        PendingProposalPolicy{Strategy: PendingRandomDelay, MinDelayMillis: 5, MaxDelayMillis: 50},
		LeafUpdateTime: MinDefaultMaxTime{1, 2, 3}, Messages: AppMessagePolicy{EpochTolerance: 1, PadToSize: 256, SkipGenerations: 1000},
		KeyPackageLifetimeMax: 7_776_000, KeyPairsMax: 10,
	}
}

func sampleAssets() AssetPolicy {
	png := ContentMediaType{Type: "image/png"}
	return AssetPolicy{
		Upload: UploadHub, UploadDomains: []ProviderAssetUploadDomains{{Provider: "a.example", Destinations: []string{"up.a.example"}}},
		Downloads:     DownloadPrivacy{Allowed: []DownloadPrivacyType{DownloadHubProxy}, Forbidden: []DownloadPrivacyType{DownloadDirect}, Default: DownloadOHTTP},
		ImageBytesMax: 1 << 20, AttachmentBytesMax: 1 << 30, Forbidden: []ContentMediaType{{Type: "text/html"}}, Permitted: []*ContentMediaType{&png, nil},
	}
}
