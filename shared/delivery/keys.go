package delivery

import (
	"context"
	"crypto/sha256"
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
		// OFFSET 0 keeps the planner to one search of the index for each key. It would plan a
		// join on the statistics of a table that was empty a minute ago, and read all of it.
		find: `SELECT k.* FROM unnest($1::bigint[], $2::text[], $3::text[]) AS wanted (user_id, operation, key)
			CROSS JOIN LATERAL (SELECT user_id, operation, key, fingerprint, result FROM ` + table + ` AS stored
				WHERE stored.user_id = wanted.user_id AND stored.operation = wanted.operation AND stored.key = wanted.key OFFSET 0) AS k`,
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
	claimed := make(map[idempotency.ID]*idempotency.Stored, len(claim))
	// A separate statement takes its snapshot after the locks, so it sees what the previous
	// holder of a lock has committed.
	if err := t.Read(ctx, t.lockKeys(claim, claimed), t.readStored(claim, claimed)); err != nil {
		return nil, err
	}
	return claimed, nil
}

// lockKeys returns the query that locks keys, and adds the locked ones to claimed.
func (t *Tx) lockKeys(keys []idempotency.Key, claimed map[idempotency.ID]*idempotency.Stored) database.Selection {
	locks := make([]int64, len(keys))
	for i, k := range keys {
		locks[i] = t.store.keys.lockID(k.ID)
	}
	var n int
	return database.Select("claim keys", []any{&n}, func() { claimed[keys[n].ID] = nil }, `SELECT n - 1
		FROM unnest($1::bigint[]) WITH ORDINALITY AS l (id, n) WHERE pg_try_advisory_xact_lock(id)`, locks)
}

// lockID returns the id of a key's advisory lock. If two keys collide, one of two
// simultaneous requests gets [idempotency.ErrInFlight], and its retry succeeds.
func (k keys) lockID(id idempotency.ID) int64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %q %q", k.schema, id.UserID, id.Operation, id.Value))
	return int64(binary.BigEndian.Uint64(sum[:8])) //nolint:gosec // any 64 bits will do
}

// readStored returns the query that reads what is stored under keys, and adds that of the
// claimed ones to claimed.
func (t *Tx) readStored(keys []idempotency.Key, claimed map[idempotency.ID]*idempotency.Stored) database.Selection {
	users, operations, values := make([]int64, len(keys)), make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		users[i], operations[i], values[i] = k.UserID, k.Operation, k.Value
	}
	var s idempotency.Stored
	var fingerprint []byte
	return database.Select("read keys", []any{&s.UserID, &s.Operation, &s.Value, &fingerprint, &s.Response}, func() {
		if _, locked := claimed[s.ID]; !locked {
			return
		}
		found := s
		copy(found.Fingerprint[:], fingerprint)
		claimed[s.ID] = &found
	}, t.store.keys.find, users, operations, values)
}

// StoreResponses implements [idempotency.Tx].
func (t *Tx) StoreResponses(_ context.Context, stored ...idempotency.Stored) error {
	n := len(stored)
	users, operations, values := make([]int64, n), make([]string, n), make([]string, n)
	fingerprints, responses := make([][]byte, n), make([]string, n)
	for i, s := range stored {
		users[i], operations[i], values[i] = s.UserID, s.Operation, s.Value
		fingerprints[i], responses[i] = s.Fingerprint[:], string(s.Response)
	}
	t.Queue("store responses", t.store.keys.store, users, operations, values, fingerprints, responses)
	return nil
}

// PruneKeys deletes at most limit keys created before t and returns the number of deleted
// keys.
func (s *Store) PruneKeys(ctx context.Context, t time.Time, limit int) (int64, error) {
	return prune(ctx, s.DB, s.keys.prune, t, limit)
}
