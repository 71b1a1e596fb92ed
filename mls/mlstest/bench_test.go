package mlstest_test

import (
	"fmt"
	"testing"

	"parley/mls/mlstest"
)

// BenchmarkNew makes a group with all its members' keys and leaves.
func BenchmarkNew(b *testing.B) {
	for _, members := range []int{100, 10_000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			for b.Loop() {
				if _, err := mlstest.New(mlstest.Config{Suite: 1, Members: members, Parents: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCommit makes a Commit with a path, its GroupInfo, and the epoch after it.
func BenchmarkCommit(b *testing.B) {
	for _, members := range []int{100, 10_000} {
		group, err := mlstest.New(mlstest.Config{Suite: 1, Members: members, Parents: true})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			for b.Loop() {
				if _, err := group.Commit(mlstest.Plan{Path: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
