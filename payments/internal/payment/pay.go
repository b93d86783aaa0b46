package payment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
)

// Outcome is what an order's message did.
type Outcome string

// The outcomes. Only OutcomeSucceeded and OutcomeRefunded moved money.
const (
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeFailed    Outcome = "failed"
	OutcomeVoided    Outcome = "voided" // cancelled before it was charged
	OutcomeRefunded  Outcome = "refunded"
	OutcomeReplayed  Outcome = "replayed"  // a new message about what was decided before: answered by that
	OutcomeDuplicate Outcome = "duplicate" // this very message was here before
)

// Pay decides about a set of orders and cancellations in one transaction: claim, lock,
// decide, save, emit. It returns one outcome for each; those of one account are decided
// one after the other, in the order of the set. A [RuleError] is the fault of one of them.
func (s *Service) Pay(ctx context.Context, orders []Order) ([]Outcome, error) {
	var outcomes []Outcome
	err := s.store.InTx(ctx, func(tx Tx) error {
		messages := make([]uuid.UUID, len(orders))
		for i, o := range orders {
			messages[i] = o.MessageID
		}
		fresh, err := tx.Claim(ctx, messages...)
		if err != nil {
			return err
		}
		var users []int64
		var ids []uuid.UUID
		for _, o := range orders {
			if fresh[o.MessageID] {
				users, ids = append(users, o.UserID), append(ids, o.OrderID)
			}
		}
		if len(ids) == 0 {
			outcomes = duplicates(len(orders))
			return nil
		}
		accounts, err := tx.AccountsForUpdate(ctx, users...)
		if err != nil {
			return err
		}
		// Read under the locks: whoever decided about one of these orders before has
		// committed by now. Without an account there is no lock; then the payment's
		// key refuses the slower one, which comes again and finds the payment here.
		decided, err := tx.Payments(ctx, ids...)
		if err != nil {
			return err
		}
		d := decision{accounts: accounts, decided: decided, at: now()}
		if outcomes, err = d.pay(orders, fresh); err != nil {
			return err
		}
		if err := tx.Save(ctx, d.changes()); err != nil {
			return err
		}
		return tx.Emit(ctx, d.answers...)
	})
	if err != nil {
		return nil, fmt.Errorf("pay %d orders: %w", len(orders), err)
	}
	return outcomes, nil
}

func duplicates(n int) []Outcome {
	outcomes := make([]Outcome, n)
	for i := range outcomes {
		outcomes[i] = OutcomeDuplicate
	}
	return outcomes
}

// decision decides about a set, one order or cancellation after the other: each sees
// what became of those before it.
type decision struct {
	accounts map[int64]*Account
	decided  map[uuid.UUID]Payment
	at       time.Time

	created, refunded []uuid.UUID // of decided, in the order of the set
	entries           []Entry
	answers           []events.Event
}

// pay uses up fresh, so that a message that stands twice in the set counts once.
func (d *decision) pay(orders []Order, fresh map[uuid.UUID]bool) ([]Outcome, error) {
	outcomes := duplicates(len(orders))
	for i, o := range orders {
		if !fresh[o.MessageID] {
			continue
		}
		delete(fresh, o.MessageID)
		p, known := d.decided[o.OrderID]
		if known && (p.UserID != o.UserID || p.Amount != o.Amount) {
			return nil, fmt.Errorf("%w: order %s is of user %d and amount %s", ErrContradiction, o.OrderID, p.UserID, p.Amount)
		}
		var err error
		switch {
		case o.Cancelled && known:
			outcomes[i], err = d.cancel(p)
		case o.Cancelled:
			outcomes[i] = OutcomeVoided
			d.create(Void(o, d.at))
		case known:
			outcomes[i] = OutcomeReplayed
		default:
			outcomes[i], err = d.charge(o)
		}
		if err != nil {
			return nil, err
		}
		p = d.decided[o.OrderID]
		if o.Cancelled {
			d.answers = append(d.answers, p.Cancelled())
		} else {
			d.answers = append(d.answers, p.Event())
		}
	}
	return outcomes, nil
}

func (d *decision) create(p Payment) {
	d.decided[p.OrderID] = p
	d.created = append(d.created, p.OrderID)
}

func (d *decision) charge(o Order) (Outcome, error) {
	p, entry, err := Decide(o, d.accounts[o.UserID], d.at)
	if err != nil {
		return "", err
	}
	d.create(p)
	if entry == nil {
		return OutcomeFailed, nil
	}
	d.entries = append(d.entries, *entry)
	return OutcomeSucceeded, nil
}

var errOpenedMeanwhile = errors.New("the account was opened after its lock was asked for")

func (d *decision) cancel(p Payment) (Outcome, error) {
	if p.Status == StatusSucceeded && d.accounts[p.UserID] == nil {
		// No account was there to lock, and by the time the payments were read it had been
		// opened and charged. The next try sees both.
		return "", errOpenedMeanwhile
	}
	entry, err := p.Cancel(d.accounts[p.UserID], d.at)
	if err != nil {
		return "", err
	}
	if entry == nil {
		return OutcomeReplayed, nil
	}
	d.entries = append(d.entries, *entry)
	d.decided[p.OrderID] = p
	d.refunded = append(d.refunded, p.OrderID)
	return OutcomeRefunded, nil
}

func (d *decision) changes() Changes {
	c := Changes{Accounts: touched(d.accounts, d.entries), Entries: d.entries}
	fresh := make(map[uuid.UUID]bool, len(d.created))
	for _, id := range d.created {
		fresh[id] = true
		c.Payments = append(c.Payments, d.decided[id])
	}
	for _, id := range d.refunded {
		if !fresh[id] { // else it is saved with the status that it has by now
			c.Refunded = append(c.Refunded, d.decided[id])
		}
	}
	return c
}

// touched are the accounts that entries were posted to, each once: however many
// those are, one write of the balance is enough.
func touched(accounts map[int64]*Account, entries []Entry) []Account {
	var changed []Account
	seen := make(map[int64]bool, len(entries))
	for _, e := range entries {
		if !seen[e.UserID] {
			seen[e.UserID] = true
			changed = append(changed, *accounts[e.UserID])
		}
	}
	return changed
}
