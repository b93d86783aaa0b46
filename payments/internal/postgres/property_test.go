package postgres_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"pgregory.net/rapid"

	"gozon/payments/internal/payment"
	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/databasetest"
	"gozon/shared/money"
)

// Whatever comes in whatever order, in whatever batches, however often, and whatever
// was forgotten meanwhile: a balance is its top-ups less its paid orders and never
// below zero, each order is decided once and stays so.
func TestMoneyIsExactForEveryInterleaving(t *testing.T) {
	t.Parallel()
	_, db := databasetest.New(t).Open(t, postgres.Schema, migrations.FS)
	service := payment.NewService(postgres.NewStore(db, func() {}))
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		users := []int64{rapid.Int64Range(1, 1<<52).Draw(t, "user"), rapid.Int64Range(1, 1<<52).Draw(t, "user"), rapid.Int64Range(1, 1<<52).Draw(t, "user")}
		m := &model{topUps: map[int64]money.Amount{}, decided: map[uuid.UUID]payment.Status{}}
		for _, u := range users { // an earlier run may have drawn the same user
			if a, err := service.Account(ctx, u); err == nil {
				m.topUps[u] = a.Balance + m.paidBefore(t, db, u)
			}
		}
		var sent []payment.Order
		t.Repeat(map[string]func(*rapid.T){
			"top up": func(t *rapid.T) {
				d := payment.Deposit{UserID: rapid.SampledFrom(users).Draw(t, "user"), Amount: money.Amount(rapid.Int64Range(0, 500).Draw(t, "amount"))}
				done, err := service.Deposit(ctx, []payment.Deposit{d})
				require.NoError(t, err)
				require.NoError(t, done[0].Err)
				m.topUps[d.UserID] += d.Amount
			},
			"new orders": func(t *rapid.T) {
				var batch []payment.Order
				for range rapid.IntRange(1, 8).Draw(t, "orders") {
					batch = append(batch, payment.Order{
						MessageID: newID(t), OrderID: newID(t), UserID: rapid.SampledFrom(users).Draw(t, "user"),
						Amount: money.Amount(rapid.Int64Range(1, 300).Draw(t, "amount")),
					})
				}
				sent = append(sent, batch...)
				m.pay(ctx, t, service, batch)
			},
			"again": func(t *rapid.T) { // the same messages, or the same orders in new ones, mixed in one batch
				if len(sent) == 0 {
					t.Skip("nothing was sent")
				}
				var batch []payment.Order
				for range rapid.IntRange(1, 8).Draw(t, "messages") {
					o := rapid.SampledFrom(sent).Draw(t, "order")
					if rapid.Bool().Draw(t, "in a new message") {
						o.MessageID = newID(t)
					}
					batch = append(batch, o)
				}
				m.pay(ctx, t, service, batch)
			},
			"prune": func(t *rapid.T) {
				require.NoError(t, db.Exec("DELETE FROM payments.inbox").Error)
			},
			"": func(t *rapid.T) { m.check(ctx, t, db, service, users) },
		})
	})
}

type model struct {
	topUps  map[int64]money.Amount
	decided map[uuid.UUID]payment.Status
}

func (m *model) paidBefore(t *rapid.T, db *gorm.DB, user int64) money.Amount {
	var paid int64
	require.NoError(t, db.Raw("SELECT coalesce(sum(amount), 0) FROM payments.payments WHERE user_id = ? AND status = 'succeeded'", user).Scan(&paid).Error)
	return money.Amount(paid)
}

func (m *model) pay(ctx context.Context, t *rapid.T, service *payment.Service, batch []payment.Order) {
	outcomes, err := service.Pay(ctx, batch)
	require.NoError(t, err)
	for i, o := range outcomes {
		_, before := m.decided[batch[i].OrderID]
		switch o {
		case payment.OutcomeSucceeded, payment.OutcomeFailed:
			require.False(t, before, "decided twice")
			m.decided[batch[i].OrderID] = map[payment.Outcome]payment.Status{
				payment.OutcomeSucceeded: payment.StatusSucceeded, payment.OutcomeFailed: payment.StatusFailed,
			}[o]
		case payment.OutcomeReplayed, payment.OutcomeDuplicate:
			require.True(t, before, "%s, but never decided", o)
		}
	}
}

func (m *model) check(ctx context.Context, t *rapid.T, db *gorm.DB, service *payment.Service, users []int64) {
	for id, status := range m.decided {
		var now payment.Status
		require.NoError(t, db.Raw("SELECT status FROM payments.payments WHERE order_id = ?", id).Scan(&now).Error)
		require.Equal(t, status, now)
	}
	for _, u := range users {
		account, err := service.Account(ctx, u)
		if err != nil {
			require.ErrorIs(t, err, payment.ErrAccountNotFound)
			continue
		}
		require.Equal(t, m.topUps[u]-m.paidBefore(t, db, u), account.Balance)
		require.GreaterOrEqual(t, account.Balance, money.Amount(0))
		entries, more, err := service.EntriesOf(ctx, u, account.Seq+1, 1000)
		require.NoError(t, err)
		require.False(t, more)
		require.Len(t, entries, int(account.Seq))
		for i, e := range entries { // newest first
			require.Equal(t, account.Seq-int64(i), e.Seq)
			before := money.Amount(0)
			if i+1 < len(entries) {
				before = entries[i+1].BalanceAfter
			}
			if e.Credit == payment.LedgerUser {
				require.Equal(t, before+e.Amount, e.BalanceAfter)
			} else {
				require.Equal(t, before-e.Amount, e.BalanceAfter)
			}
		}
	}
}

func newID(t *rapid.T) uuid.UUID {
	id, err := uuid.NewV7()
	require.NoError(t, err)
	return id
}
