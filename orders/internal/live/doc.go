// Package live streams the changes of a user's orders to the followers of that user,
// whichever replica makes the change.
//
//	tx { change orders; NOTIFY } ── commit ──► listener of each replica ──► Hub ──► streams of that user
//	                                             every 15 s: reconcile ──────┘
//
// A notification contains only the ids of the changed orders. The hub reads each order
// once for all of its streams. Changes in quick succession are delivered as one.
//
// No change is missed, because each batch carries a watermark: every change below it has
// been delivered to the stream. A client that resumes with a watermark, at any replica,
// gets what changed at or above it.
//
// A long transaction holds the watermark back, but costs a replica neither extra work nor
// extra memory. A reconciliation starts from the snapshot of the previous one, which also
// determines which transactions above the watermark had ended. It reads only the changes of
// the transactions that had not. The hub remembers only the versions delivered since the
// last snapshot, so that reconciliation does not resend them.
//
// Failures:
//
//	the listener loses its connection    it reconnects; a reconciliation reads what it missed
//	a notification is lost               the next reconciliation reads the change
//	the database is down                 streams stay open, heartbeats continue, a reconciliation follows
//	a stream does not keep up            it is closed; its client resumes with its watermark
//	the hub panics on a change           logged and retried; the replica continues
//	the replica dies                     its clients resume at another replica with their watermarks
package live
