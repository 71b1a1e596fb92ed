package mls

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

const (
	// compressionRatioMax bounds what a compressed tree may unfold into, so that a small input cannot ask for much memory.
	compressionRatioMax = 32
	// compressedSlackBytes is allowed beyond that, for small trees.
	compressedSlackBytes = 16 << 10
)

// Compressed is Marshal's encoding as one zstd frame that states its size (docs/extensions.md). The same tree may give other
// bytes under another version of the compressor, so they are never hashed.
func (t *RatchetTree) Compressed() ([]byte, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(true))
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	return encoder.EncodeAll(t.Marshal(), nil), encoder.Close()
}

// ParseCompressedTree reads what Compressed writes. A frame that does not state its size, or states one that is more than 32
// times its own and 16 KiB, is refused before anything is allocated for it. The error is a *MalformedError.
func ParseCompressedTree(b []byte) (*RatchetTree, error) {
	malformed := func(format string, args ...any) error {
		return &MalformedError{Field: "compressed ratchet_tree", Reason: fmt.Sprintf(format, args...)}
	}
	limit := uint64(compressionRatioMax*len(b) + compressedSlackBytes)
	var header zstd.Header
	switch err := header.Decode(b); {
	case err != nil || header.Skippable:
		return nil, malformed("it is not a zstd frame")
	case !header.HasFCS:
		return nil, malformed("the frame does not state its size")
	case header.FrameContentSize > limit || header.WindowSize > limit:
		return nil, malformed("the frame states %d bytes, more than the %d that its own size allows", header.FrameContentSize, limit)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(limit))
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	defer decoder.Close()
	tree, err := decoder.DecodeAll(b, make([]byte, 0, header.FrameContentSize))
	if err != nil || uint64(len(tree)) != header.FrameContentSize {
		return nil, malformed("the frame is damaged")
	}
	return ParseRatchetTree(tree)
}
