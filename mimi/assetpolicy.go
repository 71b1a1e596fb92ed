package mimi

import (
	"parley/mls"
)

// AssetPolicy is about files that messages refer to (room-policy-03 §6.4); clients and their providers keep it. Sizes are in bytes.
//
//	struct {
//	    AssetUploadLocation asset_upload_location;
//	    ProviderAssetUploadDomains upload_domains<V>;
//	    DownloadPrivacy download_privacy;
//	    uint64 max_image;
//	    uint64 max_audio;
//	    uint64 max_video;
//	    uint64 max_attachment;
//	    MediaType forbidden_media_types<V>;
//	    optional<MediaType> permitted_media_types<V>;
//	} AssetPolicy;
type AssetPolicy struct {
	Upload        AssetUploadLocation
	UploadDomains []ProviderAssetUploadDomains
	Downloads     DownloadPrivacy

	ImageBytesMax, AudioBytesMax, VideoBytesMax, AttachmentBytesMax uint64

	Forbidden []ContentMediaType
	Permitted []*ContentMediaType // each optional, as the draft has it
}

// AssetUploadLocation is to where assets are uploaded.
//
//	enum { unspecified(0), localProvider(1), hub(2), (255) } AssetUploadLocation;
type AssetUploadLocation uint8

const (
	UploadUnspecified   AssetUploadLocation = 0
	UploadLocalProvider AssetUploadLocation = 1
	UploadHub           AssetUploadLocation = 2
)

// DownloadPrivacyType is a way to download (mimi-protocol-06 §5.10).
//
//	enum { direct(0), hubProxy(1), ohttp(2), (255) } DownloadPrivacyType;
type DownloadPrivacyType uint8

const (
	DownloadDirect   DownloadPrivacyType = 0
	DownloadHubProxy DownloadPrivacyType = 1
	DownloadOHTTP    DownloadPrivacyType = 2
)

// ProviderAssetUploadDomains are the hosts to which a provider's users upload.
//
//	struct {
//	    DomainName provider;
//	    DomainName asset_upload_destinations<V>;
//	} ProviderAssetUploadDomains;
type ProviderAssetUploadDomains struct {
	Provider     string
	Destinations []string
}

// DownloadPrivacy says which ways to download are allowed. None is both allowed and forbidden, and the default is not forbidden.
//
//	struct {
//	    DownloadPrivacyType allowed_download_types<V>;
//	    DownloadPrivacyType forbidden_download_types<V>;
//	    DownloadPrivacyType default_download_type;
//	} DownloadPrivacy;
type DownloadPrivacy struct {
	Allowed, Forbidden []DownloadPrivacyType
	Default            DownloadPrivacyType
}

func ReadAssetPolicy(r *mls.Reader) AssetPolicy {
	p := AssetPolicy{
		Upload:             AssetUploadLocation(r.Uint8("asset_upload_location")),
		UploadDomains:      mls.ReadList(r, "upload_domains", ReadProviderAssetUploadDomains),
		Downloads:          mls.ReadIn(r, "download_privacy", ReadDownloadPrivacy),
		ImageBytesMax:      r.Uint64("max_image"),
		AudioBytesMax:      r.Uint64("max_audio"),
		VideoBytesMax:      r.Uint64("max_video"),
		AttachmentBytesMax: r.Uint64("max_attachment"),
		Forbidden:          mls.ReadList(r, "forbidden_media_types", ReadContentMediaType),
		Permitted: mls.ReadList(r, "permitted_media_types", func(r *mls.Reader) *ContentMediaType {
			return mls.ReadOptional(r, "", ReadContentMediaType)
		}),
	}
	switch {
	case r.Failed():
	case p.Upload > UploadHub:
		failEnum(r, "asset_upload_location", uint8(p.Upload))
	case p.Upload == UploadHub && len(p.UploadDomains) != 1:
		r.Fail("upload_domains", "where all upload to the hub, the hub's are the only ones")
	}
	return p
}

func ParseAssetPolicy(b []byte) (AssetPolicy, error) {
	return mls.Parse("AssetPolicy", b, ReadAssetPolicy)
}

func (p AssetPolicy) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(p.Upload))
	mls.AppendList(w, p.UploadDomains)
	p.Downloads.AppendTo(w)
	w.Uint64(p.ImageBytesMax)
	w.Uint64(p.AudioBytesMax)
	w.Uint64(p.VideoBytesMax)
	w.Uint64(p.AttachmentBytesMax)
	mls.AppendList(w, p.Forbidden)
	w.Vector(func(w *mls.Writer) {
		for _, t := range p.Permitted {
			w.Bool(t != nil)
			if t != nil {
				t.AppendTo(w)
			}
		}
	})
}

func (p AssetPolicy) Marshal() []byte { return marshal(p) }

func ReadProviderAssetUploadDomains(r *mls.Reader) ProviderAssetUploadDomains {
	return ProviderAssetUploadDomains{
		Provider:     readText(r, "provider"),
		Destinations: readTexts(r, "asset_upload_destinations", "domain"),
	}
}

func (d ProviderAssetUploadDomains) AppendTo(w *mls.Writer) {
	appendText(w, d.Provider)
	appendTexts(w, d.Destinations)
}

func ReadDownloadPrivacy(r *mls.Reader) DownloadPrivacy {
	read := func(r *mls.Reader) DownloadPrivacyType {
		t := DownloadPrivacyType(r.Uint8(""))
		if t > DownloadOHTTP {
			failEnum(r, "", uint8(t))
		}
		return t
	}
	p := DownloadPrivacy{
		Allowed:   mls.ReadList(r, "allowed_download_types", read),
		Forbidden: mls.ReadList(r, "forbidden_download_types", read),
		Default:   DownloadPrivacyType(r.Uint8("default_download_type")),
	}
	if p.Default > DownloadOHTTP {
		failEnum(r, "default_download_type", uint8(p.Default))
	}
	for _, t := range p.Forbidden {
		switch {
		case r.Failed():
		case t == p.Default:
			r.Fail("default_download_type", "it is forbidden")
		default:
			for _, allowed := range p.Allowed {
				if t == allowed {
					r.Fail("forbidden_download_types", "one is allowed as well")
				}
			}
		}
	}
	return p
}

func (p DownloadPrivacy) AppendTo(w *mls.Writer) {
	appendDownloads(w, p.Allowed)
	appendDownloads(w, p.Forbidden)
	w.Uint8(uint8(p.Default))
}

func appendDownloads(w *mls.Writer, types []DownloadPrivacyType) {
	w.Vector(func(w *mls.Writer) {
		for _, t := range types {
			w.Uint8(uint8(t))
		}
	})
}
