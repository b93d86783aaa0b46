// Package inboxtest holds a service's inbox table, as its own migrations made it,
// to the contract of package inbox.
package inboxtest

import (
	"context"
	"database/sql"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/delivery/database"
	"gozon/shared/inbox"
)

// Run runs the contract; open gives a migrated database of its own to each test.
func Run(t *testing.T, in inbox.Inbox, open func(testing.TB) *sql.DB) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, *bench){
		"an id is claimed once":                                once,
		"a claim that was rolled back never was":               rolledBack,
		"a batch may mix old, new and doubled ids":             mixed,
		"of many concurrent claims of one id exactly one wins": raced,
		"crossing batches do not deadlock":                     crossed,
		"pruning forgets the old and keeps the young":          pruned,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &bench{inbox: in, db: open(t)})
		})
	}
}

type bench struct {
	inbox inbox.Inbox
	db    *sql.DB
}

func id(t *testing.T) uuid.UUID {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	return id
}

// claim claims in a transaction of its own, which end ends, and says which were fresh.
func (b *bench) claim(ctx context.Context, end func(*sql.Tx) error, ids ...uuid.UUID) (map[uuid.UUID]bool, error) {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // after a commit this does nothing
	fresh, err := b.inbox.Claim(ctx, tx, ids...)
	if err != nil {
		return nil, err
	}
	return fresh, end(tx)
}

func once(t *testing.T, b *bench) {
	a := id(t)
	fresh, err := b.claim(t.Context(), (*sql.Tx).Commit, a)
	require.NoError(t, err)
	require.True(t, fresh[a])
	fresh, err = b.claim(t.Context(), (*sql.Tx).Commit, a)
	require.NoError(t, err)
	require.Empty(t, fresh)
}

func rolledBack(t *testing.T, b *bench) {
	a := id(t)
	_, err := b.claim(t.Context(), (*sql.Tx).Rollback, a)
	require.NoError(t, err)
	fresh, err := b.claim(t.Context(), (*sql.Tx).Commit, a)
	require.NoError(t, err)
	require.True(t, fresh[a])
}

func mixed(t *testing.T, b *bench) {
	old, one, two := id(t), id(t), id(t)
	_, err := b.claim(t.Context(), (*sql.Tx).Commit, old)
	require.NoError(t, err)
	fresh, err := b.claim(t.Context(), (*sql.Tx).Commit, two, old, one, two)
	require.NoError(t, err)
	require.Equal(t, map[uuid.UUID]bool{one: true, two: true}, fresh)
	fresh, err = b.claim(t.Context(), (*sql.Tx).Commit)
	require.NoError(t, err)
	require.Empty(t, fresh)
}

func raced(t *testing.T, b *bench) {
	a := id(t)
	var wins atomic.Int32
	var g errgroup.Group
	for range 16 {
		g.Go(func() error {
			fresh, err := b.claim(t.Context(), (*sql.Tx).Commit, a)
			if fresh[a] && err == nil {
				wins.Add(1)
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.EqualValues(t, 1, wins.Load())
}

func crossed(t *testing.T, b *bench) {
	ids := make([]uuid.UUID, 200)
	for i := range ids {
		ids[i] = id(t)
	}
	backwards := make([]uuid.UUID, len(ids))
	for i := range ids {
		backwards[len(ids)-1-i] = ids[i]
	}
	var wins atomic.Int32
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error {
			fresh, err := b.claim(t.Context(), (*sql.Tx).Commit, [][]uuid.UUID{ids, backwards}[i%2]...)
			wins.Add(int32(len(fresh))) //nolint:gosec // at most 200
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.EqualValues(t, len(ids), wins.Load())
}

func pruned(t *testing.T, b *bench) {
	old, young := id(t), id(t)
	past := time.Now().Add(-inbox.Retention - time.Hour).UnixMilli()
	for i := range 6 { // the time of a UUIDv7 is its first 48 bits
		old[i] = byte(past >> (40 - 8*i) & 0xff)
	}
	_, err := b.claim(t.Context(), (*sql.Tx).Commit, old, young)
	require.NoError(t, err)
	prune := func(db database.Conn) int64 {
		n, err := b.inbox.Prune(t.Context(), db, time.Now().Add(-inbox.Retention), 100)
		require.NoError(t, err)
		return n
	}
	tx, err := b.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, prune(tx))
	require.Zero(t, prune(b.db), "a row that somebody else holds is passed over")
	require.NoError(t, tx.Rollback())
	require.EqualValues(t, 1, prune(b.db))
	fresh, err := b.claim(t.Context(), (*sql.Tx).Rollback, old, young)
	require.NoError(t, err)
	require.Equal(t, map[uuid.UUID]bool{old: true}, fresh)
}
