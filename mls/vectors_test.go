package mls

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// hexBytes is a hex string of a vector file.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if s == nil {
		*h = nil
		return nil
	}
	decoded, err := hex.DecodeString(*s)
	*h = decoded
	return err
}

// dataDir finds a directory of test data beside the repository, or where an environment variable points.
func dataDir(t testing.TB, name, variable string) string {
	t.Helper()
	dir := os.Getenv(variable)
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", name)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no %s: %s is not there; set %s to run this test", name, dir, variable)
	}
	return dir
}

// vectorCounts is how many vectors each file of the working group has; one with fewer is cut short. key-schedule.json is of
// secrets alone, so nothing here uses it.
var vectorCounts = map[string]int{
	"crypto-basics.json": 7, "deserialization.json": 14, "message-protection.json": 7, "messages.json": 300,
	"passive-client-handling-commit.json": 91, "passive-client-random.json": 1, "passive-client-welcome.json": 56,
	"transcript-hashes.json": 7, "tree-math.json": 10, "tree-operations.json": 5, "tree-validation.json": 98, "treekem.json": 77,
	"welcome.json": 7,
}

// loadVectors reads one file of the MLS working group's test vectors.
func loadVectors[T any](t testing.TB, file string) []T {
	t.Helper()
	vectors := loadJSON[[]T](t, filepath.Join(dataDir(t, "mls-vectors", "PARLEY_MLS_VECTORS"), file))
	if t.Logf("%s: %d vectors", file, len(vectors)); len(vectors) != vectorCounts[file] {
		t.Errorf("%s has %d vectors, want %d", file, len(vectors), vectorCounts[file])
	}
	return vectors
}

func loadJSON[T any](t testing.TB, path string) T {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// must fails the test on an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
