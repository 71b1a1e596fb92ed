package fsm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Sum is what some records of a state come to.
type Sum struct {
	Count  uint64   // of the records
	Bytes  uint64   // of their keys and values
	Digest [32]byte // as of Digest
}

// Summer adds up records, which must come in ascending order of the keys. Not safe for concurrent use.
type Summer struct {
	digester digester
	head     [8]byte
	sum      Sum
}

// NewSummer starts from nothing.
func NewSummer() *Summer { return &Summer{digester: newDigester()} }

// Add takes one more record.
func (s *Summer) Add(key, value []byte) {
	putRecordHead(s.head[:], key, value)
	s.digester.hash.Write(s.head[:])
	s.digester.hash.Write(key)
	s.digester.hash.Write(value)
	s.sum.Count++
	s.sum.Bytes += uint64(len(key) + len(value))
}

// Sum is what has been added so far. It may go on.
func (s *Summer) Sum() Sum {
	sum := s.sum
	sum.Digest = s.digester.sum()
	return sum
}

// ScanRange visits a state's records with after < key ≤ through, in ascending order. An empty after means from the beginning, an
// empty through to the end. The slices are valid during the visit only.
func ScanRange(r Reader, after, through []byte, visit func(key, value []byte) error) error {
	lower, upper := wholeRange()
	if len(after) > 0 {
		lower = successor(after)
	}
	if len(through) > 0 {
		upper = successor(through)
	}
	return r.Scan(lower, upper, func(key, value []byte) (bool, error) { return true, visit(key, value) })
}

// successor is the least key that is greater.
func successor(key []byte) []byte { return append(append(make([]byte, 0, len(key)+1), key...), 0) }

// WriteRecord writes one record as it stands in a Snapshot.
func WriteRecord(w io.Writer, key, value []byte) error {
	var head [8]byte
	putRecordHead(head[:], key, value)
	for _, part := range [][]byte{head[:], key, value} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// WriteRecordsEnd writes what stands behind the last of a row of records.
func WriteRecordsEnd(w io.Writer) error {
	_, err := w.Write([]byte{0, 0, 0, 0})
	return err
}

// RecordReader reads records as WriteRecord wrote them, with bounds on what it takes for a length. Not safe for concurrent use.
type RecordReader struct {
	*bufio.Reader // for what stands between the rows
	key, value    []byte
}

// NewRecordReader reads from rd with a buffer of so many bytes.
func NewRecordReader(rd io.Reader, buffer int) *RecordReader {
	return &RecordReader{Reader: bufio.NewReaderSize(rd, buffer)}
}

// Next reads one record; a nil key is the end of the row. The slices are valid until the next call. An error wraps ErrSnapshot
// where what it read is no record, else it is the reader's, io.ErrUnexpectedEOF included.
func (r *RecordReader) Next() (key, value []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:4]); err != nil {
		return nil, nil, cutShort(err)
	}
	keyBytes := binary.BigEndian.Uint32(head[:])
	if keyBytes == 0 {
		return nil, nil, nil
	}
	if _, err := io.ReadFull(r, head[4:]); err != nil {
		return nil, nil, cutShort(err)
	}
	valueBytes := binary.BigEndian.Uint32(head[4:])
	if keyBytes > snapshotKeyBytesMax || valueBytes > snapshotValueBytesMax {
		return nil, nil, fmt.Errorf("%w: a record is too long", ErrSnapshot)
	}
	if r.key, err = r.fill(r.key, int(keyBytes)); err != nil {
		return nil, nil, err
	}
	if r.value, err = r.fill(r.value, int(valueBytes)); err != nil {
		return nil, nil, err
	}
	return r.key, r.value, nil
}

// recordStep is how much memory is taken for bytes that have not come yet, or as much again as has come, so that a damaged length
// costs little.
const recordStep = 1 << 20

// fill reads n bytes into buf, or a larger one in its place.
func (r *RecordReader) fill(buf []byte, n int) ([]byte, error) {
	buf = buf[:0]
	for len(buf) < n {
		have := len(buf)
		step := min(n-have, max(recordStep, have, cap(buf)-have))
		if cap(buf) < have+step {
			buf = append(make([]byte, 0, have+step), buf...)
		}
		buf = buf[:have+step]
		if _, err := io.ReadFull(r, buf[have:]); err != nil {
			return buf[:0], cutShort(err)
		}
	}
	return buf, nil
}

// cutShort makes every end of the input inside a row an unexpected one.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func putRecordHead(head, key, value []byte) {
	binary.BigEndian.PutUint32(head, uint32(len(key)))
	binary.BigEndian.PutUint32(head[4:], uint32(len(value)))
}
