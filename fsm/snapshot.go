package fsm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A snapshot is a shard's whole state as a stream:
//
//	struct {
//	    opaque magic[6] = "parley";
//	    uint16 version = 1;
//	    SnapshotRecord records[...]; // in ascending order of the keys
//	    uint32 end = 0;              // where a key's length would stand; no key is empty
//	    uint64 count;                // of the records
//	    opaque digest[32];           // as of Digest
//	} Snapshot;
//
//	struct {
//	    uint32 key_length;
//	    uint32 value_length;
//	    opaque key[key_length];
//	    opaque value[value_length];
//	} SnapshotRecord;
const (
	snapshotMagic   = "parley"
	snapshotVersion = 1

	// Bounds against a damaged length. Keys hold at most a few names' hashes and one reference from a message.
	snapshotKeyBytesMax   = 16 << 20
	snapshotValueBytesMax = 1 << 30
)

// ErrSnapshot: a snapshot was cut short or altered, or is of a version that this program does not know.
var ErrSnapshot = errors.New("the snapshot is damaged")

// WriteSnapshot writes the whole state. The reader must show one applied index until it returns.
func WriteSnapshot(w io.Writer, r Reader) error {
	out := bufio.NewWriter(w)
	// A bufio.Writer keeps its first error and returns it from Flush.
	out.WriteString(snapshotMagic)
	out.Write(binary.BigEndian.AppendUint16(nil, snapshotVersion))
	d := newDigester()
	var count uint64
	lower, upper := wholeRange()
	err := r.Scan(lower, upper, func(key, value []byte) (bool, error) {
		d.add(key, value)
		count++
		out.Write(recordHead(key, value))
		out.Write(key)
		_, err := out.Write(value)
		return true, err
	})
	if err != nil {
		return fmt.Errorf("writing a snapshot: %w", err)
	}
	sum := d.sum()
	out.Write(binary.BigEndian.AppendUint32(nil, 0))
	out.Write(binary.BigEndian.AppendUint64(nil, count))
	out.Write(sum[:])
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing a snapshot: %w", err)
	}
	return nil
}

// ReadSnapshot reads a stream to its end and hands each record to put, whose slices are put's to keep. Only when it returns nil
// were the records the whole of what was written: after an error, which wraps ErrSnapshot, the reader's error or put's, all
// that was put has to be dropped. A snapshot of a format that this program does not know is an *UnknownFormatError.
func ReadSnapshot(rd io.Reader, put func(key, value []byte) error) error {
	in := snapshotReader{in: bufio.NewReader(rd)}
	head, err := in.bytes(len(snapshotMagic) + 2)
	if err != nil {
		return err
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic || binary.BigEndian.Uint16(head[len(snapshotMagic):]) != snapshotVersion {
		return fmt.Errorf("%w: it does not begin as one of version %d", ErrSnapshot, snapshotVersion)
	}
	d := newDigester()
	var count uint64
	var format []byte // its record
	for last := []byte(nil); ; count++ {
		key, value, end, err := in.record()
		if err != nil {
			return err
		}
		if end {
			return errors.Join(in.close(count, d.sum()), checkFormat(format))
		}
		if bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("%w: its keys are out of order", ErrSnapshot)
		}
		d.add(key, value)
		last = key
		if bytes.Equal(key, shardKey(keyFormat)) {
			format = value
		}
		if err := put(key, value); err != nil {
			return fmt.Errorf("restoring a snapshot: %w", err)
		}
	}
}

type snapshotReader struct{ in *bufio.Reader }

// bytes reads n bytes, and allocates as they come, so that a damaged length costs nothing.
func (s snapshotReader) bytes(n int) ([]byte, error) {
	var b bytes.Buffer
	if _, err := io.CopyN(&b, s.in, int64(n)); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: it is cut short", ErrSnapshot)
		}
		return nil, fmt.Errorf("reading a snapshot: %w", err)
	}
	return b.Bytes(), nil
}

func (s snapshotReader) record() (key, value []byte, end bool, err error) {
	head, err := s.bytes(4)
	if err != nil {
		return nil, nil, false, err
	}
	keyBytes := binary.BigEndian.Uint32(head)
	if keyBytes == 0 {
		return nil, nil, true, nil
	}
	if head, err = s.bytes(4); err != nil {
		return nil, nil, false, err
	}
	valueBytes := binary.BigEndian.Uint32(head)
	if keyBytes > snapshotKeyBytesMax || valueBytes > snapshotValueBytesMax {
		return nil, nil, false, fmt.Errorf("%w: a record is too long", ErrSnapshot)
	}
	if key, err = s.bytes(int(keyBytes)); err != nil {
		return nil, nil, false, err
	}
	if value, err = s.bytes(int(valueBytes)); err != nil {
		return nil, nil, false, err
	}
	return key, value, false, nil
}

func (s snapshotReader) close(count uint64, sum [32]byte) error {
	tail, err := s.bytes(8 + len(sum))
	if err != nil {
		return err
	}
	if binary.BigEndian.Uint64(tail) != count || !bytes.Equal(tail[8:], sum[:]) {
		return fmt.Errorf("%w: its contents do not match its digest", ErrSnapshot)
	}
	if _, err := s.in.ReadByte(); err == nil {
		return fmt.Errorf("%w: something follows its end", ErrSnapshot)
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading a snapshot: %w", err)
	}
	return nil
}
