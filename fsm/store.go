package fsm

// Reader reads one shard's state as of one applied index.
type Reader interface {
	// Get returns a key's value, or nil where the key is absent. The slice is the caller's.
	Get(key []byte) ([]byte, error)

	// Scan visits the keys in [lower, upper) in ascending order until visit answers false or an error, which Scan returns.
	// The slices are valid during the visit only.
	Scan(lower, upper []byte, visit func(key, value []byte) (more bool, err error)) error
}

// Store is what Apply works on: it reads its own writes, and nothing of it is seen by others before the whole entry is in.
type Store interface {
	Reader
	Set(key, value []byte) error
	Delete(key []byte) error
	DeleteRange(lower, upper []byte) error
}
