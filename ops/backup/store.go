package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Store keeps objects under names of the form "a/b/c". Every method may be called by many goroutines.
type Store interface {
	// Put keeps an object, durably and all of it or none. What stands under the name is replaced.
	Put(ctx context.Context, name string, content []byte) error
	// Get returns an object, ErrMissing where there is none. More than max bytes are an error, and are not read.
	Get(ctx context.Context, name string, max int64) ([]byte, error)
	// Size is how many bytes an object has, ErrMissing where there is none.
	Size(ctx context.Context, name string) (int64, error)
	// List visits the names that begin with a prefix, which ends with a slash or is empty, in ascending order.
	List(ctx context.Context, prefix string, visit func(name string, bytes int64) error) error
	// Remove forgets an object. One that is not there is no error.
	Remove(ctx context.Context, name string) error
}

// ErrMissing: the store has no object of that name.
var ErrMissing = errors.New("the store does not have it")

// errTooLong: an object is longer than any that this package writes under its name.
var errTooLong = errors.New("it is longer than it can be")

// checkName refuses what would lead out of the store, or could not be written everywhere.
func checkName(name string) error {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
			return fmt.Errorf("%q names no object", name)
		}
	}
	return nil
}
