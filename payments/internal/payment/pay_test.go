package payment

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
)

// world is what the store would hold: sets of messages are decided on it.
type world struct {
	accounts map[int64]*Account
	decided  map[uuid.UUID]Payment
}

func newWorld(balance money.Amount) *world {
	return &world{map[int64]*Account{1: {UserID: 1, Balance: balance}}, map[uuid.UUID]Payment{}}
}

// pay decides about a set in which every message is fresh.
func (w *world) pay(t *testing.T, orders ...Order) ([]Outcome, *decision) {
	t.Helper()
	fresh := map[uuid.UUID]bool{}
	for _, o := range orders {
		fresh[o.MessageID] = true
	}
	d := &decision{accounts: w.accounts, decided: w.decided, at: at}
	outcomes, err := d.pay(orders, fresh)
	require.NoError(t, err)
	return outcomes, d
}

func newOrder(amount money.Amount) Order {
	return Order{MessageID: uuid.New(), OrderID: uuid.New(), UserID: 1, Amount: amount}
}

// again is a new message about the same order.
func (o Order) again() Order {
	o.MessageID = uuid.New()
	return o
}

func (o Order) cancelled() Order {
	o.MessageID, o.Cancelled = uuid.New(), true
	return o
}

func TestOrdersOfOneAccountAreDecidedOneAfterTheOther(t *testing.T) {
	t.Parallel()
	outcomes, d := newWorld(100).pay(t, newOrder(40), newOrder(70), newOrder(60), newOrder(1))
	require.Equal(t, []Outcome{OutcomeSucceeded, OutcomeFailed, OutcomeSucceeded, OutcomeFailed}, outcomes)
	c := d.changes()
	require.Equal(t, []Account{{UserID: 1, Balance: 0, Seq: 2}}, c.Accounts, "one write of the balance")
	require.Len(t, c.Entries, 2)
	require.Len(t, c.Payments, 4)
	require.Len(t, d.answers, 4)
}

func TestSameMessageAndSameOrderInOneBatchCountOnce(t *testing.T) {
	t.Parallel()
	w, o := newWorld(100), newOrder(10)
	outcomes, d := w.pay(t, o, o, o.again())
	require.Equal(t, []Outcome{OutcomeSucceeded, OutcomeDuplicate, OutcomeReplayed}, outcomes)
	require.EqualValues(t, 90, w.accounts[1].Balance)
	require.Len(t, d.changes().Payments, 1)
	require.Equal(t, d.answers[0], d.answers[1], "the old answer")
}

// Every order in which an order and its cancellation can come, each once more, in one
// batch or in a batch each.
func TestCancellation(t *testing.T) {
	t.Parallel()
	rich, poor := newOrder(10), newOrder(1000)
	for name, tc := range map[string]struct {
		messages []Order
		outcomes []Outcome
		status   Status
		answers  []string
		balance  money.Amount
	}{
		"after the charge": {
			[]Order{rich, rich.cancelled()},
			[]Outcome{OutcomeSucceeded, OutcomeRefunded},
			StatusRefunded,
			[]string{events.TypePaymentSucceeded, events.TypePaymentRefunded},
			100,
		},
		"before the order": {
			[]Order{rich.cancelled(), rich},
			[]Outcome{OutcomeVoided, OutcomeReplayed},
			StatusVoided,
			[]string{events.TypePaymentVoided, events.TypePaymentVoided},
			100,
		},
		"after a refusal": {
			[]Order{poor, poor.cancelled()},
			[]Outcome{OutcomeFailed, OutcomeReplayed},
			StatusFailed,
			[]string{events.TypePaymentFailed, events.TypePaymentVoided},
			100,
		},
		"twice after the charge": {
			[]Order{rich, rich.cancelled(), rich.cancelled()},
			[]Outcome{OutcomeSucceeded, OutcomeRefunded, OutcomeReplayed},
			StatusRefunded,
			[]string{events.TypePaymentSucceeded, events.TypePaymentRefunded, events.TypePaymentRefunded},
			100,
		},
		"twice before the order, which comes twice": {
			[]Order{rich.cancelled(), rich.cancelled(), rich, rich.again()},
			[]Outcome{OutcomeVoided, OutcomeReplayed, OutcomeReplayed, OutcomeReplayed},
			StatusVoided,
			[]string{events.TypePaymentVoided, events.TypePaymentVoided, events.TypePaymentVoided, events.TypePaymentVoided},
			100,
		},
		"the order again after its refund": {
			[]Order{rich, rich.cancelled(), rich.again()},
			[]Outcome{OutcomeSucceeded, OutcomeRefunded, OutcomeReplayed},
			StatusRefunded,
			[]string{events.TypePaymentSucceeded, events.TypePaymentRefunded, events.TypePaymentRefunded},
			100,
		},
	} {
		for _, one := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, one batch %t", name, one), func(t *testing.T) {
				t.Parallel()
				w := newWorld(100)
				var outcomes []Outcome
				var answers []string
				var entries int
				batches := [][]Order{tc.messages}
				if !one {
					batches = nil
					for _, m := range tc.messages {
						batches = append(batches, []Order{m})
					}
				}
				for _, b := range batches {
					got, d := w.pay(t, b...)
					outcomes, entries = append(outcomes, got...), entries+len(d.entries)
					for _, e := range d.answers {
						answers = append(answers, e.EventType())
					}
				}
				require.Equal(t, tc.outcomes, outcomes)
				require.Equal(t, tc.answers, answers)
				require.Equal(t, tc.balance, w.accounts[1].Balance)
				require.EqualValues(t, entries, w.accounts[1].Seq)
				require.Equal(t, tc.status, w.decided[tc.messages[0].OrderID].Status)
			})
		}
	}
}

