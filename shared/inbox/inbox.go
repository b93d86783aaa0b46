// Package inbox makes at-least-once delivery have its effect exactly once: the
// id of each message is claimed in the same transaction as the message's effect,
// and an id can be claimed only once.
//
// The table belongs to the service's own migrations; inboxtest holds it to this
// contract:
//
//	<schema>.inbox (message_id uuid PRIMARY KEY, received_at timestamptz NOT NULL DEFAULT now())
package inbox

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"gozon/shared/database"
)

// Retention is how long a message id is remembered. A message that comes again
// later than this is answered by the business key of its effect.
const Retention = 7 * 24 * time.Hour

// Inbox is the inbox table of one service.
type Inbox struct{ claim, prune string }

// New is the inbox in the given schema.
func New(schema string) Inbox {
	return Inbox{
		claim: `INSERT INTO ` + schema + `.inbox (message_id)
			SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING RETURNING message_id`,
		prune: `DELETE FROM ` + schema + `.inbox WHERE message_id IN
			(SELECT message_id FROM ` + schema + `.inbox WHERE message_id < $1 ORDER BY message_id LIMIT $2 FOR UPDATE SKIP LOCKED)`,
	}
}

// Claim returns those of ids that were never claimed before; they are now, if
// the transaction tx commits. It waits for a transaction that is claiming the same
// id at this moment.
func (i Inbox) Claim(ctx context.Context, tx database.Conn, ids ...uuid.UUID) (map[uuid.UUID]bool, error) {
	// In one order everywhere, so that two claims never wait for each other.
	sorted := slices.Clone(ids)
	slices.SortFunc(sorted, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	rows, err := tx.QueryContext(ctx, i.claim, slices.Compact(sorted))
	if err != nil {
		return nil, fmt.Errorf("inbox claim: %w", err)
	}
	defer rows.Close()
	fresh := make(map[uuid.UUID]bool, len(ids))
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("inbox claim: %w", err)
		}
		fresh[id] = true
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("inbox claim: %w", err)
	}
	return fresh, nil
}

// Prune forgets the messages made before t, at most limit of them, and says how
// many there were. An id is a UUIDv7, so it says itself when it was made, and the
// primary key is all the index that this needs.
func (i Inbox) Prune(ctx context.Context, db database.Conn, t time.Time, limit int) (int64, error) {
	res, err := db.ExecContext(ctx, i.prune, firstIDAt(t), limit)
	if err != nil {
		return 0, fmt.Errorf("inbox prune: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("inbox prune: %w", err)
	}
	return n, nil
}

// firstIDAt is the smallest UUIDv7 of the millisecond of t (RFC 9562, 5.7).
func firstIDAt(t time.Time) uuid.UUID {
	var id uuid.UUID
	ms := uint64(t.UnixMilli())
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i) & 0xff)
	}
	id[6] = 0x70
	return id
}

// RunPruner forgets what is older than [Retention], now and every hour, until ctx
// is done. It works in small steps and may run in every replica.
func (i Inbox) RunPruner(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	return database.RunPruner(ctx, log, "inbox", func(ctx context.Context, limit int) (int64, error) {
		return i.Prune(ctx, db, time.Now().Add(-Retention), limit)
	})
}
