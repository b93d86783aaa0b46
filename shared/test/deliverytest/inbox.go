package deliverytest

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/delivery"
)

var inboxTests = map[string]func(*testing.T, *fixture){
	"an id is claimed once":                                claimedOnce,
	"a claim that was rolled back can be repeated":         claimRolledBack,
	"a set may contain old, new and duplicate ids":         claimMixed,
	"exactly one of many concurrent claims of an id wins":  claimsCompete,
	"concurrent claims in opposite orders do not deadlock": claimsCross,
	"pruning deletes old ids and skips locked ones":        inboxPruned,
}

func messageID(t *testing.T) uuid.UUID {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	return id
}

// messageIDAt returns the id of a message that was created at the given time.
func messageIDAt(t *testing.T, created time.Time) uuid.UUID {
	t.Helper()
	id, ms := messageID(t), created.UnixMilli()
	for i := range 6 { // the time of a UUIDv7 is in its first 48 bits
		id[i] = byte(ms >> (40 - 8*i) & 0xff)
	}
	return id
}

// claim claims ids in tx and returns those that were fresh.
func claim(ctx context.Context, tx *delivery.Tx, ids ...uuid.UUID) (map[uuid.UUID]bool, error) {
	fresh, query := tx.Claim(ids...)
	return fresh, tx.Read(ctx, query)
}

// claim claims ids in a separate transaction and returns those that were fresh.
func (f *fixture) claim(t *testing.T, ids ...uuid.UUID) map[uuid.UUID]bool {
	t.Helper()
	fresh, err := f.tryClaim(t.Context(), ids...)
	require.NoError(t, err)
	return fresh
}

// tryClaim is [fixture.claim] for goroutines other than the test's.
func (f *fixture) tryClaim(ctx context.Context, ids ...uuid.UUID) (fresh map[uuid.UUID]bool, err error) {
	err = f.store.InTx(ctx, func(tx *delivery.Tx) error {
		// The lock timeout of a transaction is shorter than deadlock_timeout, so PostgreSQL
		// would not detect a deadlock, and claims that only wait could fail on a slow machine.
		tx.Queue("wait longer", "SET LOCAL lock_timeout = '10s'")
		fresh, err = claim(ctx, tx, ids...)
		return err
	})
	return fresh, err
}

func claimedOnce(t *testing.T, f *fixture) {
	id := messageID(t)
	require.True(t, f.claim(t, id)[id])
	require.Empty(t, f.claim(t, id))
}

func claimRolledBack(t *testing.T, f *fixture) {
	id := messageID(t)
	f.rollBack(t, func(tx *delivery.Tx) {
		_, err := claim(t.Context(), tx, id)
		require.NoError(t, err)
	})
	require.True(t, f.claim(t, id)[id])
}

func claimMixed(t *testing.T, f *fixture) {
	old, one, two := messageID(t), messageID(t), messageID(t)
	f.claim(t, old)
	require.Equal(t, map[uuid.UUID]bool{one: true, two: true}, f.claim(t, two, old, one, two))
	require.Empty(t, f.claim(t))
}

func claimsCompete(t *testing.T, f *fixture) {
	id := messageID(t)
	var wins atomic.Int32
	var g errgroup.Group
	for range 16 {
		g.Go(func() error {
			fresh, err := f.tryClaim(t.Context(), id)
			if fresh[id] && err == nil {
				wins.Add(1)
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.EqualValues(t, 1, wins.Load())
}

func claimsCross(t *testing.T, f *fixture) {
	ids := make([]uuid.UUID, 200)
	for i := range ids {
		ids[i] = messageID(t)
	}
	backwards := slices.Clone(ids)
	slices.Reverse(backwards)
	var wins atomic.Int32
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error {
			fresh, err := f.tryClaim(t.Context(), [][]uuid.UUID{ids, backwards}[i%2]...)
			wins.Add(int32(len(fresh))) //nolint:gosec // at most 200
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.EqualValues(t, len(ids), wins.Load())
}

func inboxPruned(t *testing.T, f *fixture) {
	old, young := messageIDAt(t, time.Now().Add(-delivery.InboxRetention-time.Hour)), messageID(t)
	f.claim(t, old, young)
	prune := func() int64 {
		n, err := f.store.PruneInbox(t.Context(), time.Now().Add(-delivery.InboxRetention), 100)
		require.NoError(t, err)
		return n
	}
	unlock := f.lock(t, "inbox", "message_id = $1", old)
	require.Zero(t, prune(), "pruned a row that another transaction has locked")
	unlock()
	require.EqualValues(t, 1, prune())
	f.rollBack(t, func(tx *delivery.Tx) {
		fresh, err := claim(t.Context(), tx, old, young)
		require.NoError(t, err)
		require.Equal(t, map[uuid.UUID]bool{old: true}, fresh)
	})
}
