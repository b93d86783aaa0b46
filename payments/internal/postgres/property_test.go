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
	"gozon/shared/contract/money"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/test/databasetest"
)

// Whatever comes in whatever order, in whatever batches, however often, and whatever
// was forgotten meanwhile: a balance is its top-ups less its paid orders and never
// below zero; each order is decided once, and leaves that only from paid to refunded,
// for a cancellation; an order whose cancellation came first is never charged.
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
		var deposits []idempotency.Request[payment.Deposit]
		var answers []payment.Deposited
		t.Repeat(map[string]func(*rapid.T){
			"top up": func(t *rapid.T) {
				d := payment.Deposit{UserID: rapid.SampledFrom(users).Draw(t, "user"), Amount: money.Amount(rapid.Int64Range(0, 500).Draw(t, "amount"))}
				value := ""
				if rapid.Bool().Draw(t, "with a key") {
					value = newID(t).String()
				}
				key, err := idempotency.NewKey(d.UserID, "deposit", value, d)
				require.NoError(t, err)
				r := idempotency.Request[payment.Deposit]{Key: key, What: d}
				done, err := service.Deposit(ctx, []idempotency.Request[payment.Deposit]{r})
				require.NoError(t, err)
				require.NoError(t, done[0].Err)
				m.topUps[d.UserID] += d.Amount
				if value != "" {
					deposits, answers = append(deposits, r), append(answers, done[0].Value)
				}
			},
			"top up again": func(t *rapid.T) { // by clients that did not see the answer
				if len(deposits) == 0 {
					t.Skip("nothing with a key")
				}
				i := rapid.IntRange(0, len(deposits)-1).Draw(t, "deposit")
				done, err := service.Deposit(ctx, deposits[i:i+1])
				require.NoError(t, err)
				require.NoError(t, done[0].Err)
				require.True(t, done[0].Replayed)
				require.Equal(t, answers[i], done[0].Value)
			},
			"new orders": func(t *rapid.T) { // or their cancellations, which overtook them
				var batch []payment.Order
				for range rapid.IntRange(1, 8).Draw(t, "orders") {
					batch = append(batch, payment.Order{
						MessageID: newID(t), OrderID: newID(t), UserID: rapid.SampledFrom(users).Draw(t, "user"),
						Amount: money.Amount(rapid.Int64Range(1, 300).Draw(t, "amount")), Cancelled: rapid.IntRange(0, 4).Draw(t, "overtaken") == 0,
					})
				}
				sent = append(sent, batch...)
				m.pay(ctx, t, service, batch)
			},
			"again": func(t *rapid.T) { // the same messages, the same orders in new ones, or the other message about them, mixed in one batch
				if len(sent) == 0 {
					t.Skip("nothing was sent")
				}
				var batch []payment.Order
				for range rapid.IntRange(1, 8).Draw(t, "messages") {
					o := rapid.SampledFrom(sent).Draw(t, "order")
					if rapid.Bool().Draw(t, "in a new message") {
						o.MessageID, o.Cancelled = newID(t), rapid.Bool().Draw(t, "cancelled")
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
	for i, outcome := range outcomes {
		o := batch[i]
		before, known := m.decided[o.OrderID]
		switch outcome {
		case payment.OutcomeSucceeded, payment.OutcomeFailed:
			require.False(t, known, "decided twice")
			require.False(t, o.Cancelled)
			m.decided[o.OrderID] = map[payment.Outcome]payment.Status{
				payment.OutcomeSucceeded: payment.StatusSucceeded, payment.OutcomeFailed: payment.StatusFailed,
			}[outcome]
		case payment.OutcomeVoided:
			require.False(t, known, "decided twice")
			require.True(t, o.Cancelled)
			m.decided[o.OrderID] = payment.StatusVoided
		case payment.OutcomeRefunded:
			require.True(t, o.Cancelled)
			require.Equal(t, payment.StatusSucceeded, before, "refunded, but never charged, or twice")
			m.decided[o.OrderID] = payment.StatusRefunded
		case payment.OutcomeReplayed:
			require.True(t, known, "replayed, but never decided")
			require.False(t, o.Cancelled && before == payment.StatusSucceeded, "cancelled, but not refunded")
		case payment.OutcomeDuplicate:
			require.True(t, known, "duplicate, but never decided")
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
