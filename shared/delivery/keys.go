package delivery

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"time"

	"gozon/shared/delivery/database"
	"gozon/shared/delivery/idempotency"
)

// KeyRetention is the minimum time for which an idempotency key is kept.
const KeyRetention = 24 * time.Hour

// keys holds the statements of the table of idempotency keys.
type keys struct{ schema, find, store, prune string }

func newKeys(schema string) keys {
	table := schema + ".idempotency_keys"
	return keys{
		schema: schema,
		find: `SELECT user_id, operation, key, fingerprint, result FROM ` + table + `
			JOIN unnest($1::bigint[], $2::text[], $3::text[]) AS wanted (user_id, operation, key) USING (user_id, operation, key)`,
		store: `INSERT INTO ` + table + ` (user_id, operation, key, fingerprint, result)
			SELECT user_id, operation, key, fingerprint, result::json
			FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::text[]) AS k (user_id, operation, key, fingerprint, result)`,
		prune: `DELETE FROM ` + table + ` WHERE ctid = ANY(ARRAY(SELECT ctid FROM ` + table + ` WHERE created_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))`,
	}
}

// ClaimKeys implements [idempotency.Tx]. It tries transaction-level advisory locks, which
// never wait and end with the transaction. If a claim were a row, another transaction would
// have to wait for the commit to see it. If that row were committed first, a crash would
// leave it behind.
func (t *Tx) ClaimKeys(ctx context.Context, claim ...idempotency.Key) (map[idempotency.ID]*idempotency.Stored, error) {
	claimed, err := t.lockKeys(ctx, claim)
	if err != nil {
		return nil, fmt.Errorf("claim keys: %w", err)
	}
	// A separate statement takes its snapshot after the locks, so it sees what the previous
	// holder of a lock has committed.
	if err := t.readStored(ctx, claimed); err != nil {
		return nil, fmt.Errorf("claim keys: %w", err)
	}
	return claimed, nil
}

func (t *Tx) lockKeys(ctx context.Context, claim []idempotency.Key) (map[idempotency.ID]*idempotency.Stored, error) {
	locks := make([]int64, len(claim))
	for i, k := range claim {
		locks[i] = t.store.keys.lockID(k.ID)
	}
	claimed := make(map[idempotency.ID]*idempotency.Stored, len(claim))
	for n, err := range database.Query(ctx, t, database.Column[int], `SELECT n - 1
		FROM unnest($1::bigint[]) WITH ORDINALITY AS l (id, n) WHERE pg_try_advisory_xact_lock(id)`, locks) {
		if err != nil {
			return nil, err
		}
		claimed[claim[n].ID] = nil
	}
	return claimed, nil
}

// lockID returns the id of a key's advisory lock. If two keys collide, one of two
// simultaneous requests gets [idempotency.ErrInFlight], and its retry succeeds.
func (k keys) lockID(id idempotency.ID) int64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %q %q", k.schema, id.UserID, id.Operation, id.Value))
	return int64(binary.BigEndian.Uint64(sum[:8])) //nolint:gosec // any 64 bits will do
}

func (t *Tx) readStored(ctx context.Context, claimed map[idempotency.ID]*idempotency.Stored) error {
	var users []int64
	var operations, values []string
	for id := range claimed {
		users, operations, values = append(users, id.UserID), append(operations, id.Operation), append(values, id.Value)
	}
	for s, err := range database.Query(ctx, t, scanStored, t.store.keys.find, users, operations, values) {
		if err != nil {
			return err
		}
		claimed[s.ID] = &s
	}
	return nil
}

func scanStored(rows *sql.Rows, s *idempotency.Stored) error {
	var fingerprint []byte
	err := rows.Scan(&s.UserID, &s.Operation, &s.Value, &fingerprint, &s.Response)
	copy(s.Fingerprint[:], fingerprint)
	return err
}

// StoreResponses implements [idempotency.Tx].
func (t *Tx) StoreResponses(ctx context.Context, stored ...idempotency.Stored) error {
	n := len(stored)
	users, operations, values := make([]int64, n), make([]string, n), make([]string, n)
	fingerprints, responses := make([][]byte, n), make([]string, n)
	for i, s := range stored {
		users[i], operations[i], values[i] = s.UserID, s.Operation, s.Value
		fingerprints[i], responses[i] = s.Fingerprint[:], string(s.Response)
	}
	if _, err := t.ExecContext(ctx, t.store.keys.store, users, operations, values, fingerprints, responses); err != nil {
		return fmt.Errorf("store responses: %w", err)
	}
	return nil
}

// PruneKeys deletes at most limit keys created before t and returns the number of deleted
// keys.
func (s *Store) PruneKeys(ctx context.Context, t time.Time, limit int) (int64, error) {
	return prune(ctx, s.pool, s.keys.prune, t, limit)
}
