package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"parley/fsm"
	"parley/mls"
	"parley/storage"
)

// stage is a directory with the chunks of a state that is being fetched. It may be half of one, from several sources and
// indexes: what it is worth is found out by asking a source. Once the chunks are a whole state at one index, a seal says so. It
// belongs to one goroutine.
type stage struct {
	fs     vfs.FS
	dir    string
	group  uint32
	next   uint64   // number of the next chunk
	chunks []*chunk // in ascending order, no two overlap

	// room refuses what would leave less than the reserve on the disk, after so many bytes more; nil: nobody watches it.
	room func(bytes uint64) error
}

// hasRoom is room, where somebody watches the disk.
func (s *stage) hasRoom(bytes uint64) error {
	if s.room == nil {
		return nil
	}
	return s.room(bytes)
}

// bytes are those of the records that are here.
func (s *stage) bytes() (sum uint64) {
	for _, c := range s.chunks {
		sum += c.sum.Bytes
	}
	return sum
}

// openStage finds what is in the directory, which it makes where it is missing. What does not read back as it was written is
// removed.
func openStage(fs vfs.FS, dir string, group uint32) (*stage, error) {
	s := &stage{fs: fs, dir: dir, group: group, next: 1}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := storage.SyncDir(fs, fs.PathDir(dir)); err != nil {
		return nil, err
	}
	names, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := s.find(name); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
	}
	return s, s.untangle()
}

func (s *stage) find(name string) error {
	number, is := chunkNumber(name)
	switch {
	case name == sealName:
		return nil
	case !is:
		return s.fs.Remove(filepath.Join(s.dir, name))
	}
	s.next = max(s.next, number+1)
	found, err := readFoot(s.fs, s.dir, number)
	if errors.Is(err, errDamagedChunk) || err == nil && found.group != s.group {
		return s.fs.Remove(filepath.Join(s.dir, name))
	}
	if err == nil {
		s.chunks = append(s.chunks, found)
	}
	return err
}

// untangle puts the chunks in order. Where two overlap, a crash has kept one that was to be removed: the older.
func (s *stage) untangle() error {
	found := s.chunks
	slices.SortFunc(found, func(a, b *chunk) int { return bytes.Compare(a.after, b.after) })
	s.chunks = nil
	for _, c := range found {
		for n := len(s.chunks); c != nil && n > 0 && bytes.Compare(s.chunks[n-1].through, c.after) > 0; n = len(s.chunks) {
			older := c
			if last := s.chunks[n-1]; last.number < c.number {
				older, s.chunks = last, s.chunks[:n-1]
			} else {
				c = nil
			}
			if err := s.fs.Remove(chunkPath(s.dir, older.number)); err != nil {
				return err
			}
		}
		if c != nil {
			s.chunks = append(s.chunks, c)
		}
	}
	return nil
}

// newest is the highest index that a chunk is of, 0 where there is none.
func (s *stage) newest() (applied uint64) {
	for _, c := range s.chunks {
		applied = max(applied, c.applied)
	}
	return applied
}

// begin starts a chunk of the records behind a key, as of an index.
func (s *stage) begin(after []byte, applied uint64) (*chunkWriter, error) {
	if err := s.hasRoom(chunkBytes); err != nil {
		return nil, err
	}
	number := s.next
	s.next++
	return newChunkWriter(s.fs, s.dir, chunk{number: number, group: s.group, applied: applied, after: bytes.Clone(after)})
}

// add takes a chunk that is finished and overlaps no other.
func (s *stage) add(c *chunk) {
	at, _ := slices.BinarySearchFunc(s.chunks, c, func(a, b *chunk) int { return bytes.Compare(a.after, b.after) })
	s.chunks = slices.Insert(s.chunks, at, c)
}

// has reports whether a chunk is in the stage.
func (s *stage) has(c *chunk) bool { return slices.Contains(s.chunks, c) }

// overlapping are the chunks that cover a part of what another covers.
func (s *stage) overlapping(with *chunk) (all []*chunk) {
	for _, c := range s.chunks {
		if bytes.Compare(c.after, with.through) < 0 && bytes.Compare(with.after, c.through) < 0 {
			all = append(all, c)
		}
	}
	return all
}

// drop removes a chunk.
func (s *stage) drop(c *chunk) error {
	if i := slices.Index(s.chunks, c); i >= 0 {
		s.chunks = slices.Delete(s.chunks, i, i+1)
	}
	return s.fs.Remove(chunkPath(s.dir, c.number))
}

