package money_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gozon/shared/contract/money"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in   string
		want money.Amount
		err  error
	}{
		{"0", 0, nil},
		{"1000", 100000, nil},
		{"19.99", 1999, nil},
		{"19.9", 1990, nil},
		{"0.01", 1, nil},
		{"-5", -500, nil},
		{"9999999999999.99", money.Max, nil},
		{"10000000000000.00", 0, money.ErrRange},
		{"99999999999999999999999999", 0, money.ErrRange},
		{"1.999", 0, money.ErrDecimals},
		{"1.990", 0, money.ErrDecimals},
		{"1e3", 0, money.ErrNotANumber},
		{"1E-2", 0, money.ErrNotANumber},
		{`"1000"`, 0, money.ErrNotANumber},
		{"01", 0, money.ErrNotANumber},
		{"+1", 0, money.ErrNotANumber},
		{"1.", 0, money.ErrNotANumber},
		{".5", 0, money.ErrNotANumber},
		{"", 0, money.ErrNotANumber},
		{"-", 0, money.ErrNotANumber},
		{"--1", 0, money.ErrNotANumber},
		{"0x10", 0, money.ErrNotANumber},
		{"NaN", 0, money.ErrNotANumber},
		{"1 000", 0, money.ErrNotANumber},
		{"١", 0, money.ErrNotANumber},
	} {
		t.Run(tc.in, func(t *testing.T) {
			t.Parallel()
			got, err := money.Parse(tc.in)
			require.ErrorIs(t, err, tc.err)
			require.Equal(t, tc.want, got)
		})
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := money.Amount(rapid.Int64Range(-int64(money.Max), int64(money.Max)).Draw(t, "minor"))
		b, err := json.Marshal(want)
		require.NoError(t, err)
		var got money.Amount
		require.NoError(t, json.Unmarshal(b, &got))
		require.Equal(t, want, got, string(b))
		// A client that parses the number as a double gets the same amount.
		var f float64
		require.NoError(t, json.Unmarshal(b, &f))
		back, err := json.Marshal(f)
		require.NoError(t, err)
		if f == 0 || f >= 1e-6 || f <= -1e-6 { // smaller values are encoded with an exponent
			require.NoError(t, json.Unmarshal(back, &got))
			require.Equal(t, want, got)
		}
	})
}
