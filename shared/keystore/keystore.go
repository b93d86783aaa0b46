// Package keystore keeps idempotency keys and the results under them in a table of the
// service's own schema; see package idempotency for what they mean.
//
// The table belongs to the service's own migrations; keystoretest holds it to this
// contract:
//
//	<schema>.idempotency_keys (user_id bigint, operation text, key text, fingerprint bytea, result json,
//		created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (user_id, operation, key))
//
// A BRIN index on created_at serves the pruner: rows lie about in the order of their time,
// so it finds the old ones, and it is all but free to keep.
package keystore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"log/slog"
	"time"

	"gozon/shared/database"
	"gozon/shared/idempotency"
)

// Retention is how long a key is kept at least.
const Retention = 24 * time.Hour

// Table is the table of one service.
type Table struct{ schema, find, keep, prune string }

// New is the table in the given schema.
func New(schema string) Table {
	table := schema + ".idempotency_keys"
	return Table{
		schema: schema,
		find: `SELECT user_id, operation, key, fingerprint, result FROM ` + table + `
			JOIN unnest($1::bigint[], $2::text[], $3::text[]) AS wanted (user_id, operation, key) USING (user_id, operation, key)`,
		keep: `INSERT INTO ` + table + ` (user_id, operation, key, fingerprint, result)
			SELECT user_id, operation, key, fingerprint, result::json
			FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::text[]) AS k (user_id, operation, key, fingerprint, result)`,
		prune: `DELETE FROM ` + table + ` WHERE ctid = ANY(ARRAY(SELECT ctid FROM ` + table + ` WHERE created_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))`,
	}
}

// Claim implements the ClaimKeys of idempotency.Tx. The lock is an advisory one of the
// transaction: an uncommitted row of another transaction could only be waited for, and
// a lock that outlives a crash would have to be cleaned up.
func (t Table) Claim(ctx context.Context, tx database.Conn, keys ...idempotency.Key) (map[idempotency.ID]*idempotency.Kept, error) {
	claimed, err := t.lock(ctx, tx, keys)
	if err != nil {
		return nil, fmt.Errorf("claim keys: %w", err)
	}
	// A statement of its own, whose snapshot is taken under the locks: whoever held one
	// of them before has committed by now, and is seen.
	if err := t.read(ctx, tx, claimed); err != nil {
		return nil, fmt.Errorf("claim keys: %w", err)
	}
	return claimed, nil
}

func (t Table) lock(ctx context.Context, tx database.Conn, keys []idempotency.Key) (map[idempotency.ID]*idempotency.Kept, error) {
	locks := make([]int64, len(keys))
	for i, k := range keys {
		locks[i] = t.lockID(k.ID)
	}
	rows, err := tx.QueryContext(ctx, `SELECT n, pg_try_advisory_xact_lock(id) FROM unnest($1::bigint[]) WITH ORDINALITY AS l (id, n)`, locks)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	claimed := make(map[idempotency.ID]*idempotency.Kept, len(keys))
	for rows.Next() {
		var n int
		var locked bool
		if err := rows.Scan(&n, &locked); err != nil {
			return nil, err
		}
		if locked {
			claimed[keys[n-1].ID] = nil
		}
	}
	return claimed, rows.Err()
}

// lockID is the number of a key's advisory lock. Two keys that shared one would only
// make one of two simultaneous requests answer that it is in flight.
func (t Table) lockID(id idempotency.ID) int64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %q %q", t.schema, id.UserID, id.Operation, id.Value))
	return int64(binary.BigEndian.Uint64(sum[:8])) //nolint:gosec // any 64 bits will do
}

func (t Table) read(ctx context.Context, tx database.Conn, claimed map[idempotency.ID]*idempotency.Kept) error {
	var users []int64
	var operations, values []string
	for id := range claimed {
		users, operations, values = append(users, id.UserID), append(operations, id.Operation), append(values, id.Value)
	}
	rows, err := tx.QueryContext(ctx, t.find, users, operations, values)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var k idempotency.Kept
		var fingerprint []byte
		if err := rows.Scan(&k.UserID, &k.Operation, &k.Value, &fingerprint, &k.Result); err != nil {
			return err
		}
		copy(k.Fingerprint[:], fingerprint)
		claimed[k.ID] = &k
	}
	return rows.Err()
}

// Keep implements the KeepResults of idempotency.Tx.
func (t Table) Keep(ctx context.Context, tx database.Conn, kept ...idempotency.Kept) error {
	n := len(kept)
	users, operations, values := make([]int64, n), make([]string, n), make([]string, n)
	fingerprints, results := make([][]byte, n), make([]string, n)
	for i, k := range kept {
		users[i], operations[i], values[i] = k.UserID, k.Operation, k.Value
		fingerprints[i], results[i] = k.Fingerprint[:], string(k.Result)
	}
	if _, err := tx.ExecContext(ctx, t.keep, users, operations, values, fingerprints, results); err != nil {
		return fmt.Errorf("keep results: %w", err)
	}
	return nil
}

// Prune forgets the keys that were kept before at, at most limit of them, and says how
// many there were.
func (t Table) Prune(ctx context.Context, db database.Conn, at time.Time, limit int) (int64, error) {
	res, err := db.ExecContext(ctx, t.prune, at, limit)
	if err != nil {
		return 0, fmt.Errorf("prune keys: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("prune keys: %w", err)
	}
	return n, nil
}

// RunPruner forgets what is older than [Retention], now and every hour, until ctx is
// done. It works in small steps and may run in every replica.
func (t Table) RunPruner(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	return database.RunPruner(ctx, log, "idempotency keys", func(ctx context.Context, limit int) (int64, error) {
		return t.Prune(ctx, db, time.Now().Add(-Retention), limit)
	})
}
