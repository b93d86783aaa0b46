package payment

import (
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/money"
	"gozon/shared/delivery/idempotency"
)

// Stored responses are kept for a day, so another version of the service reads them.
func TestStoredDepositKeepsItsFormat(t *testing.T) {
	t.Parallel()
	const golden = `{"Account":{"UserID":1,"Balance":10000000000000,"Seq":2,"Deposited":10000000000000.01,"CreatedAt":"2026-01-02T03:04:05Z"},"Opened":true}`
	deposited := Deposited{Account: Account{UserID: 1, Balance: money.Max + 1, Seq: 2, Deposited: money.Max + 2, CreatedAt: at}, Opened: true}
	encoded, err := encodeDeposited(deposited)
	require.NoError(t, err)
	require.Equal(t, golden, string(encoded)) //nolint:testifylint // the exact bytes
	decoded, err := decodeDeposited([]byte(golden))
	require.NoError(t, err)
	require.Equal(t, deposited, decoded)
	decoded, err = decodeDeposited([]byte(`{"Account":{"UserID":1,"Balance":5,"Seq":2,"CreatedAt":"2026-01-02T03:04:05Z"},"Opened":false}`))
	require.NoError(t, err)
	require.Equal(t, Deposited{Account: Account{UserID: 1, Balance: 500, Seq: 2, CreatedAt: at}}, decoded, "before accounts had the sum of their deposits")
	_, err = decodeDeposited([]byte(`{"Account":`))
	require.Error(t, err)
}

// Keys are kept for a day, so another version of the service compares the fingerprints.
func TestDepositKeepsItsFingerprint(t *testing.T) {
	t.Parallel()
	body, err := json.Marshal(Deposit{UserID: 1, Amount: 1})
	require.NoError(t, err)
	require.Equal(t, `{"UserID":1,"Amount":0.01}`, string(body))
	key, err := idempotency.NewKey(1, "deposit", "k", Deposit{UserID: 1, Amount: 100})
	require.NoError(t, err)
	require.Equal(t, "6bec133fff47812a85576ee418dff54c004978b6a8d51c6fd4001c47531c296d", hex.EncodeToString(key.Fingerprint[:]))
}
