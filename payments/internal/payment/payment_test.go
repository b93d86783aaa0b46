package payment

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/events"
	"gozon/shared/money"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestTopUp(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		balance, amount, want money.Amount
		err                   error
	}{
		"from nothing":   {0, 1, 1, nil},
		"to the ceiling": {1, money.Max - 1, money.Max, nil},
		"beyond it":      {1, money.Max, 1, ErrBalanceTooLarge},
		"full already":   {money.Max, 1, money.Max, ErrBalanceTooLarge},
		"zero":           {5, 0, 5, ErrAmount},
		"negative":       {5, -1, 5, ErrAmount},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := Account{UserID: 1, Balance: tc.balance, Seq: 7}
			e, err := a.TopUp(tc.amount, at)
			require.ErrorIs(t, err, tc.err)
			require.Equal(t, tc.want, a.Balance)
			if tc.err != nil {
				require.EqualValues(t, 7, a.Seq)
				return
			}
			require.Equal(t, Entry{UserID: 1, Seq: 8, Kind: KindTopUp, Debit: LedgerExternal, Credit: LedgerUser, Amount: tc.amount, BalanceAfter: tc.want, CreatedAt: at}, e)
		})
	}
}

func TestDecide(t *testing.T) {
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
		"one short":   {&Account{Balance: 10}, 11, StatusFailed, events.ReasonInsufficientFunds, 10, nil},
		"nothing":     {&Account{}, 1, StatusFailed, events.ReasonInsufficientFunds, 0, nil},
		"no account":  {nil, 1, StatusFailed, events.ReasonAccountNotFound, 0, nil},
		"zero":        {&Account{Balance: 10}, 0, "", "", 10, ErrAmount},
		"negative":    {&Account{Balance: 10}, -1, "", "", 10, ErrAmount},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Order{OrderID: uuid.New(), UserID: 1, Amount: tc.amount}
			p, e, err := Decide(o, tc.account, at)
			require.ErrorIs(t, err, tc.err)
			require.Equal(t, tc.status, p.Status)
			require.Equal(t, tc.reason, p.Reason)
			require.Equal(t, tc.status == StatusSucceeded, e != nil)
			if e != nil {
				require.Equal(t, o.OrderID, e.OrderID.UUID)
				require.Equal(t, tc.left, e.BalanceAfter)
				require.Equal(t, LedgerShop, e.Credit)
			}
			if tc.account != nil {
				require.Equal(t, tc.left, tc.account.Balance)
			}
		})
	}
}

func TestOrdersOfOneAccountAreDecidedOneAfterTheOther(t *testing.T) {
	t.Parallel()
	var orders []Order
	fresh := map[uuid.UUID]bool{}
	for _, amount := range []money.Amount{40, 70, 60, 1} { // of 100
		o := Order{MessageID: uuid.New(), OrderID: uuid.New(), UserID: 1, Amount: amount}
		orders, fresh[o.MessageID] = append(orders, o), true
	}
	accounts := map[int64]*Account{1: {UserID: 1, Balance: 100}}
	outcomes, changes, answers, err := pay(orders, fresh, accounts, map[uuid.UUID]Payment{}, at)
	require.NoError(t, err)
	require.Equal(t, []Outcome{OutcomeSucceeded, OutcomeFailed, OutcomeSucceeded, OutcomeFailed}, outcomes)
	require.Equal(t, []Account{{UserID: 1, Balance: 0, Seq: 2}}, changes.Accounts, "one write of the balance")
	require.Len(t, changes.Entries, 2)
	require.Len(t, changes.Payments, 4)
	require.Len(t, answers, 4)
}

func TestSameMessageAndSameOrderInOneBatchCountOnce(t *testing.T) {
	t.Parallel()
	o := Order{MessageID: uuid.New(), OrderID: uuid.New(), UserID: 1, Amount: 10}
	again := o
	again.MessageID = uuid.New()
	accounts := map[int64]*Account{1: {UserID: 1, Balance: 100}}
	outcomes, changes, answers, err := pay([]Order{o, o, again}, map[uuid.UUID]bool{o.MessageID: true, again.MessageID: true}, accounts, map[uuid.UUID]Payment{}, at)
	require.NoError(t, err)
	require.Equal(t, []Outcome{OutcomeSucceeded, OutcomeDuplicate, OutcomeReplayed}, outcomes)
	require.EqualValues(t, 90, accounts[1].Balance)
	require.Len(t, changes.Payments, 1)
	require.Equal(t, answers[0], answers[1], "the old answer")
}