// remove drops the stage with all that is in it.
func (s *stage) remove() error { return s.fs.RemoveAll(s.dir) }

// stageSeal says that the chunks of a stage, one after the other, are a state.
//
//	struct {
//	    uint8 version = 1;
//	    uint32 group;
//	    uint64 applied;
//	    uint64 count;      // of the records
//	    uint64 bytes;
//	    opaque digest[32]; // of all, as of fsm.Digest
//	    uint32 crc;        // CRC-32C of what stands before
//	} Seal;
type stageSeal struct {
	applied uint64
	sum     fsm.Sum
}

const (
	sealName    = "complete"
	sealVersion = 1
)

// close seals the stage, durably. First the removals are: a chunk that came back would not belong to the state.
func (s *stage) close(as stageSeal) (err error) {
	if err := storage.SyncDir(s.fs, s.dir); err != nil {
		return err
	}
	var w mls.Writer
	w.Uint8(sealVersion)
	w.Uint32(s.group)
	w.Uint64(as.applied)
	w.Uint64(as.sum.Count)
	w.Uint64(as.sum.Bytes)
	w.Fixed(as.sum.Digest[:])
	raw := binary.BigEndian.AppendUint32(w.Bytes(), crc32.Checksum(w.Bytes(), castagnoli))
	path := filepath.Join(s.dir, sealName)
	file, err := s.fs.Create(path+unfinishedSuffix, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write(raw)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := s.fs.Rename(path+unfinishedSuffix, path); err != nil {
		return err
	}
	return storage.SyncDir(s.fs, s.dir)
}

// reopen takes the seal away, durably: the chunks are going to change.
func (s *stage) reopen() error {
	err := s.fs.Remove(filepath.Join(s.dir, sealName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, storage.SyncDir(s.fs, s.dir))
}

// sealed reads the seal; false where there is none that counts.
func (s *stage) sealed() (found stageSeal, ok bool, err error) {
	file, err := s.fs.Open(filepath.Join(s.dir, sealName))
	if errors.Is(err, fs.ErrNotExist) {
		return stageSeal{}, false, nil
	}
	if err != nil {
		return stageSeal{}, false, err
	}
	raw := make([]byte, 1+4+3*8+32+4+1) // one byte more than a seal has
	n, err := file.ReadAt(raw, 0)
	closed := file.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return stageSeal{}, false, errors.Join(err, closed)
	}
	if n != len(raw)-1 {
		return stageSeal{}, false, closed
	}
	raw = raw[:n]
	r := mls.NewReader("Seal", raw[:n-4])
	version, group := r.Uint8("version"), r.Uint32("group")
	found.applied = r.Uint64("applied")
	found.sum = fsm.Sum{Count: r.Uint64("count"), Bytes: r.Uint64("bytes")}
	copy(found.sum.Digest[:], r.Fixed("digest", len(found.sum.Digest)))
	intact := crc32.Checksum(raw[:n-4], castagnoli) == binary.BigEndian.Uint32(raw[n-4:])
	return found, intact && r.Close() == nil && version == sealVersion && group == s.group, closed
}

// damagedChunk says which chunk has to be fetched again.
type damagedChunk struct {
	chunk *chunk
	err   error
}

func (d *damagedChunk) Error() string { return fmt.Sprintf("chunk %d: %v", d.chunk.number, d.err) }
func (d *damagedChunk) Unwrap() error { return d.err }

// errNotTheWhole: the chunks are sound and yet not the state that the seal names.
var errNotTheWhole = errors.New("the fetched chunks are not the whole of the state")

// read hands out the sealed state's records in order. nil means that they were the whole state as it was at its source; a
// chunk that cannot be read is a *damagedChunk.
func (s *stage) read(as stageSeal, visit func(key, value []byte) error) error {
	total := fsm.NewSummer()
	for _, c := range s.chunks {
		err := c.read(s.fs, s.dir, func(key, value []byte) error {
			total.Add(key, value)
			return visit(key, value)
		})
		if errors.Is(err, errDamagedChunk) || errors.Is(err, fs.ErrNotExist) {
			return &damagedChunk{c, err}
		}
		if err != nil {
			return err
		}
	}
	if sum := total.Sum(); sum != as.sum {
		return fmt.Errorf("%w: %d records with digest %x, not %d with %x", errNotTheWhole, sum.Count, sum.Digest, as.sum.Count, as.sum.Digest)
	}
	return nil
}
