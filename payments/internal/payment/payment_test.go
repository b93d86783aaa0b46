package payment

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestTopUp(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		balance, amount, want money.Amount
		err                   error
	}{
		"from zero":      {0, 1, 1, nil},
		"to the limit":   {1, money.Max - 1, money.Max, nil},
		"over the limit": {1, money.Max, 1, ErrDepositsTooLarge},
		"at the limit":   {money.Max, 1, money.Max, ErrDepositsTooLarge},
		"zero":           {5, 0, 5, ErrAmount},
		"negative":       {5, -1, 5, ErrAmount},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := Account{UserID: 1, Balance: tc.balance, Seq: 7, Deposited: tc.balance}
			e, err := a.TopUp(tc.amount, at)
			require.ErrorIs(t, err, tc.err)
			require.Equal(t, tc.want, a.Balance)
			require.Equal(t, tc.want, a.Deposited)
			if tc.err != nil {
				require.EqualValues(t, 7, a.Seq)
				return
			}
			require.Equal(t, Entry{UserID: 1, Seq: 8, Kind: KindTopUp, Debit: LedgerExternal, Credit: LedgerUser, Amount: tc.amount, BalanceAfter: tc.want, CreatedAt: at}, e)
		})
	}
}

func TestCharge(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		account *Account
		amount  money.Amount
		status  Status
		reason  events.FailureReason
		left    money.Amount
		err     error
	}{
		"enough":      {&Account{Balance: 10}, 9, StatusSucceeded, "", 1, nil},
		"just enough": {&Account{Balance: 10}, 10, StatusSucceeded, "", 0, nil},
		"not enough":  {&Account{Balance: 10}, 11, StatusFailed, events.ReasonInsufficientFunds, 10, nil},
		"empty":       {&Account{}, 1, StatusFailed, events.ReasonInsufficientFunds, 0, nil},
		"no account":  {nil, 1, StatusFailed, events.ReasonAccountNotFound, 0, nil},
		"zero":        {&Account{Balance: 10}, 0, "", "", 10, ErrAmount},
		"negative":    {&Account{Balance: 10}, -1, "", "", 10, ErrAmount},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Command{OrderID: uuid.New(), UserID: 1, Amount: tc.amount}
			p, e, err := c.Charge(tc.account, at)
			require.ErrorIs(t, err, tc.err)
			require.Equal(t, tc.status, p.Status)
			require.Equal(t, tc.reason, p.Reason)
			require.Equal(t, tc.status == StatusSucceeded, e != nil)
			if e != nil {
				require.Equal(t, &c.OrderID, e.OrderID)
				require.Equal(t, tc.left, e.BalanceAfter)
				require.Equal(t, LedgerShop, e.Credit)
			}
			if tc.account != nil {
				require.Equal(t, tc.left, tc.account.Balance)
			}
		})
	}
}
