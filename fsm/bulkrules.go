package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// BulkRules are the limits of what is taken and delivered in bulk. They count from FormatBulk on. A number that is zero stands for its
// default, so that a cluster which was raised to the format has them.
type BulkRules struct {
	OutboxRetentionMillis uint64 // what a destination has not taken for so long is dropped, and a gap recorded; default 30 days
	ReceiptMillis         uint64 // a rejected submission can be asked for by its receipt so long; default 24 h
	InboxRetentionMillis  uint64 // what a client has not fetched for so long is dropped, and a gap recorded; default 30 days
	ClientInboxes         bool   // whether each local client has an inbox of its own, beside the backend's; default false

	QueueMillis   uint64 // what waits for another hub so long is given up; default 24 h
	QueueItemsMax uint32 // that wait in one slot for one hub; default 20,000
	QueueBytesMax uint32 // of their bodies; default 16 MiB

	DeletionsTo []mimi.Provider // the peers that are told of each user of this provider that is deleted; default none

	HubGapMillis uint64 // what another hub delivers of a room waits so long for what comes before it; default 5 min
}

const (
	day                      = 24 * 60 * 60 * 1000 // milliseconds
	outboxRetentionDefault   = 30 * day
	receiptDefault           = day
	inboxRetentionDefault    = 30 * day
	queueMillisDefault       = day
	queueItemsDefault        = 20_000
	queueBytesDefault        = 16 << 20
	bulkRetentionMillisLeast = 60 * 1000
	hubGapDefault            = 5 * 60 * 1000

	deletionsToMax = 100
)

func (b BulkRules) outboxRetention() uint64 {
	return orDefault(b.OutboxRetentionMillis, outboxRetentionDefault)
}
func (b BulkRules) receipts() uint64 { return orDefault(b.ReceiptMillis, receiptDefault) }
func (b BulkRules) inboxRetention() uint64 {
	return orDefault(b.InboxRetentionMillis, inboxRetentionDefault)
}

func (b BulkRules) hubGap() uint64      { return orDefault(b.HubGapMillis, hubGapDefault) }
func (b BulkRules) queueMillis() uint64 { return orDefault(b.QueueMillis, queueMillisDefault) }
func (b BulkRules) queueItems() uint32  { return orDefault(b.QueueItemsMax, queueItemsDefault) }
func (b BulkRules) queueBytes() uint32  { return orDefault(b.QueueBytesMax, queueBytesDefault) }

func orDefault[N uint32 | uint64](value, fallback N) N {
	if value == 0 {
		return fallback
	}
	return value
}

// InForce are the rules with the defaults that a number of zero stands for.
func (b BulkRules) InForce() BulkRules {
	b.OutboxRetentionMillis, b.ReceiptMillis, b.InboxRetentionMillis = b.outboxRetention(), b.receipts(), b.inboxRetention()
	b.HubGapMillis = b.hubGap()
	b.QueueMillis, b.QueueItemsMax, b.QueueBytesMax = b.queueMillis(), b.queueItems(), b.queueBytes()
	return b
}

// Fault says what of the rules cannot be; empty where all can.
func (b BulkRules) Fault() string {
	for _, millis := range []uint64{b.outboxRetention(), b.receipts(), b.inboxRetention(), b.hubGap(), b.queueMillis()} {
		if millis < bulkRetentionMillisLeast {
			return "something is to be kept for less than a minute"
		}
	}
	if len(b.DeletionsTo) > deletionsToMax {
		return "more than 100 providers are to be told of deleted users"
	}
	return ""
}

//	struct {
//	    uint64 outbox_retention_millis;
//	    uint64 receipt_millis;
//	    uint64 inbox_retention_millis;
//	    uint8 client_inboxes; // 0 or 1
//	    opaque deletions_to<V><V>;
//	    uint64 hub_gap_millis;
//	    uint64 queue_millis;
//	    uint32 queue_items_max;
//	    uint32 queue_bytes_max;
//	} BulkRules;
func (b BulkRules) appendTo(w *mls.Writer) {
	w.Uint64(b.OutboxRetentionMillis)
	w.Uint64(b.ReceiptMillis)
	w.Uint64(b.InboxRetentionMillis)
	w.Bool(b.ClientInboxes)
	appendProviders(w, b.DeletionsTo)
	w.Uint64(b.HubGapMillis)
	w.Uint64(b.QueueMillis)
	w.Uint32(b.QueueItemsMax)
	w.Uint32(b.QueueBytesMax)
}

func readBulkRules(r *mls.Reader) BulkRules {
	return BulkRules{
		OutboxRetentionMillis: r.Uint64("outbox_retention_millis"),
		ReceiptMillis:         r.Uint64("receipt_millis"),
		InboxRetentionMillis:  r.Uint64("inbox_retention_millis"),
		ClientInboxes:         r.Bool("client_inboxes"),
		DeletionsTo:           readProviders(r, "deletions_to"),
		HubGapMillis:          r.Uint64("hub_gap_millis"),
		QueueMillis:           r.Uint64("queue_millis"),
		QueueItemsMax:         r.Uint32("queue_items_max"),
		QueueBytesMax:         r.Uint32("queue_bytes_max"),
	}
}
