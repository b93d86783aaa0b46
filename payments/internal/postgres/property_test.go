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
	"gozon/shared/delivery"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/delivery/inbox"
	"gozon/shared/test/databasetest"
)

// For any sequence of deposits and messages, in any batches, with any repetitions, and with
// a pruned inbox:
//   - a balance is the sum of its top-ups minus its succeeded payments, and never negative
//   - each order is decided once, and only a cancellation changes that, from succeeded to refunded
//   - an order that is cancelled first is never charged
//   - no audit finds a difference
func TestMoneyIsExactForEveryInterleaving(t *testing.T) {
	t.Parallel()
	_, opened := databasetest.New(t).Open(t, postgres.Schema, migrations.FS)
	db := opened.Gorm
	store := postgres.NewStore(delivery.NewStore(delivery.Config{EventsPerMessage: 256}, opened, postgres.Schema))
	service := payment.NewService(store)
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		users := []int64{rapid.Int64Range(1, 1<<52).Draw(t, "user"), rapid.Int64Range(1, 1<<52).Draw(t, "user"), rapid.Int64Range(1, 1<<52).Draw(t, "user")}
		m := &model{topUps: map[int64]money.Amount{}, decided: map[uuid.UUID]payment.Status{}}
		for _, u := range users { // an earlier iteration may have drawn the same user
			if a, err := service.Account(ctx, u); err == nil {
				m.topUps[u] = a.Balance + m.succeeded(t, db, u)
			}
		}
		var sent []command
		var deposits []idempotency.Request[payment.Deposit]
		var responses []payment.Deposited
		t.Repeat(map[string]func(*rapid.T){
			"top up": func(t *rapid.T) {
				d := payment.Deposit{UserID: rapid.SampledFrom(users).Draw(t, "user"), Amount: money.Amount(rapid.Int64Range(0, 500).Draw(t, "amount"))}
				value := ""
				if rapid.Bool().Draw(t, "with a key") {
					value = newID(t).String()
				}
				key, err := idempotency.NewKey(d.UserID, "deposit", value, d)
				require.NoError(t, err)
				r := idempotency.Request[payment.Deposit]{Key: key, Body: d}
				done, err := service.Deposit(ctx, []idempotency.Request[payment.Deposit]{r})
				require.NoError(t, err)
				require.NoError(t, done[0].Err)
				m.topUps[d.UserID] += d.Amount
				if value != "" {
					deposits, responses = append(deposits, r), append(responses, done[0].Value)
				}
			},
			"retry a top-up": func(t *rapid.T) { // the client did not receive the response
				if len(deposits) == 0 {
					t.Skip("no deposit with a key")
				}
				i := rapid.IntRange(0, len(deposits)-1).Draw(t, "deposit")
				done, err := service.Deposit(ctx, deposits[i:i+1])
				require.NoError(t, err)
				require.NoError(t, done[0].Err)
				require.True(t, done[0].Replayed)
				require.Equal(t, responses[i], done[0].Value)
			},
			"new orders": func(t *rapid.T) { // or cancellations that overtook them
				message := newID(t)
				var batch []command
				for range rapid.IntRange(1, 8).Draw(t, "orders") {
					if rapid.Bool().Draw(t, "in a new message") {
						message = newID(t)
					}
					batch = append(batch, command{ID: newID(t), Claim: message, Data: payment.Command{
						OrderID: newID(t), UserID: rapid.SampledFrom(users).Draw(t, "user"),
						Amount: money.Amount(rapid.Int64Range(1, 300).Draw(t, "amount")), Cancel: rapid.IntRange(0, 4).Draw(t, "overtaken") == 0,
					}})
				}
				sent = append(sent, batch...)
				m.execute(ctx, t, service, batch)
			},
			"repeated orders": func(t *rapid.T) { // redelivered events, and new ones that repeat or cancel an order, in one batch
				if len(sent) == 0 {
					t.Skip("no message was sent")
				}
				var batch []command
				for range rapid.IntRange(1, 8).Draw(t, "events") {
					c := rapid.SampledFrom(sent).Draw(t, "order")
					switch rapid.SampledFrom([]string{"redelivered", "split", "new"}).Draw(t, "how") {
					case "split": // its message is processed event by event
						c.Claim = c.ID
					case "new":
						c.ID, c.Data.Cancel = newID(t), rapid.Bool().Draw(t, "cancel")
						c.Claim = c.ID
					}
					batch = append(batch, c)
				}
				m.execute(ctx, t, service, batch)
			},
			"prune": func(t *rapid.T) {
				require.NoError(t, db.Exec("DELETE FROM payments.inbox").Error)
			},
			"audit": func(t *rapid.T) {
				report, err := store.Audit(ctx, rapid.IntRange(0, 9).Draw(t, "full") == 0)
				require.NoError(t, err)
				require.Empty(t, report.Differences)
			},
			"": func(t *rapid.T) { m.check(ctx, t, db, service, users) },
		})
	})
}

type command = inbox.Event[payment.Command]

type model struct {
	topUps  map[int64]money.Amount
	decided map[uuid.UUID]payment.Status
}

func (m *model) succeeded(t *rapid.T, db *gorm.DB, user int64) money.Amount {
	var sum int64
	require.NoError(t, db.Raw("SELECT coalesce(sum(amount), 0) FROM payments.payments WHERE user_id = ? AND status = 'succeeded'", user).Scan(&sum).Error)
	return money.Amount(sum)
}

func (m *model) execute(ctx context.Context, t *rapid.T, service *payment.Service, batch []command) {
	effects, err := service.Execute(ctx, batch)
	require.NoError(t, err)
	for i, effect := range effects {
		c := batch[i].Data
		before, known := m.decided[c.OrderID]
		switch effect {
		case payment.EffectSucceeded, payment.EffectFailed:
			require.False(t, known, "decided twice")
			require.False(t, c.Cancel)
			m.decided[c.OrderID] = map[payment.Effect]payment.Status{
				payment.EffectSucceeded: payment.StatusSucceeded, payment.EffectFailed: payment.StatusFailed,
			}[effect]
		case payment.EffectVoided:
			require.False(t, known, "decided twice")
			require.True(t, c.Cancel)
			m.decided[c.OrderID] = payment.StatusVoided
		case payment.EffectRefunded:
			require.True(t, c.Cancel)
			require.Equal(t, payment.StatusSucceeded, before, "refunded without a charge, or twice")
			m.decided[c.OrderID] = payment.StatusRefunded
		case payment.EffectReplayed:
			require.True(t, known, "replayed without a decision")
			require.False(t, c.Cancel && before == payment.StatusSucceeded, "cancelled without a refund")
		case payment.EffectDuplicate:
			require.True(t, known, "duplicate without a decision")
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
		require.Equal(t, m.topUps[u]-m.succeeded(t, db, u), account.Balance)
		require.GreaterOrEqual(t, account.Balance, money.Amount(0))
		page, err := service.EntriesOf(ctx, u, account.Seq+1, 1000)
		require.NoError(t, err)
		require.False(t, page.More)
		require.Len(t, page.Entries, int(account.Seq))
		for i, e := range page.Entries { // newest first
			require.Equal(t, account.Seq-int64(i), e.Seq)
			before := money.Amount(0)
			if i+1 < len(page.Entries) {
				before = page.Entries[i+1].BalanceAfter
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
