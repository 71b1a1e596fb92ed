// Package mlstest simulates MLS groups (RFC 9420) for load and for tests, at the speed of a hub rather than of clients.
//
// A simulated client holds its signature key and nothing else. Everything that a hub can check is right: signatures, transcript
// and tree hashes, parent hashes, the number of ciphertexts, GroupInfos and whom a Welcome is for. What needs the group's secrets is
// made up: confirmation and membership tags, encrypted path secrets, kem_output, and HPKE keys, whose private halves nobody has. So
// a hub must accept what a Group makes, and no client could read it.
//
// A Group keeps a tree, a GroupContext and a transcript of its own, made by code of its own from the RFC; of package mls it uses
// the wire types, the signatures and the hash function. A group that mls follows through the same Commits is therefore compared
// with a second opinion, and its figures do not contain the simulator's mistakes.
//
//	group, err := mlstest.New(mlstest.Config{Suite: 1, Seed: 1, Members: 1000, Parents: true})
//	hub, err := group.Public()                                            // what a hub takes up
//	step, err := group.Commit(mlstest.Plan{Committer: 7, Path: true})     // or any other, by Legal
//	staged, err := step.Check(hub, group.Input())                         // what a hub does with it
//	group, hub = step.After, staged.After
//
// A Plan may be illegal: a Group does as it is told, and makes everything right again that hangs on what a Plan, or a Config's
// Spoil, has changed. So one rule can be broken at a time.
//
// Everything comes from the Config's seed, so a run can be repeated. A Group and all that are made from it share one source of
// entropy, and must not be used concurrently; a Fork has its own. Suites 1 to 7; up to some tens of thousands of members.
package mlstest
