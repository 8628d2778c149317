// Package store keeps Lacre's records in etcd: an etcd embedded in the process, or an
// external cluster, with the same keys and the same guarantees.
//
// A Store is safe for concurrent use. Reads are linearizable, every change is one etcd
// transaction that includes its audit row, and a change that was acknowledged is on disk.
// Every call ends when its context does, and after ten seconds if the context has no
// deadline.
//
// # Damage
//
// Every value carries a checksum over itself and its key. A value that fails it costs its
// own record: reads of it return *lacre.UnreadableError, lists leave it out and log it,
// AllDomains and Watch report it. Nothing overwrites it unasked.
//
// A data directory that once held data and lacks files, or that etcd cannot read, is an
// error at the start. An empty store never takes its place.
//
// # Space
//
// Three things stop writes, and none of them stops reads at once:
//
//   - Less free disk space than the reserve (256 MiB): writes are refused with
//     lacre.ErrUnavailable, reads go on, and writing works again as soon as there is space.
//   - The quota of the database (8 GiB unless EmbeddedConfig says otherwise): likewise, and
//     not even deleting is possible, since that is audited. The next start drops history,
//     shrinks the file and takes writes again if there is room under the quota it is given.
//   - A disk that is full all the same, or fails: etcd cannot go on after a write to its log
//     has failed. The store ends: every call returns lacre.ErrUnavailable with the reason,
//     Done is closed, and Err tells why. A process should then exit with 1, or serve what
//     it knows; it must be started again to write. Nothing acknowledged is lost.
//
// History is kept for 10,000 revisions and compacted every five minutes (embedded; a
// cluster's operator decides for a cluster). Audit rows stay until PruneAudits;
// PackAudits makes few keys of those of days that are over: etcd keeps every key in memory.
//
// # Clocks
//
// Nothing but the times in records depends on the clock. Revocations end by etcd's leases,
// which run on the monotonic clock and start anew when the engine does: a restart can make
// a revocation longer, never shorter.
//
// # External clusters
//
// etcd 3.5.8 or later is needed: earlier ones could report progress of a watch before the
// events themselves. A user with read and write access to the prefix "/lacre/" is enough.
package store
