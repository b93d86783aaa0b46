package payment

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/events"
	"gozon/shared/money"
)

// Store keeps accounts, payments and entries. Its reads see what was committed;
// every change is made in InTx.
type Store interface {
	// InTx runs fn in one transaction: all of it happens, or nothing.
	InTx(ctx context.Context, fn func(Tx) error) error
	// Account returns ErrAccountNotFound when there is none.
	Account(ctx context.Context, user int64) (Account, error)
	// EntriesOf returns the user's entries, newest first, from below the number before, at most limit.
	EntriesOf(ctx context.Context, user, before int64, limit int) ([]Entry, error)
}

// Tx is one transaction. It works on sets, and publishing exists only here. It is
// for one goroutine.
type Tx interface {
	// Claim returns those message ids that were never claimed before.
	Claim(ctx context.Context, ids ...uuid.UUID) (fresh map[uuid.UUID]bool, err error)
	// OpenAccounts opens an empty account for each user who has none, and says who these are.
	OpenAccounts(ctx context.Context, at time.Time, users ...int64) (opened map[int64]bool, err error)
	// AccountsForUpdate locks the accounts in the order of their users, so that two
	// transactions never wait for each other. Users without an account are left out.
	AccountsForUpdate(ctx context.Context, users ...int64) (map[int64]*Account, error)
	// Payments returns the decisions that were made about the orders.
	Payments(ctx context.Context, orderIDs ...uuid.UUID) (map[uuid.UUID]Payment, error)
	Save(ctx context.Context, c Changes) error
	// Emit has events published after the commit.
	Emit(ctx context.Context, evs ...events.Event) error
}

// Changes is what a use case wants kept.
type Changes struct {
	Accounts []Account // with a new balance
	Payments []Payment // new
	Entries  []Entry   // new
}

// Service has the use cases. It is safe for concurrent use.
type Service struct{ store Store }

// NewService works on store.
func NewService(store Store) *Service { return &Service{store} }

// Deposit is a request to open an account with an amount or to top it up by it.
type Deposit struct {
	UserID int64
	Amount money.Amount // 0 only opens
}

// Deposited is what became of one deposit.
type Deposited struct {
	Account Account
	Opened  bool
	Err     error // ErrBalanceTooLarge or ErrAmount: nothing was done
}

// Deposit makes a set of deposits in one transaction. It returns one result for
// each; those of one account are made one after the other.
func (s *Service) Deposit(ctx context.Context, deposits []Deposit) ([]Deposited, error) {
	var results []Deposited
	err := s.store.InTx(ctx, func(tx Tx) error {
		at := now()
		users := make([]int64, len(deposits))
		for i, d := range deposits {
			users[i] = d.UserID
		}
		opened, err := tx.OpenAccounts(ctx, at, users...)
		if err != nil {
			return err
		}
		accounts, err := tx.AccountsForUpdate(ctx, users...)
		if err != nil {
			return err
		}
		var changes Changes
		results, changes = deposit(deposits, opened, accounts, at)
		return tx.Save(ctx, changes)
	})
	if err != nil {
		return nil, fmt.Errorf("make %d deposits: %w", len(deposits), err)
	}
	return results, nil
}

func deposit(deposits []Deposit, opened map[int64]bool, accounts map[int64]*Account, at time.Time) ([]Deposited, Changes) {
	var changes Changes
	results := make([]Deposited, len(deposits))
	for i, d := range deposits {
		account := accounts[d.UserID]
		// Whoever of the batch comes first has opened it.
		results[i].Opened = opened[d.UserID]
		delete(opened, d.UserID)
		if d.Amount != 0 {
			entry, err := account.TopUp(d.Amount, at)
			if err != nil {
				results[i].Err = err
				continue
			}
			changes.Entries = append(changes.Entries, entry)
		}
		results[i].Account = *account
	}
	changes.Accounts = touched(accounts, changes.Entries)
	return results, changes
}

// Outcome is what an order's message did.
type Outcome string

// The outcomes. A replayed or duplicate message moves no money.
const (
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeFailed    Outcome = "failed"
	OutcomeReplayed  Outcome = "replayed"  // a new message about an order that was decided before: answered again
	OutcomeDuplicate Outcome = "duplicate" // this very message was here before
)

// Pay decides about a set of orders in one transaction: claim, lock, decide, save,
// emit. It returns one outcome for each order; those of one account are decided
// one after the other, in the order of the set.
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
		var changes Changes
		var answers []events.Event
		outcomes, changes, answers, err = pay(orders, fresh, accounts, decided, now())
		if err != nil {
			return err
		}
		if err := tx.Save(ctx, changes); err != nil {
			return err
		}
		return tx.Emit(ctx, answers...)
	})
	if err != nil {
		return nil, fmt.Errorf("pay %d orders: %w", len(orders), err)
	}
	return outcomes, nil
}

// pay decides, in the order of the set. It uses up fresh and fills decided, so that
// a message or an order that stands twice in one batch counts once.
func pay(orders []Order, fresh map[uuid.UUID]bool, accounts map[int64]*Account, decided map[uuid.UUID]Payment, at time.Time) ([]Outcome, Changes, []events.Event, error) {
	var changes Changes
	var answers []events.Event
	outcomes := duplicates(len(orders))
	for i, o := range orders {
		if !fresh[o.MessageID] {
			continue
		}
		delete(fresh, o.MessageID)
		p, replayed := decided[o.OrderID]
		outcomes[i] = OutcomeReplayed
		if !replayed {
			var entry *Entry
			var err error
			if p, entry, err = Decide(o, accounts[o.UserID], at); err != nil {
				return nil, Changes{}, nil, err
			}
			outcomes[i] = OutcomeFailed
			if entry != nil {
				outcomes[i] = OutcomeSucceeded
				changes.Entries = append(changes.Entries, *entry)
			}
			decided[o.OrderID] = p
			changes.Payments = append(changes.Payments, p)
		}
		answers = append(answers, p.Event())
	}
	changes.Accounts = touched(accounts, changes.Entries)
	return outcomes, changes, answers, nil
}

func duplicates(n int) []Outcome {
	outcomes := make([]Outcome, n)
	for i := range outcomes {
		outcomes[i] = OutcomeDuplicate
	}
	return outcomes
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

// Account returns a user's account, or ErrAccountNotFound.
func (s *Service) Account(ctx context.Context, user int64) (Account, error) {
	return s.store.Account(ctx, user)
}

// EntriesOf returns a page of the user's statement, newest first, and whether
// there is more. before is the number of the last entry of the page before, or
// math.MaxInt64. The error is ErrAccountNotFound when there is no account.
func (s *Service) EntriesOf(ctx context.Context, user, before int64, limit int) (page []Entry, more bool, err error) {
	page, err = s.store.EntriesOf(ctx, user, before, limit+1)
	if err != nil {
		return nil, false, err
	}
	if len(page) == 0 { // an empty account, or none?
		if _, err := s.store.Account(ctx, user); err != nil {
			return nil, false, err
		}
	}
	if len(page) > limit {
		return page[:limit], true, nil
	}
	return page, false, nil
}

// now has the precision that the store keeps.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
