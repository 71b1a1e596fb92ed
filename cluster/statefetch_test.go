package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"parley/fsm"
	"parley/storage"
)

// answerFrom is what a source streams to a request.
func answerFrom(t *testing.T, state fsm.Reader, applied uint64, held []heldRange) []byte {
	t.Helper()
	var answer bytes.Buffer
	s := &stateSource{ctx: t.Context(), state: state, out: newStateWriter(&answer), pace: newPace(1 << 40), total: fsm.NewSummer()}
	if err := s.send(applied, 1, held); err != nil {
		t.Fatal(err)
	}
	return answer.Bytes()
}

// fetchAll brings a machine's state into a stage, sealed.
func fetchAll(t *testing.T, source *machine, dir string) {
	t.Helper()
	view, err := source.state.View()
	if err != nil {
		t.Fatal(err)
	}
	s, err := openStage(vfs.Default, dir, source.group)
	if err != nil {
		t.Fatal(err)
	}
	f := &fetch{stage: s, progress: new(fetchProgress)}
	_, err = f.receive(bytes.NewReader(answerFrom(t, view, view.Applied(), nil)))
	if err := errors.Join(err, view.Close()); err != nil {
		t.Fatal(err)
	}
}

// stateOfPairs is a group's state of some keys, each with a value of so many bytes.
func stateOfPairs(t *testing.T, keys []int, valueBytes int, version byte) (*storage.GroupState, map[int]byte) {
	t.Helper()
	engine, err := storage.OpenState(t.TempDir(), storage.StateOptions{OnFatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	g := engine.Group(1)
	content := make(map[int]byte)
	for _, k := range keys {
		content[k] = version
	}
	putPairs(t, g, content, valueBytes, 1)
	return g, content
}

func putPairs(t *testing.T, g *storage.GroupState, content map[int]byte, valueBytes int, applied uint64) {
	t.Helper()
	batch := g.NewBatch()
	for k, version := range content {
		if err := batch.Set(pairKey(k), bytes.Repeat([]byte{version}, valueBytes)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(batch.SetApplied(applied), batch.Commit(), batch.Close()); err != nil {
		t.Fatal(err)
	}
}

func pairKey(k int) []byte { return fmt.Appendf(nil, "%08d", k) }

// A state of 40 MiB is fetched over a stream that is cut at random places, from a source whose state changes between two attempts, into
// a stage that a crash makes anew from its files. What comes over the network is little more than what is needed, and the result is the
// source's state at one index, whatever was here before.
func TestFetchGoesOnWhereItWasCut(t *testing.T) {
	const pairs, valueBytes = 5000, 8 << 10
	var keys []int
	for k := range pairs {
		keys = append(keys, k)
	}
	source, content := stateOfPairs(t, keys, valueBytes, 1)
	dir := filepath.Join(t.TempDir(), "stage")
	random := rand.New(rand.NewPCG(7, 7))
	var progress fetchProgress
	cuts := 0
	for applied := uint64(2); ; applied++ {
		content[random.IntN(pairs)] = byte(applied)
		delete(content, random.IntN(pairs))
		batch := source.NewBatch()
		if err := batch.DeleteRange(nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(batch.Commit(), batch.Close()); err != nil {
			t.Fatal(err)
		}
		putPairs(t, source, content, valueBytes, applied)
		s, err := openStage(vfs.Default, dir, 1) // as after a crash
		if err != nil {
			t.Fatal(err)
		}
		f := &fetch{stage: s, progress: &progress}
		if err := f.offer(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		view, err := source.View()
		if err != nil {
			t.Fatal(err)
		}
		answer := answerFrom(t, view, applied, f.held())
		var in io.Reader = bytes.NewReader(answer)
		if cuts < 3 {
			cuts++
			in = io.LimitReader(in, int64(9<<20+random.IntN(1<<20)))
		}
		as, err := f.receive(in)
		if err == nil {
			checkStage(t, s, as, view)
			if err := view.Close(); err != nil {
				t.Fatal(err)
			}
			break
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		if err := view.Close(); err != nil {
			t.Fatal(err)
		}
	}
	needed := uint64(len(content) * (valueBytes + 8))
	if cuts != 3 || progress.fetched.Load() > needed+needed/2 {
		t.Errorf("%d cuts; %d bytes came for a state of %d", cuts, progress.fetched.Load(), needed)
	}
	t.Logf("%d cuts; %d bytes came for a state of %d", cuts, progress.fetched.Load(), needed)
}

// What an operator is shown of a fetch that was cut once: what came, what was here already, and of which state; and nothing of one that
// has ended.
func TestFetchProgress(t *testing.T) {
	const pairs, valueBytes = 1000, 8 << 10
	var keys []int
	for k := range pairs {
		keys = append(keys, k)
	}
	source, _ := stateOfPairs(t, keys, valueBytes, 1)
	view, err := source.View()
	if err != nil {
		t.Fatal(err)
	}
	s, err := openStage(vfs.Default, t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var progress fetchProgress
	const state = pairs * (valueBytes + 8)
	for _, come := range []int64{5 << 20, 1 << 40} {
		progress.begin("n9")
		f := &fetch{stage: s, progress: &progress}
		if err := f.offer(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		answer := bytes.NewReader(answerFrom(t, view, 1, f.held()))
		if _, err := f.receive(io.LimitReader(answer, come)); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		shown := progress.status()
		if shown == nil || shown.Source != "n9" || shown.Here != shown.Reused+progress.arrived.Load() || shown.Total != 1 {
			t.Fatalf("%+v", shown)
		}
		if cut := come < state; cut != (shown.Here < state) || cut != (shown.Reused == 0) {
			t.Errorf("after at most %d bytes: %+v", come, shown)
		}
	}
	// The cut cost no more than the chunk that was under way.
	if shown := progress.status(); shown.Here != state || shown.Fetched < state || shown.Fetched > state+chunkBytes {
		t.Errorf("at the end: %+v of %d", shown, state)
	}
	if progress.end(true); progress.status() != nil {
		t.Error("a fetch that has ended is shown")
	}
	if progress.begin("n8"); progress.status().Fetched != 0 {
		t.Errorf("the next fetch begins with %+v", progress.status())
	}
	if err := view.Close(); err != nil {
		t.Error(err)
	}
}

// checkStage compares a sealed stage with the state that it was taken from.
func checkStage(t *testing.T, s *stage, as stageSeal, view *storage.View) {
	t.Helper()
	var staged, there [][]byte
	if err := s.read(as, func(key, value []byte) error {
		staged = append(staged, slices.Concat(key, value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	err := view.Scan(nil, nil, func(key, value []byte) (bool, error) {
		there = append(there, slices.Concat(key, value))
		return true, nil
	})
	if err != nil || as.applied != view.Applied() || !slices.EqualFunc(staged, there, bytes.Equal) {
		t.Fatalf("the stage has %d records at %d, the source %d at %d; %v", len(staged), as.applied, len(there), view.Applied(), err)
	}
}

// A replica that is merely behind gets what differs.
func TestFetchTakesWhatTheReplicaHas(t *testing.T) {
	const pairs, valueBytes = 2000, 4 << 10
	var keys []int
	for k := range pairs {
		keys = append(keys, k)
	}
	source, _ := stateOfPairs(t, keys, valueBytes, 1)
	behind, _ := stateOfPairs(t, keys, valueBytes, 1)
	putPairs(t, source, map[int]byte{700: 9, 5000: 9}, valueBytes, 30)
	view, err := source.View()
	if err != nil {
		t.Fatal(err)
	}
	own, err := behind.View()
	if err != nil {
		t.Fatal(err)
	}
	s, err := openStage(vfs.Default, t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var progress fetchProgress
	f := &fetch{stage: s, own: own, progress: &progress}
	if err := f.offer(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	as, err := f.receive(bytes.NewReader(answerFrom(t, view, 30, f.held())))
	if err != nil {
		t.Fatal(err)
	}
	checkStage(t, s, as, view)
	if progress.fetched.Load() > 3*ownRangeBytes {
		t.Errorf("%d bytes came for two changes", progress.fetched.Load())
	}
	if err := errors.Join(view.Close(), own.Close()); err != nil {
		t.Fatal(err)
	}
}

// A flipped byte in a chunk is noticed before its records can be used.
func TestDamagedChunkIsFetchedAgain(t *testing.T) {
	source, _ := countingMachine(t)
	source.ApplyBatch(entries(1, 50))
	dir := filepath.Join(t.TempDir(), "stage")
	fetchAll(t, source, dir)
	s, err := openStage(vfs.Default, dir, source.group)
	if err != nil {
		t.Fatal(err)
	}
	as, sealed, err := s.sealed()
	if err != nil || !sealed {
		t.Fatalf("sealed %v, %v", sealed, err)
	}
	flipByte(t, chunkPath(dir, s.chunks[0].number), 60)
	var damaged *damagedChunk
	if err := s.read(as, func(_, _ []byte) error { return nil }); !errors.As(err, &damaged) {
		t.Errorf("a flipped byte: %v", err)
	}
	fetchAll(t, source, dir) // offers nothing, and replaces what is there
	s, err = openStage(vfs.Default, dir, source.group)
	if err != nil {
		t.Fatal(err)
	}
	if as, sealed, err = s.sealed(); err != nil || !sealed {
		t.Fatalf("sealed %v, %v", sealed, err)
	}
	if err := s.read(as, func(_, _ []byte) error { return nil }); err != nil {
		t.Error(err)
	}
}

func flipByte(t *testing.T, path string, at int64) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	_, err = file.ReadAt(b[:], at)
	b[0] ^= 1
	_, err2 := file.WriteAt(b[:], at)
	if err := errors.Join(err, err2, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// A state that would fill the disk is not fetched: not begun where it cannot fit, and broken off, with all that has come, where the room
// goes to others meanwhile.
func TestFetchLeavesTheReserve(t *testing.T) {
	source, _ := stateOfPairs(t, []int{1, 2, 3, 4, 5, 6}, chunkBytes, 1)
	view, err := source.View()
	if err != nil {
		t.Fatal(err)
	}
	s, err := openStage(vfs.Default, t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	free := uint64(0)
	s.room = func(bytes uint64) error {
		if free < bytes+s.bytes() {
			return errNoRoom
		}
		return nil
	}
	receive := func(estimate uint64) error {
		f := &fetch{stage: s, progress: new(fetchProgress)}
		if err := f.offer(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		answer := answerFrom(t, view, 1, f.held())
		binary.BigEndian.PutUint64(answer[9:], estimate)
		_, err := f.receive(bytes.NewReader(answer))
		return err
	}
	free = 11 * chunkBytes
	if err := receive(6 * chunkBytes); !errors.Is(err, errNoRoom) || len(s.chunks) > 0 {
		t.Errorf("on a disk for one of it: %v, %d chunks", err, len(s.chunks))
	}
	free = 4*chunkBytes + chunkBytes/2
	if err := receive(1); !errors.Is(err, errNoRoom) || len(s.chunks) != 4 {
		t.Errorf("on a disk that is filled meanwhile: %v, %d chunks", err, len(s.chunks))
	}
	free = 1 << 40
	if err := receive(6 * chunkBytes); err != nil || s.bytes() < 6*chunkBytes {
		t.Errorf("with room again: %v, %d bytes", err, s.bytes())
	}
	if err := view.Close(); err != nil {
		t.Error(err)
	}

	m, _ := countingMachine(t)
	other, _ := countingMachine(t)
	other.ApplyBatch(entries(1, 9))
	dir := filepath.Join(t.TempDir(), "stage")
	fetchAll(t, other, dir)
	if s, err = openStage(vfs.Default, dir, m.group); err != nil {
		t.Fatal(err)
	}
	as, _, err := s.sealed()
	if err != nil {
		t.Fatal(err)
	}
	s.room = func(uint64) error { return errNoRoom }
	m.fetching.written.Store(roomStep - 1) // the next bytes are the last ones of a step
	if err := m.replaceFrom(t.Context(), s, as, 9); !errors.Is(err, errNoRoom) || m.applied.current() != 0 || m.state.Restoring() {
		t.Errorf("where the new state cannot be written: %v, at %d", err, m.applied.current())
	}
}

// TestShortRangeAroundALargeStateIsSentAtOnce: a replica that was away from the beginning holds little, around much. To compare it to its
// end the source would read for longer than it may be silent, at each attempt.
func TestShortRangeAroundALargeStateIsSentAtOnce(t *testing.T) {
	const pairs, valueBytes = 9000, 8 << 10
	var keys []int
	for k := range pairs {
		keys = append(keys, k)
	}
	source, _ := stateOfPairs(t, keys, valueBytes, 1)
	view, err := source.View()
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	counting := &countingReader{Reader: view}
	answer := &firstWrite{reader: counting}
	held := []heldRange{{nil, pairKey(pairs), [32]byte{1}}}
	s := &stateSource{ctx: t.Context(), state: counting, out: newStateWriter(answer), pace: newPace(1 << 40), total: fsm.NewSummer()}
	if err := s.send(1, 1, held); err != nil {
		t.Fatal(err)
	}
	if answer.after > rangeBytesMax+1<<20 {
		t.Errorf("%d bytes were read before anything was sent", answer.after)
	}
	stage, err := openStage(vfs.Default, filepath.Join(t.TempDir(), "stage"), 1)
	if err != nil {
		t.Fatal(err)
	}
	f := &fetch{stage: stage, progress: new(fetchProgress)}
	as, err := f.receive(&answer.Buffer)
	if err != nil {
		t.Fatal(err)
	}
	checkStage(t, stage, as, view)
}

// countingReader counts the bytes that are scanned.
type countingReader struct {
	fsm.Reader
	bytes int
}

func (r *countingReader) Scan(lower, upper []byte, visit func(key, value []byte) (bool, error)) error {
	return r.Reader.Scan(lower, upper, func(key, value []byte) (bool, error) {
		r.bytes += len(key) + len(value)
		return visit(key, value)
	})
}

// firstWrite notes how much had been read when something of the records came.
type firstWrite struct {
	bytes.Buffer
	reader *countingReader
	after  int
}

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.after == 0 && w.Len() > 64 { // more than the head
		w.after = w.reader.bytes
	}
	return w.Buffer.Write(p)
}
