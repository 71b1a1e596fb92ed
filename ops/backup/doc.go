// Package backup writes the state of a cluster into a store, reads it back, and checks it without a cluster. It knows neither what
// the records mean nor where they come from: a Source hands them out and a Target takes them, by slot.
//
// A store has:
//
//	chunks/<2 digits>/<SHA-256>       a run of records, compressed; named by what is in it, and shared by all backups
//	backups/<ID>/<part>-<SHA-256>     what a shard had at one index, as a list of chunks; likewise the meta group
//	backups/<ID>/manifest             written last: which parts make the backup. Without it there is none
//
// Whatever is read is held against its name first. So a backup that was cut off goes on where it was, a second one into the same store
// writes only what has changed, and nothing that is damaged is taken for whole.
package backup