func TestWhatABatchCreatesAndRefundsIsWrittenOnce(t *testing.T) {
	t.Parallel()
	w, o, before := newWorld(100), newOrder(10), newOrder(20)
	w.pay(t, before)
	_, d := w.pay(t, o, before.cancelled(), o.cancelled())
	c := d.changes()
	require.Len(t, c.Payments, 1)
	require.Equal(t, StatusRefunded, c.Payments[0].Status)
	require.Len(t, c.Refunded, 1)
	require.Equal(t, before.OrderID, c.Refunded[0].OrderID)
	require.Len(t, c.Entries, 3)
	require.Equal(t, []Account{{UserID: 1, Balance: 100, Seq: 4}}, c.Accounts)
}

func TestRefundIsNotBoundByTheCeilingOfTopUps(t *testing.T) {
	t.Parallel()
	a := Account{UserID: 1, Balance: money.Max}
	e, err := a.Refund(uuid.New(), 5, at)
	require.NoError(t, err)
	require.Equal(t, money.Max+5, a.Balance)
	require.Equal(t, LedgerShop, e.Debit)
	require.Equal(t, LedgerUser, e.Credit)
	_, err = a.TopUp(1, at)
	require.ErrorIs(t, err, ErrBalanceTooLarge)
	a.Balance = math.MaxInt64 - 4
	_, err = a.Refund(uuid.New(), 5, at)
	require.ErrorIs(t, err, ErrBalanceTooLarge)
	_, err = a.Refund(uuid.New(), 0, at)
	require.ErrorIs(t, err, ErrAmount)
	require.EqualValues(t, 1, a.Seq)
}

func TestMessageThatContradictsThePaymentIsRefused(t *testing.T) {
	t.Parallel()
	w, o := newWorld(100), newOrder(10)
	w.pay(t, o)
	for _, cancelled := range []bool{true, false} {
		for _, wrong := range []Order{{UserID: 2, Amount: 10}, {UserID: 1, Amount: 11}} {
			wrong.MessageID, wrong.OrderID, wrong.Cancelled = uuid.New(), o.OrderID, cancelled
			d := &decision{accounts: w.accounts, decided: w.decided, at: at}
			_, err := d.pay([]Order{wrong}, map[uuid.UUID]bool{wrong.MessageID: true})
			require.ErrorIs(t, err, ErrContradiction)
		}
	}
	require.EqualValues(t, 90, w.accounts[1].Balance)
}

// The account was not there to lock, yet the payment says that it was charged: it was
// opened in between. That is for another try, not for the dead-letter queue.
func TestCancellationThatMissedTheOpeningOfTheAccount(t *testing.T) {
	t.Parallel()
	w, o := newWorld(100), newOrder(10)
	w.pay(t, o)
	c := o.cancelled()
	d := &decision{accounts: map[int64]*Account{}, decided: w.decided, at: at}
	_, err := d.pay([]Order{c}, map[uuid.UUID]bool{c.MessageID: true})
	require.ErrorIs(t, err, errOpenedMeanwhile)
}

// Kept results outlive a deployment by a day: their form stays, and so does what a
// fingerprint is made of.
func TestKeptResultIsItsGolden(t *testing.T) {
	t.Parallel()
	result, err := json.Marshal(Deposited{Account: Account{UserID: 1, Balance: money.Max + 1, Seq: 2, CreatedAt: at}, Opened: true})
	require.NoError(t, err)
	require.JSONEq(t, `{"Account":{"UserID":1,"Balance":10000000000000,"Seq":2,"CreatedAt":"2026-01-02T03:04:05Z"},"Opened":true}`, string(result))
	var back Deposited
	require.NoError(t, json.Unmarshal(result, &back))
	require.Equal(t, money.Max+1, back.Account.Balance)
	what, err := json.Marshal(Deposit{UserID: 1, Amount: 1})
	require.NoError(t, err)
	require.Equal(t, `{"UserID":1,"Amount":0.01}`, string(what))
}
