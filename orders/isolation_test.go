package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// The role of payments sends notifications on the channel of orders, which PostgreSQL cannot
// forbid. They only cause orders to be read: no stream gets an order of another user, an order
// twice, or one that does not exist, and no change is missed.
func TestForgedNotificationsAreHarmless(t *testing.T) {
	t.Parallel()
	f := start(t)
	mine, foreign := f.place(t, 1, "1"), f.place(t, 2, "2")
	s, other := follow(t, f.Service, 1, ""), follow(t, f.Service, 2, "")
	readSnapshot(t, s)
	readSnapshot(t, other)
	forger := f.database.As(t, "payments")
	for _, payload := range []string{
		"", "nonsense", "1 nonsense", fmt.Sprintf("1 %s,", mine.ID),
		"1 " + foreign.ID, "2 " + mine.ID, "1 " + mine.ID, "1 " + uuid.NewString(),
	} {
		_, err := forger.ExecContext(t.Context(), "SELECT pg_notify('orders_changed', $1)", payload)
		require.NoError(t, err)
	}
	o, o2 := f.place(t, 1, "3"), f.place(t, 2, "4")
	got, _ := readChange(t, s)
	require.Equal(t, o, got, "the first change after the snapshot")
	got, _ = readChange(t, other)
	require.Equal(t, o2, got, "the first change after the snapshot")
	f.Ready(t)
}

// The role of payments holds the advisory lock of an idempotency key, which PostgreSQL cannot
// forbid either. Requests with this key are refused, and nothing is done, until it releases
// the lock. Others are not affected.
func TestKeyThatAnotherRoleLocksIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t)
	sum := sha256.Sum256(fmt.Appendf(nil, "orders %d %q %q", 1, "place", "k"))
	conn, err := f.database.As(t, "payments").Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "SELECT pg_advisory_lock($1)", int64(binary.BigEndian.Uint64(sum[:8])))
	require.NoError(t, err)

	got := placeWithKey(t, f.Service, "k", laptop)
	require.Equal(t, http.StatusConflict, got.Status, got.Body)
	require.Equal(t, http.StatusCreated, placeWithKey(t, f.Service, "another", laptop).Status)
	require.Equal(t, 1, f.rows(t, "orders"))
	_, err = conn.ExecContext(t.Context(), "SELECT pg_advisory_unlock_all()")
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, placeWithKey(t, f.Service, "k", laptop).Status)
}
