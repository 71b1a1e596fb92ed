package fsm

import (
	"fmt"

	"parley/mls"
)

// Every record in the state begins with a version, as commands do. Layouts are at their first where nothing else is said.
const recordVersion = 1

// record writes a record's value.
func record(write func(*mls.Writer)) []byte { return encode(recordVersion, write) }

// readRecord gets and decodes a record. The decoder's error is kept as text only: what is malformed here is the state, not a request. A record that cannot be decoded is an error that names its kind: the state was
// damaged, or written by a newer program.
func readRecord[T any](r Reader, k key, name string, read func(*mls.Reader) T) (v T, found bool, err error) {
	return readRecordUpTo(r, k, name, recordVersion, func(r *mls.Reader, _ uint8) T { return read(r) })
}

// readRecordUpTo is readRecord for a record of which there are several layouts.
func readRecordUpTo[T any](r Reader, k key, name string, last uint8, read func(r *mls.Reader, version uint8) T) (v T, found bool, err error) {
	value, err := r.Get(k)
	if err != nil {
		return v, false, fmt.Errorf("reading %s: %w", name, err)
	}
	if value == nil {
		return v, false, nil
	}
	v, err = decodeUpTo(name, value, last, read)
	if err != nil {
		return v, false, fmt.Errorf("the state is damaged: %v", err)
	}
	return v, true, nil
}

// scanRecords visits the decoded records under a prefix, in order of their keys. rest is the key behind the prefix, valid
// during the visit; the record is valid after it.
func scanRecords[T any](r Reader, prefix key, name string, read func(*mls.Reader) T, visit func(rest []byte, v T) (bool, error)) error {
	return scanRange(r, prefix, prefix, prefix.end(), name, read, visit)
}

// scanRange is scanRecords from lower on and below upper, both under prefix.
func scanRange[T any](r Reader, prefix, lower, upper key, name string, read func(*mls.Reader) T, visit func(rest []byte, v T) (bool, error)) error {
	return scanRangeUpTo(r, prefix, lower, upper, name, recordVersion, func(r *mls.Reader, _ uint8) T { return read(r) }, visit)
}

// scanRangeUpTo is scanRange for records of which there are several layouts.
func scanRangeUpTo[T any](r Reader, prefix, lower, upper key, name string, last uint8, read func(r *mls.Reader, version uint8) T,
	visit func(rest []byte, v T) (bool, error)) error {
	err := r.Scan(lower, upper, func(k, value []byte) (bool, error) {
		// Decoded values alias what they were read from, and the value is lent for the visit only.
		v, err := decodeUpTo(name, append([]byte(nil), value...), last, read)
		if err != nil {
			return false, fmt.Errorf("the state is damaged: %v", err)
		}
		return visit(k[len(prefix):], v)
	})
	if err != nil {
		return fmt.Errorf("scanning %s: %w", name, err)
	}
	return nil
}

// decodeStored decodes a record's value, which the result aliases.
func decodeStored[T any](name string, value []byte, read func(*mls.Reader) T) (T, error) {
	v, err := decode(name, value, read)
	if err != nil {
		return v, fmt.Errorf("the state is damaged: %v", err)
	}
	return v, nil
}
