package payment

import (
	"math"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gozon/shared/contract/money"
)

// For any sequence of deposits, orders and cancellations: every charge can be refunded, and the
// balance and what may still be refunded are what was deposited.
func TestEveryChargeCanBeRefunded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		account := &Account{UserID: 1}
		f := &fixture{map[int64]*Account{1: account}, map[uuid.UUID]Payment{}}
		var charged []Command
		run := func(c Command) Effect {
			e := &execution{accounts: f.accounts, payments: f.payments, at: at}
			effects, err := e.run(fresh(c))
			require.NoError(t, err)
			return effects[0]
		}
		order := func(amount money.Amount) {
			if c := newCharge(amount); run(c) == EffectSucceeded {
				charged = append(charged, c)
			}
		}
		cancel := func(i int) {
			require.Equal(t, EffectRefunded, run(charged[i].cancellation()))
			charged[i] = charged[len(charged)-1]
			charged = charged[:len(charged)-1]
		}
		top := func(amount money.Amount) (accepted bool) {
			_, err := account.TopUp(amount, at)
			return err == nil
		}
		amounts := rapid.OneOf(rapid.Int64Range(1, int64(money.Max)), rapid.Just(int64(money.Max)))
		t.Repeat(map[string]func(*rapid.T){
			"top up": func(t *rapid.T) { top(money.Amount(amounts.Draw(t, "amount"))) },
			"order":  func(t *rapid.T) { order(money.Amount(amounts.Draw(t, "amount"))) },
			"spend the largest deposits": func(*rapid.T) { // more than fit in an int64
				for range math.MaxInt64/int(money.Max) + 1 {
					if !top(money.Max) {
						return
					}
					order(money.Max)
				}
			},
			"cancel": func(t *rapid.T) {
				if len(charged) > 0 {
					cancel(rapid.IntRange(0, len(charged)-1).Draw(t, "order"))
				}
			},
			"cancel all": func(*rapid.T) {
				for len(charged) > 0 {
					cancel(len(charged) - 1)
				}
			},
			"": func(t *rapid.T) {
				refundable := money.Amount(0)
				for _, c := range charged {
					refundable += c.Amount
				}
				require.Equal(t, account.Deposited, account.Balance+refundable)
				require.LessOrEqual(t, account.Deposited, money.Max)
			},
		})
	})
}

// More may have been deposited before there was a limit for it.
func TestRefundOutOfRangeIsRejected(t *testing.T) {
	t.Parallel()
	a := Account{UserID: 1, Balance: math.MaxInt64 - 5, Deposited: math.MaxInt64}
	_, err := a.Refund(uuid.New(), 0, at)
	require.ErrorIs(t, err, ErrAmount)
	_, err = a.TopUp(1, at)
	require.ErrorIs(t, err, ErrDepositsTooLarge)
	e, err := a.Refund(uuid.New(), 5, at)
	require.NoError(t, err)
	require.Equal(t, LedgerShop, e.Debit)
	require.Equal(t, LedgerUser, e.Credit)
	_, err = a.Refund(uuid.New(), 1, at)
	require.ErrorIs(t, err, ErrBalanceTooLarge)
	require.EqualValues(t, 1, a.Seq)
}
