package payment

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/inbox"
)

// fixture has the rows of a store, without a store.
type fixture struct {
	accounts map[int64]*Account
	payments map[uuid.UUID]Payment
}

// newFixture has one account, of user 1.
func newFixture(balance money.Amount) *fixture {
	return &fixture{map[int64]*Account{1: {UserID: 1, Balance: balance}}, map[uuid.UUID]Payment{}}
}

// execute executes a set of fresh commands.
func (f *fixture) execute(t *testing.T, commands ...Command) ([]Effect, *execution) {
	t.Helper()
	e := &execution{accounts: f.accounts, payments: f.payments, at: at}
	effects, err := e.run(fresh(commands...))
	require.NoError(t, err)
	return effects, e
}

// fresh returns events with commands, all of them fresh.
func fresh(commands ...Command) (set []inbox.Event[Command], isFresh []bool) {
	for _, c := range commands {
		set, isFresh = append(set, inbox.Event[Command]{Data: c}), append(isFresh, true)
	}
	return set, isFresh
}

func newCharge(amount money.Amount) Command {
	return Command{OrderID: uuid.New(), UserID: 1, Amount: amount}
}

// cancellation is a command to cancel the payment of the same order.
func (c Command) cancellation() Command {
	c.Cancel = true
	return c
}

func TestChargesToOneAccountAreMadeInOrder(t *testing.T) {
	t.Parallel()
	effects, e := newFixture(100).execute(t, newCharge(40), newCharge(70), newCharge(60), newCharge(1))
	require.Equal(t, []Effect{EffectSucceeded, EffectFailed, EffectSucceeded, EffectFailed}, effects)
	c := e.changes()
	require.Equal(t, []Account{{UserID: 1, Balance: 0, Seq: 2}}, c.Accounts, "the balance is written once")
	require.Len(t, c.Entries, 2)
	require.Len(t, c.Payments, 4)
	require.Len(t, e.replies, 4)
}

func TestSameMessageAndSameOrderInOneBatchCountOnce(t *testing.T) {
	t.Parallel()
	f, charge := newFixture(100), newCharge(10)
	e := &execution{accounts: f.accounts, payments: f.payments, at: at}
	set, isFresh := fresh(charge, charge, charge)
	isFresh[1] = false // the message of the first one, delivered twice
	effects, err := e.run(set, isFresh)
	require.NoError(t, err)
	require.Equal(t, []Effect{EffectSucceeded, EffectDuplicate, EffectReplayed}, effects)
	require.EqualValues(t, 90, f.accounts[1].Balance)
	require.Len(t, e.changes().Payments, 1)
	require.Equal(t, e.replies[0], e.replies[1], "the original reply")
}

