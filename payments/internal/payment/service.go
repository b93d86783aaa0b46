package payment

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/idempotency"
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
	idempotency.Tx
}

// Changes is what a use case wants kept.
type Changes struct {
	Accounts []Account // with a new balance
	Payments []Payment // new
	Refunded []Payment // with a new status
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
}

// Deposit makes a set of deposits in one transaction, each once under its key. It returns
// one result for each, whose error may be ErrBalanceTooLarge or ErrAmount; those of one
// account are made one after the other.
func (s *Service) Deposit(ctx context.Context, requests []idempotency.Request[Deposit]) ([]idempotency.Result[Deposited], error) {
	var results []idempotency.Result[Deposited]
	err := s.store.InTx(ctx, func(tx Tx) error {
		var err error
		results, err = idempotency.Once(ctx, tx, requests, func(deposits []Deposit) ([]idempotency.Result[Deposited], error) {
			at := now()
			users := make([]int64, len(deposits))
			for i, d := range deposits {
				users[i] = d.UserID
			}
			opened, err := tx.OpenAccounts(ctx, at, users...)
			if err != nil {
				return nil, err
			}
			accounts, err := tx.AccountsForUpdate(ctx, users...)
			if err != nil {
				return nil, err
			}
			results, changes := deposit(deposits, opened, accounts, at)
			return results, tx.Save(ctx, changes)
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make %d deposits: %w", len(requests), err)
	}
	return results, nil
}

func deposit(deposits []Deposit, opened map[int64]bool, accounts map[int64]*Account, at time.Time) ([]idempotency.Result[Deposited], Changes) {
	var changes Changes
	results := make([]idempotency.Result[Deposited], len(deposits))
	for i, d := range deposits {
		account := accounts[d.UserID]
		// Whoever of the batch comes first has opened it.
		results[i].Value.Opened = opened[d.UserID]
		delete(opened, d.UserID)
		if d.Amount != 0 {
			entry, err := account.TopUp(d.Amount, at)
			if err != nil {
				results[i].Err = err
				continue
			}
			changes.Entries = append(changes.Entries, entry)
		}
		results[i].Value.Account = *account
	}
	changes.Accounts = touched(accounts, changes.Entries)
	return results, changes
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
