package cluster

// turns lets keys take turns by what they take: one that has taken more than its turn gives it waits until it is no longer in debt. A key
// that leaves and comes back begins anew. The zero value is ready. Not safe for concurrent use.
type turns[K comparable, V any] struct {
	waiting map[K]*turn[K, V]
	order   []*turn[K, V] // the first has its turn; removed ones are skipped when they come up
}

type turn[K comparable, V any] struct {
	key     K
	value   V
	credit  int // what is left of its turn; in debt where it is not above 0
	removed bool
}

func (t *turns[K, V]) get(key K) (value V, waits bool) {
	if w, waits := t.waiting[key]; waits {
		return w.value, true
	}
	return value, false
}

// add puts a key at the end. It must not wait already.
func (t *turns[K, V]) add(key K, value V) {
	if t.waiting == nil {
		t.waiting = make(map[K]*turn[K, V])
	}
	w := &turn[K, V]{key: key, value: value}
	t.waiting[key] = w
	t.order = append(t.order, w)
}

func (t *turns[K, V]) remove(key K) {
	if w, waits := t.waiting[key]; waits {
		w.removed = true
		delete(t.waiting, key)
	}
	if len(t.waiting) == 0 {
		t.order = nil
	}
}

// turn is whose turn it is, and the credit from which what it takes is to be subtracted. Some key must wait. Each time that a key comes up
// it gets so much.
func (t *turns[K, V]) turn(quantum int) (key K, value V, credit *int) {
	for {
		w := t.order[0]
		switch {
		case w.removed:
			t.order = t.order[1:]
			continue
		case w.credit > 0:
			return w.key, w.value, &w.credit
		}
		if w.credit += quantum; w.credit > 0 && len(t.waiting) == 1 {
			return w.key, w.value, &w.credit
		}
		t.order = append(t.order[1:], w)
	}
}
