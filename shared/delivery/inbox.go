package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"gozon/shared/delivery/database"
)

// InboxRetention is how long the inbox keeps a message id. A message that is redelivered
// later is recognized by the state of its order or payment.
const InboxRetention = 7 * 24 * time.Hour

// inbox holds the statements of the inbox table.
type inbox struct{ claim, prune string }

func newInbox(schema string) inbox {
	table := schema + ".inbox"
	return inbox{
		claim: `INSERT INTO ` + table + ` (message_id)
			SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING RETURNING message_id`,
		prune: `DELETE FROM ` + table + ` WHERE message_id IN
			(SELECT message_id FROM ` + table + ` WHERE message_id < $1 ORDER BY message_id LIMIT $2 FOR UPDATE SKIP LOCKED)`,
	}
}

// Claim returns the query that claims ids, and the set that it fills with those that no
// committed transaction has claimed before. The claim takes effect when this transaction
// commits. If another transaction is claiming one of the ids, the query waits for its end, up
// to the lock timeout (see [database.DB.InTx]).
func (t *Tx) Claim(ids ...uuid.UUID) (fresh map[uuid.UUID]bool, claim database.Selection) {
	// Every claim locks ids in the same order, so that two of them never deadlock.
	sorted := slices.Clone(ids)
	slices.SortFunc(sorted, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	fresh = make(map[uuid.UUID]bool, len(ids))
	var id uuid.UUID
	return fresh, database.Select("inbox claim", []any{&id}, func() { fresh[id] = true },
		t.store.inbox.claim, slices.Compact(sorted))
}

// PruneInbox deletes at most limit ids of messages created before t and returns the number
// of deleted ids. A message id is a UUIDv7, which contains its creation time, so the primary
// key is the only index that this needs.
func (s *Store) PruneInbox(ctx context.Context, t time.Time, limit int) (int64, error) {
	return prune(ctx, s.DB, s.inbox.prune, FirstIDAt(t), limit)
}

// FirstIDAt returns the smallest UUIDv7 of the millisecond of t (RFC 9562, section 5.7).
func FirstIDAt(t time.Time) uuid.UUID {
	var id uuid.UUID
	ms := uint64(t.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i) & 0xff)
	}
	id[6] = 0x70
	return id
}
