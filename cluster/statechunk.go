package cluster

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"parley/fsm"
	"parley/mls"
	"parley/storage"
)

// A chunk is a run of a group's records in a file of its own: everything that a state at one applied index had between two keys.
//
//	struct {
//	    opaque magic[8] = "parleyC1";
//	    SnapshotRecord records[...]; // as in fsm's Snapshot, in ascending order
//	    uint32 end = 0;
//	    ChunkFoot foot;
//	    uint32 foot_length;
//	    uint32 foot_crc;             // CRC-32C of foot and foot_length
//	} ChunkFile;
//
//	struct {
//	    uint32 group;
//	    uint64 applied;    // of the state that it was taken from
//	    opaque after<V>;   // the records are those with after < key ≤ through; empty: from the beginning
//	    opaque through<V>;
//	    uint64 count;
//	    uint64 bytes;      // of keys and values
//	    opaque digest[32]; // of the records, as of fsm.Digest
//	} ChunkFoot;
const (
	chunkMagic     = "parleyC1"
	chunkSuffix    = ".chunk"
	chunkTailBytes = 8
	footBytesMax   = 64 << 10
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errDamagedChunk = errors.New("a chunk of a fetched state is damaged")
)

// chunk is what the foot of a chunk's file says.
type chunk struct {
	number         uint64 // in the file's name; of two that overlap, the greater one is newer
	group          uint32
	applied        uint64
	after, through []byte
	sum            fsm.Sum
}

func chunkPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x", number)+chunkSuffix)
}

// chunkNumber reads what chunkPath wrote.
func chunkNumber(name string) (number uint64, ok bool) {
	digits, is := strings.CutSuffix(name, chunkSuffix)
	if !is || len(digits) != 16 {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 16, 64)
	return number, err == nil
}

func (c *chunk) encodeFoot() []byte {
	var w mls.Writer
	w.Uint32(c.group)
	w.Uint64(c.applied)
	w.Opaque(c.after)
	w.Opaque(c.through)
	w.Uint64(c.sum.Count)
	w.Uint64(c.sum.Bytes)
	w.Fixed(c.sum.Digest[:])
	foot := binary.BigEndian.AppendUint32(w.Bytes(), uint32(len(w.Bytes())))
	return binary.BigEndian.AppendUint32(foot, crc32.Checksum(foot, castagnoli))
}

// readFoot finds out what a chunk's file holds, without reading the records.
func readFoot(fs vfs.FS, dir string, number uint64) (_ *chunk, err error) {
	file, err := fs.Open(chunkPath(dir, number))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	var tail [chunkTailBytes]byte
	if size < chunkTailBytes {
		return nil, fmt.Errorf("%w: it is too short", errDamagedChunk)
	}
	if _, err := file.ReadAt(tail[:], size-chunkTailBytes); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	length := int64(binary.BigEndian.Uint32(tail[:]))
	if length > footBytesMax || length > size-chunkTailBytes {
		return nil, fmt.Errorf("%w: a foot of %d bytes", errDamagedChunk, length)
	}
	foot := make([]byte, length+4)
	if _, err := file.ReadAt(foot, size-chunkTailBytes-length); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if crc32.Checksum(foot, castagnoli) != binary.BigEndian.Uint32(tail[4:]) {
		return nil, fmt.Errorf("%w: its foot does not match its checksum", errDamagedChunk)
	}
	return decodeFoot(foot[:length], number)
}

func decodeFoot(raw []byte, number uint64) (*chunk, error) {
	r := mls.NewReader("ChunkFoot", raw)
	c := &chunk{
		number: number, group: r.Uint32("group"), applied: r.Uint64("applied"),
		after: r.Opaque("after"), through: r.Opaque("through"),
		sum: fsm.Sum{Count: r.Uint64("count"), Bytes: r.Uint64("bytes")},
	}
	copy(c.sum.Digest[:], r.Fixed("digest", len(c.sum.Digest)))
	if bytes.Compare(c.after, c.through) >= 0 {
		r.Fail("through", "is not behind after")
	}
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamagedChunk, err)
	}
	return c, nil
}

// read hands the records to visit, whose slices are valid during the visit only. errDamagedChunk where they are not what was
// written; by then some of them were handed out.
func (c *chunk) read(fs vfs.FS, dir string, visit func(key, value []byte) error) (err error) {
	file, err := fs.Open(chunkPath(dir, c.number), vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	in := fsm.NewRecordReader(file, stateBuffer)
	var magic [len(chunkMagic)]byte
	if _, err := io.ReadFull(in, magic[:]); err != nil || string(magic[:]) != chunkMagic {
		return errors.Join(fmt.Errorf("%w: it does not begin as one", errDamagedChunk), err)
	}
	sum := fsm.NewSummer()
	for {
		key, value, err := in.Next()
		switch {
		case errors.Is(err, fsm.ErrSnapshot), errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("%w: %w", errDamagedChunk, err)
		case err != nil:
			return err
		case key == nil && sum.Sum() != c.sum:
			return fmt.Errorf("%w: its records do not match its digest", errDamagedChunk)
		case key == nil:
			return nil
		}
		sum.Add(key, value)
		if err := visit(key, value); err != nil {
			return err
		}
	}
}

// chunkWriter writes one chunk's file under a name that counts for nothing until finish. It belongs to one goroutine.
type chunkWriter struct {
	fs     vfs.FS
	dir    string
	chunk  chunk
	file   vfs.File
	out    *bufio.Writer
	summer *fsm.Summer
}

const unfinishedSuffix = ".part"

func newChunkWriter(fs vfs.FS, dir string, c chunk) (*chunkWriter, error) {
	file, err := fs.Create(chunkPath(dir, c.number)+unfinishedSuffix, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	w := &chunkWriter{fs: fs, dir: dir, chunk: c, file: file, out: bufio.NewWriterSize(file, stateBuffer), summer: fsm.NewSummer()}
	_, err = w.out.WriteString(chunkMagic)
	return w, err
}

func (w *chunkWriter) add(key, value []byte) error {
	w.summer.Add(key, value)
	w.chunk.sum.Bytes += uint64(len(key) + len(value))
	w.chunk.through = append(w.chunk.through[:0], key...)
	return fsm.WriteRecord(w.out, key, value)
}

// finish makes the chunk durable under its name.
func (w *chunkWriter) finish() (*chunk, error) {
	w.chunk.sum = w.summer.Sum()
	err := fsm.WriteRecordsEnd(w.out)
	if err == nil {
		_, err = w.out.Write(w.chunk.encodeFoot())
	}
	if err == nil {
		err = w.out.Flush()
	}
	if err == nil {
		err = w.file.Sync()
	}
	path := chunkPath(w.dir, w.chunk.number)
	if err = errors.Join(err, w.file.Close()); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	if err := w.fs.Rename(path+unfinishedSuffix, path); err != nil {
		return nil, err
	}
	return &w.chunk, storage.SyncDir(w.fs, w.dir)
}
