// Package interop lets populations of real MLS clients live through random histories of a group, with a public group of
// package mls as their hub. A population is a program in the language of its MLS library, which does as it is told over a pipe
// (README.md has the frames); here is decided, from a seed, what its clients do, and each epoch is compared: the hub with every
// member, byte for byte, and the members with each other.
package interop
