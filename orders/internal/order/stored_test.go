package order

import (
	"encoding/hex"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/delivery/idempotency"
)

// Stored responses are kept for a day, so another version of the service reads them.
func TestStoredOrderKeepsItsFormat(t *testing.T) {
	t.Parallel()
	const golden = `{"ID":"01980f5e-7b1c-7000-8000-000000000001","UserID":1,"Item":"x","Price":0.01,"Status":"CANCELLED",` +
		`"CancelReason":"cancelled_by_user","Version":3,"CreatedAt":"2026-01-02T03:04:05Z","UpdatedAt":"2026-01-02T03:04:11Z",` +
		`"Saga":{"PublishedAt":"2026-01-02T03:04:06Z","ChargedAt":"2026-01-02T03:04:07Z","RefusedAt":"0001-01-01T00:00:00Z",` +
		`"ConfirmedAt":"0001-01-01T00:00:00Z","CancelRequestedAt":"2026-01-02T03:04:09Z","RefundedAt":"2026-01-02T03:04:10Z"}}`
	o := orderIn(t, "refunded")
	o.ID = uuid.MustParse("01980f5e-7b1c-7000-8000-000000000001")
	stored, err := encodeOrder(o)
	require.NoError(t, err)
	require.JSONEq(t, golden, string(stored))
	for _, stored := range []string{golden, golden[:len(golden)-1] + `,"ChangedIn":7}`} { // earlier versions also wrote ChangedIn
		decoded, err := decodeOrder([]byte(stored))
		require.NoError(t, err)
		require.Equal(t, o, decoded)
	}
}

// A retry must match the first request even if the service was deployed in between.
func TestFingerprintsAreStable(t *testing.T) {
	t.Parallel()
	for want, body := range map[string]any{
		"86393b390ee6c0eb8d3ec1cd65d120119d4ece3aad5fb987520dda517eb5e1f6": Draft{UserID: 1, Item: "x", Price: 1},
		"a786629a2f28dfb7f69ad0cc33dafc01c75497352d8ee367f99e0755c18f6f62": uuid.MustParse("01980f5e-7b1c-7000-8000-000000000001"),
	} {
		key, err := idempotency.NewKey(1, "operation", "k", body)
		require.NoError(t, err)
		require.Equal(t, want, hex.EncodeToString(key.Fingerprint[:]))
	}
}
