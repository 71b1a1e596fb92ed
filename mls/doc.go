// Package mls is RFC 9420 as a hub needs it: the wire types, with what draft-ietf-mls-extensions adds to them, the crypto that
// works without a group's secrets, and PublicGroup, an epoch of a group as an outsider sees it.
//
// It is pure: no I/O, no clock (times are parameters, in seconds since 1970), no goroutine and no randomness of its own (entropy
// is a parameter). It imports nothing of this module.
//
// # Wire types
//
// Each type T has ReadT, for standing in another structure, and most have ParseT, for a whole input, which refuses trailing
// bytes; AppendTo and Marshal write it. There is one encoding of each value, so what was parsed is written again byte for
// byte, and hashes and signatures are computed over the re-encoding. What is parsed aliases its input. A closed choice (Body,
// Content, Proposal, Sender, Credential, ProposalOrRef) is an interface with a type for each case; its zero value, nil, cannot
// be written.
//
// # Refusals
//
// Input that cannot be read is a *MalformedError, with the field's path. What can be read and breaks a rule is an
// *InvalidError, with the rule's section; beside it stand *WrongEpochError and *UnknownProposalsError, which a caller answers
// in ways of their own.
//
// # What is not checked
//
// The values of membership and confirmation tags, path secrets, PSKs, kem_output and the contents of ciphertexts need the
// group's secrets. Whether an X.509 chain is to be trusted, who may join or remove whom, and whether two leaves are of one
// client, other than by their signature keys, is the application's policy.
package mls
