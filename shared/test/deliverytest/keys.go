package deliverytest

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/delivery"
	"gozon/shared/delivery/idempotency"
)

var keysTests = map[string]func(*testing.T, *fixture){
	"a repeated request gets the first response":              requestReplayed,
	"another request with the same key is rejected":           keyReused,
	"a key is scoped to its user and operation":               keyScoped,
	"a request that was rolled back can be repeated":          requestRolledBack,
	"a request that failed can be repeated":                   requestFailed,
	"a key that a set uses twice is in flight":                keyTwiceInASet,
	"a key that another transaction has claimed is in flight": keyInFlight,
	"exactly one of many concurrent requests is processed":    requestsCompete,
	"concurrent sets in opposite orders do not deadlock":      requestsCross,
	"a set of requests with and without keys is one commit":   setIsOneCommit,
	"pruning deletes old keys and skips locked ones":          keysPruned,
	"a request without a key is always processed":             requestWithoutKey,
}

type (
	request  = idempotency.Request[string]
	response = idempotency.Response[string]
)

func newRequest(t *testing.T, user int64, operation, value, body string) request {
	t.Helper()
	key, err := idempotency.NewKey(user, operation, value, body)
	require.NoError(t, err)
	return request{Key: key, Body: body}
}

func place(t *testing.T, value, body string) request {
	t.Helper()
	return newRequest(t, 1, "place", value, body)
}

var errBad = errors.New("bad")

// process processes requests in tx. The response to the body "x" is "did x"; the body
// "bad" fails.
func process(ctx context.Context, tx *delivery.Tx, requests ...request) ([]response, error) {
	claimed, err := idempotency.Claim(ctx, tx, requests, decode)
	if err != nil {
		return nil, err
	}
	fresh := make([]response, len(claimed.Fresh))
	for i, body := range claimed.Fresh {
		fresh[i].Value = "did " + body
		if body == "bad" {
			fresh[i].Err = errBad
		}
	}
	return claimed.Complete(ctx, tx, fresh, encode)
}

func encode(value string) ([]byte, error) { return json.Marshal(value) }

func decode(stored []byte) (value string, err error) {
	return value, json.Unmarshal(stored, &value)
}

// process processes requests in a separate transaction.
func (f *fixture) process(t *testing.T, requests ...request) []response {
	t.Helper()
	responses, err := f.tryProcess(t.Context(), requests...)
	require.NoError(t, err)
	return responses
}

// tryProcess is [fixture.process] for goroutines other than the test's.
func (f *fixture) tryProcess(ctx context.Context, requests ...request) (responses []response, err error) {
	err = f.store.InTx(ctx, func(tx *delivery.Tx) error {
		responses, err = process(ctx, tx, requests...)
		return err
	})
	return responses, err
}

func (f *fixture) keys(t *testing.T) int {
	t.Helper()
	return f.count(t, "idempotency_keys")
}

func requestReplayed(t *testing.T, f *fixture) {
	require.Equal(t, []response{{Value: "did x"}}, f.process(t, place(t, "k", "x")))
	for range 2 {
		require.Equal(t, []response{{Value: "did x", Replayed: true}}, f.process(t, place(t, "k", "x")))
	}
	require.Equal(t, 1, f.keys(t))
}

func keyReused(t *testing.T, f *fixture) {
	f.process(t, place(t, "k", "x"))
	require.Equal(t, []response{{Err: idempotency.ErrReused}, {Value: "did z"}}, f.process(t, place(t, "k", "y"), place(t, "l", "z")))
	require.Equal(t, []response{{Value: "did x", Replayed: true}}, f.process(t, place(t, "k", "x")))
}

func keyScoped(t *testing.T, f *fixture) {
	for _, r := range []request{
		newRequest(t, 1, "place", "k", "x"), newRequest(t, 2, "place", "k", "y"),
		newRequest(t, 1, "cancel", "k", "z"), newRequest(t, 1, "place", "K", "w"),
	} {
		require.Equal(t, []response{{Value: "did " + r.Body}}, f.process(t, r))
	}
	require.Equal(t, 4, f.keys(t))
}

