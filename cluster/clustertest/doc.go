// Package clustertest runs a whole cluster inside a testing/synctest bubble: real nodes, Rafts, stores and TLS on disks, a network
// and clocks that a seeded plan spoils. Clients write down what they asked for and were told; afterwards the history, every entry
// that any replica applied, the replicas' digests and what the destinations received are held against the five promises.
//
// A seed fixes the plan and what the clients want. It does not fix how goroutines interleave, so a run that failed may have to be
// repeated a few times.
package clustertest
