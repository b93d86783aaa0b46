package order

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/inbox"
)

// settleAll settles decisions, all of which are fresh, and the orders that they are about.
func settleAll(trusted time.Time, orders []*Order, decisions ...PaymentDecision) (*settlement, []Settled, error) {
	s := &settlement{orders: map[uuid.UUID]*Order{}, trusted: trusted, at: after(9), touched: map[uuid.UUID]*Order{}}
	for _, o := range orders {
		s.orders[o.ID] = o
	}
	set, claimed := make([]inbox.Event[PaymentDecision], len(decisions)), map[uuid.UUID]bool{}
	for i, d := range decisions {
		id := uuid.New()
		set[i], claimed[id] = inbox.Event[PaymentDecision]{ID: id, Claim: id, Data: d}, true
	}
	settled, err := s.run(set, inbox.Fresh(set, claimed))
	return s, settled, err
}

// of returns a decision about an order.
func of(o Order, d PaymentDecision) PaymentDecision {
	d.OrderID, d.UserID, d.Amount = o.ID, o.UserID, o.Price
	return d
}

func TestSameMessageTwiceInOneBatchCountsOnce(t *testing.T) {
	t.Parallel()
	o, id := orderIn(t, "new"), uuid.New()
	message := inbox.Event[PaymentDecision]{ID: id, Claim: id, Data: of(o, succeeded)}
	set := []inbox.Event[PaymentDecision]{message, message}
	s := settlement{orders: map[uuid.UUID]*Order{o.ID: &o}, at: after(9), touched: map[uuid.UUID]*Order{}}
	settled, err := s.run(set, inbox.Fresh(set, map[uuid.UUID]bool{id: true}))
	require.NoError(t, err)
	require.Equal(t, EffectApplied, settled[0].Effect)
	require.Equal(t, EffectDuplicate, settled[1].Effect)
	require.Len(t, s.changed(), 1)
	require.EqualValues(t, 2, s.changed()[0].Version)
}

// It must not be acknowledged silently: money may have moved that the order does not show.
func TestImpossibleDecisionIsAnError(t *testing.T) {
	t.Parallel()
	paid := orderIn(t, "paid")
	_, _, err := settleAll(time.Time{}, []*Order{&paid}, of(paid, failed))
	require.ErrorIs(t, err, ErrContradiction)
	require.IsType(t, RuleError(""), ErrContradiction)
}

// The user and the price of an order never change, so the decision is not about this order,
// whenever it was sent.
func TestDecisionWithAnotherUserOrAmountIsAnError(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"new", "paid", "refused", "cancelling", "voided", "refunded"} {
		for _, d := range []PaymentDecision{succeeded, failed, voided, refunded} {
			o := orderIn(t, state)
			before := o
			otherUser, otherAmount := o, o
			otherUser.UserID++
			otherAmount.Price++
			for _, other := range []Order{otherUser, otherAmount} {
				s, _, err := settleAll(after(100), []*Order{&o}, of(other, d))
				require.ErrorIs(t, err, ErrContradiction, "%s then %s", state, d.Status)
				require.Equal(t, before, o)
				require.Empty(t, s.emitted)
			}
		}
	}
}

func TestOrderThatChangesTwiceInOneBatchIsWrittenOnce(t *testing.T) {
	t.Parallel()
	o := orderIn(t, "cancelling")
	s, settled, err := settleAll(time.Time{}, []*Order{&o}, of(o, succeeded), of(o, refunded))
	require.NoError(t, err)
	require.Equal(t, EffectNoted, settled[0].Effect)
	require.Equal(t, EffectApplied, settled[1].Effect)
	require.Len(t, s.changed(), 1)
	require.Equal(t, StatusCancelled, s.changed()[0].Status)
	require.EqualValues(t, 4, s.changed()[0].Version)
}

// Every decision about an order that does not exist. Only a charge is undone, and the reply to
// that emits nothing.
func TestDecisionWithoutAnOrder(t *testing.T) {
	t.Parallel()
	lost := orderIn(t, "new")
	for _, d := range []PaymentDecision{succeeded, failed, voided, voidedRefused, refunded} {
		s, settled, err := settleAll(time.Time{}, nil, of(lost, d))
		require.NoError(t, err)
		require.Empty(t, s.changed())
		require.Zero(t, settled[0].Order)
		if d.Status == PaymentSucceeded {
			require.Equal(t, EffectOrphaned, settled[0].Effect)
			require.Equal(t, []events.Event{events.OrderCancelRequested{OrderID: lost.ID.String(), UserID: lost.UserID, Amount: int64(lost.Price)}}, s.emitted)
			continue
		}
		require.Equal(t, EffectIgnored, settled[0].Effect, d.Status)
		require.Empty(t, s.emitted, d.Status)
	}
	for _, incomplete := range []Order{{ID: lost.ID, Price: 1}, {ID: lost.ID, UserID: 1}} {
		_, _, err := settleAll(time.Time{}, nil, of(incomplete, succeeded))
		require.ErrorIs(t, err, ErrNotFound, "payments would reject the request")
	}
}

// Every decision in every state. A decision that was sent before an interruption changes no
// order. If it would, or if it contradicts the order, payments is asked again.
func TestStaleDecision(t *testing.T) {
	t.Parallel()
	trusted := after(100)
	for _, state := range []string{
		"new", "paid", "refused", "cancelling", "cancelling, charged", "cancelling, refused", "cancelling, was paid", "voided", "refunded",
	} {
		for _, d := range []PaymentDecision{succeeded, failed, voided, voidedRefused, refunded} {
			o := orderIn(t, state)
			before, applied := o, o
			effect := applied.Settle(d, after(9))
			d.At = trusted.Add(-1)
			s, settled, err := settleAll(trusted, []*Order{&o}, of(o, d))
			require.Equal(t, before, o)
			require.Empty(t, s.changed())
			switch {
			case effect == EffectDuplicate:
				require.NoError(t, err)
				require.Equal(t, EffectDuplicate, settled[0].Effect)
				require.Empty(t, s.emitted)
			case o.Status == StatusCancelled:
				require.ErrorIs(t, err, ErrContradiction, "it is final, so payments has nothing to add")
			default:
				require.NoError(t, err)
				require.Equal(t, EffectStale, settled[0].Effect)
				require.Equal(t, []events.Event{o.command()}, s.emitted, "%s then %s", state, d.Status)
			}
			for _, at := range []time.Time{trusted, {}} { // the reply to the repeated request, or one of unknown age
				d.At = at
				_, settled, err := settleAll(trusted, []*Order{&o}, of(o, d))
				if effect == EffectContradictory {
					require.ErrorIs(t, err, ErrContradiction)
					continue
				}
				require.NoError(t, err)
				require.Equal(t, effect, settled[0].Effect)
				o = before
			}
		}
	}
}
