// Package mimi holds the messages of the MIMI protocol (draft-ietf-mimi-protocol-06), the URIs that name rooms, users and
// clients, the directory document, and the room components that a hub reads. It is pure: bytes in, values out.
//
// Every structure T has ReadT, which takes it from a reader, ParseT, which takes it from a whole input, and the methods
// AppendTo and Marshal. ParseT's error is a *mls.MalformedError. Parsed values alias the input, which must not change.
// What the drafts leave open is decided in docs/deviations.md.
package mimi

// MediaType is the type of every binary body. The draft names none, so any is accepted.
const MediaType = "application/octet-stream"

// DirectoryPath is where a provider publishes its directory document (mimi-protocol-06 §5.1).
const DirectoryPath = "/.well-known/mimi-protocol-directory"

// FromLocalPart is the fixed local part of the From header's address (mimi-protocol-06 §4.1).
const FromLocalPart = "mimi"

// Header names that the protocol uses, in canonical form, and one of ours.
const (
	HeaderFrom           = "From"
	HeaderHost           = "Host"
	HeaderContentType    = "Content-Type"
	HeaderRetryAfter     = "Retry-After"
	HeaderIdempotencyKey = "Idempotency-Key"

	// HeaderEpochWinner tells the loser of an epoch the SHA-256 of the winning Commit's MLSMessage, in lower-case hexadecimal.
	// The response body of the draft has no place for it.
	HeaderEpochWinner = "Mimi-Epoch-Winner"
)
