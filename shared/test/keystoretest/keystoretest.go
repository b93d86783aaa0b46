// Package keystoretest holds a service's table of idempotency keys, as its own
// migrations made it, to the contract of packages keystore and idempotency.
package keystoretest

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/delivery/database"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/keystore"
)

// Run runs the contract; open gives a migrated database of its own to each test.
func Run(t *testing.T, table keystore.Table, open func(testing.TB) *sql.DB) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, *bench){
		"the same request gets the first result":                   replayed,
		"another request under the key is refused":                 reused,
		"a key means something for its user and operation alone":   scoped,
		"what was rolled back may be done again":                   rolledBack,
		"what failed may be done again":                            failed,
		"twice in one set: the second is in flight":                twiceInOneSet,
		"a key that another transaction holds is in flight":        inFlight,
		"of many at the same time one is done":                     raced,
		"crossing sets neither wait nor deadlock":                  crossed,
		"a set with keys and without is one commit":                oneCommit,
		"pruning forgets the old and keeps the young":              pruned,
		"a request without a key is done each time and keeps none": withoutKey,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &bench{table: table, db: open(t)})
		})
	}
}

type bench struct {
	table keystore.Table
	db    *sql.DB
}

// tx is an idempotency.Tx.
type tx struct {
	*sql.Tx
	table keystore.Table
}

func (t tx) ClaimKeys(ctx context.Context, keys ...idempotency.Key) (map[idempotency.ID]*idempotency.Kept, error) {
	return t.table.Claim(ctx, t.Tx, keys...)
}

func (t tx) KeepResults(ctx context.Context, kept ...idempotency.Kept) error {
	return t.table.Keep(ctx, t.Tx, kept...)
}

type (
	request = idempotency.Request[string]
	result  = idempotency.Result[string]
)

func key(t *testing.T, user int64, operation, value, what string) request {
	t.Helper()
	k, err := idempotency.NewKey(user, operation, value, what)
	require.NoError(t, err)
	return request{Key: k, What: what}
}

func place(t *testing.T, value, what string) request {
	t.Helper()
	return key(t, 1, "place", value, what)
}

func (b *bench) begin(t *testing.T) tx {
	t.Helper()
	began, err := b.db.BeginTx(context.WithoutCancel(t.Context()), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = began.Rollback() }) // for a test that fails half-way
	return tx{began, b.table}
}

var errBad = errors.New("bad")

// do does requests in tx: the result of "x" is "did x", and of "bad" an error.
func do(ctx context.Context, tx tx, requests ...request) ([]result, error) {
	return idempotency.Once(ctx, tx, requests, func(whats []string) ([]result, error) {
		done := make([]result, len(whats))
		for i, what := range whats {
			done[i].Value = "did " + what
			if what == "bad" {
				done[i].Err = errBad
			}
		}
		return done, nil
	})
}

// once does requests in a transaction of their own.
func (b *bench) once(t *testing.T, requests ...request) []result {
	t.Helper()
	results, err := b.commit(t.Context(), requests...)
	require.NoError(t, err)
	return results
}

// commit is once for goroutines other than the test's own.
func (b *bench) commit(ctx context.Context, requests ...request) ([]result, error) {
	began, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = began.Rollback() }() // after a commit this does nothing
	results, err := do(ctx, tx{began, b.table}, requests...)
	if err != nil {
		return nil, err
	}
	return results, began.Commit()
}

func (b *bench) rows(t *testing.T) int {
	t.Helper()
	tx := b.begin(t)
	n, err := b.table.Prune(t.Context(), tx.Tx, time.Now().Add(time.Hour), 1000)
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	return int(n)
}

func replayed(t *testing.T, b *bench) {
	require.Equal(t, []result{{Value: "did x"}}, b.once(t, place(t, "k", "x")))
	for range 2 {
		require.Equal(t, []result{{Value: "did x", Replayed: true}}, b.once(t, place(t, "k", "x")))
	}
	require.Equal(t, 1, b.rows(t))
}

func reused(t *testing.T, b *bench) {
	b.once(t, place(t, "k", "x"))
	require.Equal(t, []result{{Err: idempotency.ErrReused}, {Value: "did z"}}, b.once(t, place(t, "k", "y"), place(t, "l", "z")))
	require.Equal(t, []result{{Value: "did x", Replayed: true}}, b.once(t, place(t, "k", "x")))
}

