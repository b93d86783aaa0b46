// Package live tells followers of a user's orders of every change, whichever replica
// makes it.
//
//	tx { change orders; NOTIFY } ── commit ──► each replica's listener ──► Hub ──► the streams of that user
//	                                             every 15 s: reconcile ──────┘
//
// A notification only says which orders changed; the hub reads them, once for all of
// its streams. Changes that follow each other faster than that are told as one.
//
// Nothing is missed, by one rule: whatever a stream is told carries a watermark, below
// which every change has been told to it. A client that comes back with it, to whichever
// replica, is told what changed at or above it.
//
// A transaction that stays open for long holds the watermark back, but neither the work
// nor the memory of a replica grows with it: a reconciliation starts from the snapshot of
// the previous one, which says of each transaction above the watermark whether it had
// ended. It reads what changed since then, and what was changed by the transactions that
// were open at that time. Only what was delivered since then has to be remembered.
//
// What a failure does:
//
//	the listener's connection is lost    a new one; then a reconciliation reads what was not heard
//	a notification was not heard at all  the next reconciliation reads what it was about
//	the database is down                 streams stay, heartbeats go on, a reconciliation follows
//	a stream does not keep up            it is cut off; its client comes back with its watermark
//	a change or a notification panics    logged, and retried; the replica goes on
//	the replica dies                     the same as for a stream that does not keep up
package live
