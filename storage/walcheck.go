package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble v2.1.7 takes a chunk of its write-ahead log that does not check for the torn end of the log, unless a later chunk
// promises that this place had been synced. It looks for that promise only from the next block of 32 KiB on, so one flipped
// byte in the last block dropped every synced entry behind it without a word. checkWAL looks in the same block too.
//
// A chunk of the newest format, little-endian, never across a block's end (pebble/v2/record, FormatWALSyncChunks):
//
//	struct {
//	    uint32 crc;            // CRC-32C from encoding on, rotated and offset
//	    uint16 length;
//	    uint8  encoding;       // 9 to 12
//	    uint32 log_number;     // of the file; a recycled file has old chunks of other numbers behind its end
//	    uint64 synced_offset;  // up to here the file was durable when this chunk was made
//	    opaque payload[length];
//	} WALSyncChunk;
//
// The last record of a log cannot be told from a torn one: no later chunk speaks for it. Nor can at times the one before: Pebble wakes who
// waited for its sync before it takes note of how far the file is durable, and the next chunk may be made in between.
const (
	walBlockBytes    = 32 << 10
	walHeaderBytes   = 19
	walFirstEncoding = 9
	walLastEncoding  = 12
)

// checkWAL gives ErrCorrupt if a log in dir has lost what a later chunk says was durable. Call it before Pebble opens dir.
func checkWAL(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, name := range names {
		number, isLog := walNumber(name)
		if !isLog {
			continue
		}
		path := fs.PathJoin(dir, name)
		content, err := readWhole(fs, path)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if end, promised := walExtent(content, uint32(number)); promised > end {
			return fmt.Errorf("%s: %w: unreadable at %d, but it was durable up to %d", path, ErrCorrupt, end, promised)
		}
	}
	return nil
}

// walNumber reads the number out of a log's name, such as 000004.log.
func walNumber(name string) (number uint64, isLog bool) {
	digits, isLog := strings.CutSuffix(name, ".log")
	digits, _, _ = strings.Cut(digits, "-")
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, isLog && err == nil
}

func readWhole(fs vfs.FS, path string) (content []byte, err error) {
	file, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return io.ReadAll(file)
}

// walExtent gives where the first chunk stands that does not read, and the furthest place that any chunk behind it promises
// was durable. Behind the first damage the chunks' beginnings are unknown, so every offset is tried.
func walExtent(content []byte, number uint32) (end, promised uint64) {
	damaged := false
	for start := 0; start < len(content); start += walBlockBytes {
		block := content[start:min(start+walBlockBytes, len(content))]
		for at := 0; at+walHeaderBytes <= len(block); {
			size, synced := walChunk(block[at:], number)
			switch {
			case size > 0 && !damaged:
				at += size
			case size > 0:
				promised = max(promised, synced)
				at += size
			case !damaged:
				damaged, end = true, uint64(start+at)
			default:
				at++
			}
		}
	}
	if !damaged {
		end = uint64(len(content))
	}
	return end, promised
}

// walChunk gives the size of the chunk at the beginning of block, 0 if there is none that checks.
func walChunk(block []byte, number uint32) (size int, synced uint64) {
	if len(block) < walHeaderBytes || block[6] < walFirstEncoding || block[6] > walLastEncoding ||
		binary.LittleEndian.Uint32(block[7:]) != number {
		return 0, 0
	}
	size = walHeaderBytes + int(binary.LittleEndian.Uint16(block[4:]))
	if size > len(block) {
		return 0, 0
	}
	sum := crc32.Checksum(block[6:size], castagnoli)
	if binary.LittleEndian.Uint32(block) != (sum>>15|sum<<17)+0xa282ead8 {
		return 0, 0
	}
	return size, binary.LittleEndian.Uint64(block[11:])
}