func scoped(t *testing.T, b *bench) {
	for _, r := range []request{key(t, 1, "place", "k", "x"), key(t, 2, "place", "k", "y"), key(t, 1, "cancel", "k", "z"), key(t, 1, "place", "K", "w")} {
		require.Equal(t, []result{{Value: "did " + r.What}}, b.once(t, r))
	}
	require.Equal(t, 4, b.rows(t))
}

func rolledBack(t *testing.T, b *bench) {
	tx := b.begin(t)
	_, err := do(t.Context(), tx, place(t, "k", "x"))
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	require.Equal(t, []result{{Value: "did y"}}, b.once(t, place(t, "k", "y")))
}

func failed(t *testing.T, b *bench) {
	require.Equal(t, []result{{Value: "did bad", Err: errBad}}, b.once(t, place(t, "k", "bad")))
	require.Equal(t, []result{{Value: "did x"}}, b.once(t, place(t, "k", "x")))
}

func twiceInOneSet(t *testing.T, b *bench) {
	require.Equal(t, []result{{Value: "did x"}, {Err: idempotency.ErrInFlight}, {Err: idempotency.ErrInFlight}},
		b.once(t, place(t, "k", "x"), place(t, "k", "x"), place(t, "k", "y")))
	require.Equal(t, []result{{Value: "did x", Replayed: true}}, b.once(t, place(t, "k", "x")))
}

func inFlight(t *testing.T, b *bench) {
	tx := b.begin(t)
	_, err := do(t.Context(), tx, place(t, "k", "x"))
	require.NoError(t, err)
	require.Equal(t, []result{{Err: idempotency.ErrInFlight}, {Value: "did z"}}, b.once(t, place(t, "k", "x"), place(t, "l", "z")))
	require.NoError(t, tx.Commit())
	require.Equal(t, []result{{Value: "did x", Replayed: true}}, b.once(t, place(t, "k", "x")))
}

func raced(t *testing.T, b *bench) {
	var first, replays, flying atomic.Int32
	r := place(t, "k", "x")
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			for range 10 {
				results, err := b.commit(t.Context(), r)
				switch {
				case err != nil:
					return err
				case errors.Is(results[0].Err, idempotency.ErrInFlight):
					flying.Add(1)
				case results[0].Replayed:
					replays.Add(1)
				default:
					first.Add(1)
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.EqualValues(t, 1, first.Load(), "%d replays, %d in flight", replays.Load(), flying.Load())
	require.Equal(t, 1, b.rows(t))
}

func crossed(t *testing.T, b *bench) {
	var there, back []request
	for i := range 100 {
		r := place(t, strconv.Itoa(i), "x")
		there, back = append(there, r), append([]request{r}, back...)
	}
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error {
			_, err := b.commit(t.Context(), [][]request{there, back}[i%2]...)
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.Equal(t, len(there), b.rows(t))
}

func oneCommit(t *testing.T, b *bench) {
	tx := b.begin(t)
	results, err := do(t.Context(), tx, place(t, "k", "x"), request{What: "y"}, place(t, "l", "z"))
	require.NoError(t, err)
	require.Equal(t, []result{{Value: "did x"}, {Value: "did y"}, {Value: "did z"}}, results)
	require.NoError(t, tx.Rollback())
	require.Zero(t, b.rows(t), "nothing was committed on the way")
}

func pruned(t *testing.T, b *bench) {
	b.once(t, place(t, "old", "x"))
	var border time.Time
	require.NoError(t, b.db.QueryRowContext(t.Context(), "SELECT clock_timestamp()").Scan(&border))
	b.once(t, place(t, "young", "y"))
	prune := func(db database.Conn) int64 {
		n, err := b.table.Prune(t.Context(), db, border, 100)
		require.NoError(t, err)
		return n
	}
	other := b.begin(t)
	require.EqualValues(t, 1, prune(other.Tx))
	require.Zero(t, prune(b.db), "a row that somebody else holds is passed over")
	require.NoError(t, other.Rollback())
	require.EqualValues(t, 1, prune(b.db))
	require.Equal(t, []result{{Value: "did x"}, {Value: "did y", Replayed: true}}, b.once(t, place(t, "old", "x"), place(t, "young", "y")))
}

func withoutKey(t *testing.T, b *bench) {
	for range 2 {
		require.Equal(t, []result{{Value: "did x"}}, b.once(t, request{What: "x"}))
	}
	require.Zero(t, b.rows(t))
}
