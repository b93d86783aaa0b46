package payment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/inbox"
)

// Effect is the effect of a command.
type Effect string

// The effects. Only EffectSucceeded and EffectRefunded move money.
const (
	EffectSucceeded Effect = "succeeded"
	EffectFailed    Effect = "failed"
	EffectVoided    Effect = "voided" // cancelled before it was charged
	EffectRefunded  Effect = "refunded"
	EffectReplayed  Effect = "replayed"  // a new message that changed nothing: the reply is the existing payment
	EffectDuplicate Effect = "duplicate" // the message was processed before
)

// Execute executes a set of commands in one transaction and emits their replies. It returns
// one effect per command. Commands for one account are executed in the order of the set. A
// [RuleError] is caused by a single command of the set.
func (s *Service) Execute(ctx context.Context, commands []inbox.Event[Command]) (effects []Effect, err error) {
	err = s.store.InTx(ctx, func(tx Tx) error {
		users, orders := make([]int64, len(commands)), make([]uuid.UUID, len(commands))
		for i, c := range commands {
			users[i], orders[i] = c.Data.UserID, c.Data.OrderID
		}
		// The payments are read while the accounts are locked, so that a transaction that
		// created one of them has committed. A user without an account has no row to lock. Two
		// transactions may then create the payment of the same order: the primary key fails
		// the later one, and its retry finds the payment.
		claimed, accounts, payments, err := tx.ClaimForUpdate(ctx, inbox.Claims(commands), users, orders)
		if err != nil {
			return err
		}
		e := execution{accounts: accounts, payments: payments, at: now()}
		if effects, err = e.run(commands, inbox.Fresh(commands, claimed)); err != nil {
			return err
		}
		if err := tx.Save(ctx, e.changes()); err != nil {
			return err
		}
		return tx.Emit(ctx, e.replies...)
	})
	if err != nil {
		return nil, fmt.Errorf("execute %d payment commands: %w", len(commands), err)
	}
	return effects, nil
}

// execution executes a set of commands in order. Each sees the effects of those before it.
type execution struct {
	accounts map[int64]*Account
	payments map[uuid.UUID]Payment // by order
	at       time.Time

	created, refunded []uuid.UUID // orders of payments, in the order of the set
	entries           []Entry
	replies           []events.Event
}

// run executes the fresh ones of commands and returns the effects of all.
func (e *execution) run(commands []inbox.Event[Command], fresh []bool) ([]Effect, error) {
	effects := make([]Effect, len(commands))
	for i, event := range commands {
		if !fresh[i] {
			effects[i] = EffectDuplicate
			continue
		}
		c := event.Data
		p, known := e.payments[c.OrderID]
		if known && (p.UserID != c.UserID || p.Amount != c.Amount) {
			return nil, fmt.Errorf("%w: order %s is of user %d and amount %s", ErrContradiction, c.OrderID, p.UserID, p.Amount)
		}
		var err error
		switch {
		case c.Cancel && known:
			effects[i], err = e.cancel(p)
		case c.Cancel:
			effects[i] = EffectVoided
			e.create(c.Void(e.at))
		case known:
			effects[i] = EffectReplayed
		default:
			effects[i], err = e.charge(c)
		}
		if err != nil {
			return nil, err
		}
		p = e.payments[c.OrderID]
		if c.Cancel {
			e.replies = append(e.replies, p.CancelReply())
		} else {
			e.replies = append(e.replies, p.ChargeReply())
		}
	}
	return effects, nil
}

func (e *execution) create(p Payment) {
	e.payments[p.OrderID] = p
	e.created = append(e.created, p.OrderID)
}

func (e *execution) charge(c Command) (Effect, error) {
	p, entry, err := c.Charge(e.accounts[c.UserID], e.at)
	if err != nil {
		return "", err
	}
	e.create(p)
	if entry == nil {
		return EffectFailed, nil
	}
	e.entries = append(e.entries, *entry)
	return EffectSucceeded, nil
}

// errAccountNotLocked is not permanent: a retry locks the account.
var errAccountNotLocked = errors.New("the account was opened after the accounts were locked")

func (e *execution) cancel(p Payment) (Effect, error) {
	account := e.accounts[p.UserID]
	if p.Status == StatusSucceeded && account == nil {
		// Another transaction opened and charged the account between the two reads.
		return "", errAccountNotLocked
	}
	entry, err := p.Cancel(account, e.at)
	if err != nil {
		return "", err
	}
	if entry == nil {
		return EffectReplayed, nil
	}
	e.entries = append(e.entries, *entry)
	e.payments[p.OrderID] = p
	e.refunded = append(e.refunded, p.OrderID)
	return EffectRefunded, nil
}

func (e *execution) changes() Changes {
	c := Changes{Accounts: changed(e.accounts, e.entries), Entries: e.entries}
	created := make(map[uuid.UUID]bool, len(e.created))
	for _, id := range e.created {
		created[id] = true
		c.Payments = append(c.Payments, e.payments[id])
	}
	for _, id := range e.refunded {
		if !created[id] { // a payment created by this set is inserted with its final status
			c.Refunded = append(c.Refunded, e.payments[id])
		}
	}
	return c
}