// Every sequence of a charge and its cancellation, also with repeated messages, in one batch
// and in one batch per message.
func TestCancellation(t *testing.T) {
	t.Parallel()
	rich, poor := newCharge(10), newCharge(1000)
	for name, tc := range map[string]struct {
		commands []Command
		effects  []Effect
		status   Status
		replies  []string
		balance  money.Amount
	}{
		"after the charge": {
			[]Command{rich, rich.cancellation()},
			[]Effect{EffectSucceeded, EffectRefunded},
			StatusRefunded,
			[]string{events.TypePaymentSucceeded, events.TypePaymentRefunded},
			100,
		},
		"before the order": {
			[]Command{rich.cancellation(), rich},
			[]Effect{EffectVoided, EffectReplayed},
			StatusVoided,
			[]string{events.TypePaymentVoided, events.TypePaymentVoided},
			100,
		},
		"after a refusal": {
			[]Command{poor, poor.cancellation()},
			[]Effect{EffectFailed, EffectReplayed},
			StatusFailed,
			[]string{events.TypePaymentFailed, events.TypePaymentVoided},
			100,
		},
		"twice after the charge": {
			[]Command{rich, rich.cancellation(), rich.cancellation()},
			[]Effect{EffectSucceeded, EffectRefunded, EffectReplayed},
			StatusRefunded,
			[]string{events.TypePaymentSucceeded, events.TypePaymentRefunded, events.TypePaymentRefunded},
			100,
		},
		"twice before the order, which is repeated": {
			[]Command{rich.cancellation(), rich.cancellation(), rich, rich},
			[]Effect{EffectVoided, EffectReplayed, EffectReplayed, EffectReplayed},
			StatusVoided,
			[]string{events.TypePaymentVoided, events.TypePaymentVoided, events.TypePaymentVoided, events.TypePaymentVoided},
			100,
		},
		"the order repeated after its refund": {
			[]Command{rich, rich.cancellation(), rich},
			[]Effect{EffectSucceeded, EffectRefunded, EffectReplayed},
			StatusRefunded,
			[]string{events.TypePaymentSucceeded, events.TypePaymentRefunded, events.TypePaymentRefunded},
			100,
		},
	} {
		for _, one := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, one batch %t", name, one), func(t *testing.T) {
				t.Parallel()
				f := newFixture(100)
				var effects []Effect
				var replies []string
				var entries int
				batches := [][]Command{tc.commands}
				if !one {
					batches = nil
					for _, c := range tc.commands {
						batches = append(batches, []Command{c})
					}
				}
				for _, b := range batches {
					got, executed := f.execute(t, b...)
					effects, entries = append(effects, got...), entries+len(executed.entries)
					for _, e := range executed.replies {
						replies = append(replies, e.EventType())
					}
				}
				require.Equal(t, tc.effects, effects)
				require.Equal(t, tc.replies, replies)
				require.Equal(t, tc.balance, f.accounts[1].Balance)
				require.EqualValues(t, entries, f.accounts[1].Seq)
				require.Equal(t, tc.status, f.payments[tc.commands[0].OrderID].Status)
			})
		}
	}
}

func TestPaymentCreatedAndRefundedInOneBatchIsWrittenOnce(t *testing.T) {
	t.Parallel()
	f, charge, earlier := newFixture(100), newCharge(10), newCharge(20)
	f.execute(t, earlier)
	_, e := f.execute(t, charge, earlier.cancellation(), charge.cancellation())
	c := e.changes()
	require.Len(t, c.Payments, 1)
	require.Equal(t, StatusRefunded, c.Payments[0].Status)
	require.Len(t, c.Refunded, 1)
	require.Equal(t, earlier.OrderID, c.Refunded[0].OrderID)
	require.Len(t, c.Entries, 3)
	require.Equal(t, []Account{{UserID: 1, Balance: 100, Seq: 4}}, c.Accounts)
}

func TestContradictoryCommandIsRejected(t *testing.T) {
	t.Parallel()
	f, charge := newFixture(100), newCharge(10)
	f.execute(t, charge)
	for _, cancel := range []bool{true, false} {
		for _, wrong := range []Command{{UserID: 2, Amount: 10}, {UserID: 1, Amount: 11}} {
			wrong.OrderID, wrong.Cancel = charge.OrderID, cancel
			e := &execution{accounts: f.accounts, payments: f.payments, at: at}
			_, err := e.run(fresh(wrong))
			require.ErrorIs(t, err, ErrContradiction)
		}
	}
	require.EqualValues(t, 90, f.accounts[1].Balance)
}

// The account was opened and charged after this transaction had locked the existing accounts.
// The message is retried, not dead-lettered.
func TestCancellationOfAChargeToAnUnlockedAccountIsRetried(t *testing.T) {
	t.Parallel()
	f, charge := newFixture(100), newCharge(10)
	f.execute(t, charge)
	c := charge.cancellation()
	e := &execution{accounts: map[int64]*Account{}, payments: f.payments, at: at}
	_, err := e.run(fresh(c))
	require.ErrorIs(t, err, errAccountNotLocked)
}
