package storage

import (
	"fmt"
	"sync/atomic"
	"time"
)

// failStop remembers an engine's first failure and tells the owner of it, once. After that the engine refuses all use: an
// fsync that failed once may succeed the next time without having written anything, so no later success means a thing.
// Safe for concurrent use.
type failStop struct {
	cause   atomic.Pointer[error]
	onFatal func(error)
}

// fail records the cause, if it is the first, and calls onFatal in the caller's goroutine.
func (s *failStop) fail(cause error) {
	if s.cause.CompareAndSwap(nil, &cause) {
		s.onFatal(cause)
	}
}

// check answers ErrFailed, wrapping the first cause, once the engine has failed.
func (s *failStop) check() error {
	if cause := s.cause.Load(); cause != nil {
		return fmt.Errorf("%w: %w", ErrFailed, *cause)
	}
	return nil
}

// do runs one write. An error, a panic or more time than the limit is the engine's failure, and even a write that ends well
// is refused when the engine failed meanwhile. A limit of zero means none.
//
// Pebble panics when its write-ahead log cannot be written; the panic becomes a failure here so that the owner can end the
// process in good order.
func (s *failStop) do(operation string, limit time.Duration, write func() error) error {
	if err := s.check(); err != nil {
		return err
	}
	if limit > 0 {
		timer := time.AfterFunc(limit, func() {
			s.fail(fmt.Errorf("%s: %w of %v", operation, ErrSlowWrite, limit))
		})
		defer timer.Stop()
	}
	if err := recovered(write); err != nil {
		s.fail(wrap(operation, err))
	}
	return s.check()
}

// recovered runs call and gives a panic back as an error.
func recovered(call func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			if known, ok := cause.(error); ok {
				err = fmt.Errorf("panic: %w", known)
			} else {
				err = fmt.Errorf("panic: %v", cause)
			}
		}
	}()
	return call()
}
