package fsm

// CountedAs is what people count a record as, or nothing for what they would not: it is for backups and their like, which tell how much
// there is of what. Names are for ever.
func CountedAs(k []byte) string {
	if len(k) < keyPrefixBytes {
		return ""
	}
	switch keyKind(k[2]) {
	case keyRoom:
		return "rooms"
	case keyUser:
		return "users"
	case keyClient:
		return "clients"
	case keyKeyPackage:
		return "keyPackages"
	case keyLastResort:
		return "lastResortKeyPackages"
	case keyMessage:
		return "messages" // that their rooms remember
	case keyOutboxItem:
		return "waiting" // in outboxes: messages, Commits, whatever goes out
	case keyClientEvent:
		return "clientEvents"
	default:
		return ""
	}
}