func requestRolledBack(t *testing.T, f *fixture) {
	f.rollBack(t, func(tx *delivery.Tx) {
		_, err := process(t.Context(), tx, place(t, "k", "x"))
		require.NoError(t, err)
	})
	require.Equal(t, []response{{Value: "did y"}}, f.process(t, place(t, "k", "y")))
}

func requestFailed(t *testing.T, f *fixture) {
	require.Equal(t, []response{{Value: "did bad", Err: errBad}}, f.process(t, place(t, "k", "bad")))
	require.Equal(t, []response{{Value: "did x"}}, f.process(t, place(t, "k", "x")))
}

func keyTwiceInASet(t *testing.T, f *fixture) {
	require.Equal(t, []response{{Value: "did x"}, {Err: idempotency.ErrInFlight}, {Err: idempotency.ErrInFlight}},
		f.process(t, place(t, "k", "x"), place(t, "k", "x"), place(t, "k", "y")))
	require.Equal(t, []response{{Value: "did x", Replayed: true}}, f.process(t, place(t, "k", "x")))
}

func keyInFlight(t *testing.T, f *fixture) {
	require.NoError(t, f.store.InTx(t.Context(), func(tx *delivery.Tx) error {
		_, err := process(t.Context(), tx, place(t, "k", "x"))
		require.NoError(t, err)
		require.Equal(t, []response{{Err: idempotency.ErrInFlight}, {Value: "did z"}}, f.process(t, place(t, "k", "x"), place(t, "l", "z")))
		return nil
	}))
	require.Equal(t, []response{{Value: "did x", Replayed: true}}, f.process(t, place(t, "k", "x")))
}

func requestsCompete(t *testing.T, f *fixture) {
	var processed, replayed, inFlight atomic.Int32
	r := place(t, "k", "x")
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			for range 10 {
				responses, err := f.tryProcess(t.Context(), r)
				switch {
				case err != nil:
					return err
				case errors.Is(responses[0].Err, idempotency.ErrInFlight):
					inFlight.Add(1)
				case responses[0].Replayed:
					replayed.Add(1)
				default:
					processed.Add(1)
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.EqualValues(t, 1, processed.Load(), "processed; %d replayed, %d in flight", replayed.Load(), inFlight.Load())
	require.Equal(t, 1, f.keys(t))
}

func requestsCross(t *testing.T, f *fixture) {
	var forwards, backwards []request
	for i := range 100 {
		r := place(t, strconv.Itoa(i), "x")
		forwards, backwards = append(forwards, r), append([]request{r}, backwards...)
	}
	var g errgroup.Group
	for i := range 8 {
		g.Go(func() error {
			_, err := f.tryProcess(t.Context(), [][]request{forwards, backwards}[i%2]...)
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.Equal(t, len(forwards), f.keys(t))
}

func setIsOneCommit(t *testing.T, f *fixture) {
	f.rollBack(t, func(tx *delivery.Tx) {
		responses, err := process(t.Context(), tx, place(t, "k", "x"), request{Body: "y"}, place(t, "l", "z"))
		require.NoError(t, err)
		require.Equal(t, []response{{Value: "did x"}, {Value: "did y"}, {Value: "did z"}}, responses)
	})
	require.Zero(t, f.keys(t), "keys were committed separately")
}

func keysPruned(t *testing.T, f *fixture) {
	f.process(t, place(t, "old", "x"))
	var border time.Time
	require.NoError(t, f.pool.QueryRowContext(t.Context(), "SELECT clock_timestamp()").Scan(&border))
	f.process(t, place(t, "young", "y"))
	prune := func() int64 {
		n, err := f.store.PruneKeys(t.Context(), border, 100)
		require.NoError(t, err)
		return n
	}
	unlock := f.lock(t, "idempotency_keys", "key = 'old'")
	require.Zero(t, prune(), "pruned a row that another transaction has locked")
	unlock()
	require.EqualValues(t, 1, prune())
	require.Equal(t, []response{{Value: "did x"}, {Value: "did y", Replayed: true}}, f.process(t, place(t, "old", "x"), place(t, "young", "y")))
}

func requestWithoutKey(t *testing.T, f *fixture) {
	for range 2 {
		require.Equal(t, []response{{Value: "did x"}}, f.process(t, request{Body: "x"}))
	}
	require.Zero(t, f.keys(t))
}
