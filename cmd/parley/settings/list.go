package settings

import (
	"errors"
	"strings"
	"time"

	"parley/fsm"
	"parley/mimi"
)

// Names that others refer to.
const (
	nameLeaseMin     = "lease-min"
	nameLeaseDefault = "lease-default"
	nameLeaseMax     = "lease-max"
	namePerClient    = "key-packages-per-client"
	namePerRoom      = "claims-per-room"
	namePerPair      = "claims-per-pair"
	nameLowWater     = "low-water"
	nameFloor        = "claim-floor"
)

const (
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour
	year   = 366 * day
)

func rooms() []Setting {
	return []Setting{
		counted("epoch-window", "of how many older epochs a room takes application messages, where its policy says nothing", 0, 1000,
			func(s *fsm.Settings) *uint32 { return &s.EpochWindow }),
		lasting(nameLeaseDefault, "how long a GroupInfo is lent", time.Second, hour,
			func(s *fsm.Settings) *uint64 { return &s.LeaseDefaultMillis }),
		lasting(nameLeaseMin, "the shortest lease that can be asked for", time.Second, hour,
			func(s *fsm.Settings) *uint64 { return &s.LeaseMinMillis }),
		lasting(nameLeaseMax, "the longest lease that can be asked for", time.Second, hour,
			func(s *fsm.Settings) *uint64 { return &s.LeaseMaxMillis }),
		lasting("leave-grace", "how long Commits may leave out an accepted leave", 0, 30*day,
			func(s *fsm.Settings) *uint64 { return &s.LeaveGraceMillis }),
		lasting("duplicate-retention", "how long a notify body of another hub is known again", minute, year,
			func(s *fsm.Settings) *uint64 { return &s.RetentionMillis }),
	}
}

func keyPackages() []Setting {
	return []Setting{
		counted(namePerClient, "how many KeyPackages a client may have in store", 1, 10_000,
			func(s *fsm.Settings) *uint32 { return &s.KeyPackagesPerClientMax }),
		{
			Name: "key-package-lifetime", Meaning: "the longest lifetime of an uploaded KeyPackage",
			read: func(s fsm.Settings) string { return duration(s.KeyPackageLifetimeMax * 1000) },
			write: func(s *fsm.Settings, text string) error {
				millis, err := parseDuration(text, hour, 200*year)
				if err == nil {
					s.KeyPackageLifetimeMax = millis / 1000
				}
				return err
			},
		},
		counted(nameLowWater, "the backend is told when a client has fewer single-use KeyPackages left; 0 never", 0, 10_000,
			func(s *fsm.Settings) *uint32 { return &s.Claims.LowWater }),
	}
}

func claims() []Setting {
	return []Setting{
		{
			Name: "consent", Meaning: "who may claim of users that have said nothing: ask (whom they granted it), allow, or provider (this one's users)",
			read: func(s fsm.Settings) string {
				if s.Claims.ConsentDefault == fsm.ConsentAsCluster { // as it stands in clusters that were made before there was a choice
					return fsm.ConsentAsk.String()
				}
				return s.Claims.ConsentDefault.String()
			},
			write: func(s *fsm.Settings, text string) error {
				policy, err := fsm.ParseConsentPolicy(text)
				if err != nil || policy == fsm.ConsentAsCluster || policy == fsm.ConsentNobody {
					return errors.New("it is neither ask nor allow nor provider")
				}
				s.Claims.ConsentDefault = policy
				return nil
			},
		},
		lasting("claim-window", "in which claims are counted; 0 counts none", 0, 30*day,
			func(s *fsm.Settings) *uint64 { return &s.Claims.WindowMillis }),
		counted(namePerPair, "claims of a provider for one requester of one user in a window; 0 without limit", 0, 1000,
			func(s *fsm.Settings) *uint32 { return &s.Claims.PerPairMax }),
		counted(namePerRoom, "likewise for one room; 0 without limit", 0, 1000,
			func(s *fsm.Settings) *uint32 { return &s.Claims.PerRoomMax }),
		counted(nameFloor, "the last KeyPackages of a client, of which other providers get few; 0 none", 0, 10_000,
			func(s *fsm.Settings) *uint32 { return &s.Claims.Floor }),
		counted("claims-below-floor", "how many of them one other provider gets in a window; 0 without limit", 0, 10_000,
			func(s *fsm.Settings) *uint32 { return &s.Claims.BelowFloorMax }),
		decided("last-resort-for-own", "whether this provider's own users get one of last resort where nothing else is left",
			func(s *fsm.Settings) *bool { return &s.Claims.LastResortForOwn }),
	}
}

func bulk() []Setting {
	return []Setting{
		kept("outbox-retention", "what a destination has not taken for so long is dropped, and a gap recorded",
			func(b *fsm.BulkRules) *uint64 { return &b.OutboxRetentionMillis }),
		kept("receipt-retention", "how long a rejected submission can be asked for by its receipt",
			func(b *fsm.BulkRules) *uint64 { return &b.ReceiptMillis }),
		kept("inbox-retention", "what a client has not fetched for so long is dropped, and a gap recorded",
			func(b *fsm.BulkRules) *uint64 { return &b.InboxRetentionMillis }),
		kept("hub-gap", "how long what another hub delivers of a room waits for what comes before it, which the hub may have lost",
			func(b *fsm.BulkRules) *uint64 { return &b.HubGapMillis }),
		decided("client-inboxes", "whether each local client has an inbox of its own, beside the backend's",
			func(s *fsm.Settings) *bool { return &s.Bulk.ClientInboxes }),
		kept("queue-retention", "what waits for another provider's hub so long is given up",
			func(b *fsm.BulkRules) *uint64 { return &b.QueueMillis }),
		bounded("queue-items", "how many submissions wait for one hub in one slot", 1, 1_000_000,
			func(b *fsm.BulkRules) *uint32 { return &b.QueueItemsMax }),
		bounded("queue-bytes", "how many bytes of them", 1<<20, 1<<30,
			func(b *fsm.BulkRules) *uint32 { return &b.QueueBytesMax }),
		{
			Name: "deletions-to", Meaning: "the peers that are told of each user of this provider that is deleted; empty: none",
			read: func(s fsm.Settings) string {
				var names []string
				for _, p := range s.Bulk.DeletionsTo {
					names = append(names, p.String())
				}
				return strings.Join(names, ",")
			},
			write: func(s *fsm.Settings, text string) (err error) {
				s.Bulk.DeletionsTo, err = parseProviders(text)
				return err
			},
		},
	}
}

// providersMax bounds a list of providers.
const providersMax = 100

func parseProviders(text string) (list []mimi.Provider, err error) {
	if text == "" {
		return nil, nil
	}
	for name := range strings.SplitSeq(text, ",") {
		p, err := mimi.ParseProvider(strings.TrimSpace(name))
		if err != nil {
			return nil, errors.New("it is no list of domains with commas between them")
		}
		list = append(list, p)
	}
	if len(list) > providersMax {
		return nil, errors.New("it names more than 100 domains")
	}
	return list, nil
}
