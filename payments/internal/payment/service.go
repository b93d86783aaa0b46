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

// Store stores accounts, payments and entries. Its reads see committed data; all changes
// are made in InTx.
type Store interface {
	// InTx runs fn in one transaction, which is rolled back if fn fails.
	InTx(ctx context.Context, fn func(Tx) error) error
	// Account returns ErrAccountNotFound if there is none.
	Account(ctx context.Context, user int64) (Account, error)
	// EntriesOf returns at most limit of the user's entries with a Seq below before, newest
	// first.
	EntriesOf(ctx context.Context, user, before int64, limit int) ([]Entry, error)
	// PaymentsIn returns the payments of at most limit orders with ids above after, up to and
	// including to, ordered by them.
	PaymentsIn(ctx context.Context, after, to uuid.UUID, limit int) ([]Payment, error)
	// PaymentsOf returns the payments of orders. It leaves out orders without one.
	PaymentsOf(ctx context.Context, orders []uuid.UUID) ([]Payment, error)
}

// Tx is one transaction. Its methods work on sets; an empty set is a no-op. It is not safe
// for concurrent use.
type Tx interface {
	// OpenForUpdate opens an empty account for each user who has none and returns these users.
	// Then it locks the accounts of all users, in their order, so that two transactions never
	// deadlock.
	OpenForUpdate(ctx context.Context, at time.Time, users ...int64) (opened map[int64]bool, accounts map[int64]*Account, err error)
	// ClaimForUpdate claims message ids and returns those that were not claimed before. Then
	// it locks the accounts of users, in their order, and leaves out users without an account.
	// While they are locked, it reads the payments of orders, and leaves out orders without a
	// payment.
	ClaimForUpdate(ctx context.Context, claims []uuid.UUID, users []int64, orders []uuid.UUID) (
		fresh map[uuid.UUID]bool, accounts map[int64]*Account, payments map[uuid.UUID]Payment, err error)
	Save(ctx context.Context, c Changes) error
	// Emit publishes events after the commit.
	Emit(ctx context.Context, evs ...events.Event) error
	idempotency.Tx
}

// Changes are the rows that a use case writes.
type Changes struct {
	Accounts []Account // with a new balance
	Payments []Payment // new
	Refunded []Payment // with a new status
	Entries  []Entry   // new
}

// Service implements the use cases. It is safe for concurrent use.
type Service struct{ store Store }

// NewService returns a service that works on store.
func NewService(store Store) *Service { return &Service{store} }

// Deposit is a request to top up an account, which is opened if there is none.
//
// Its JSON is the fingerprint of an idempotency key. Keys are kept for a day, so a renamed
// field makes the retries across a deployment look like other requests.
type Deposit struct {
	UserID int64
	Amount money.Amount // 0 only opens the account
}

// Deposited is the result of a deposit.
type Deposited struct {
	Account Account
	Opened  bool
}

// Deposit makes a set of deposits in one transaction, each at most once under its key. It
// returns one response per request, whose error may be [ErrDepositsTooLarge] or
// [ErrAmount]. Deposits to one account are made in the order of the set.
func (s *Service) Deposit(ctx context.Context, requests []idempotency.Request[Deposit]) (responses []idempotency.Response[Deposited], err error) {
	err = s.store.InTx(ctx, func(tx Tx) error {
		claimed, err := idempotency.Claim(ctx, tx, requests, decodeDeposited)
		if err != nil {
			return err
		}
		at, users := now(), make([]int64, len(claimed.Fresh))
		for i, d := range claimed.Fresh {
			users[i] = d.UserID
		}
		opened, accounts, err := tx.OpenForUpdate(ctx, at, users...)
		if err != nil {
			return err
		}
		deposited, changes := deposit(claimed.Fresh, opened, accounts, at)
		if err := tx.Save(ctx, changes); err != nil {
			return err
		}
		responses, err = claimed.Complete(ctx, tx, deposited, encodeDeposited)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make %d deposits: %w", len(requests), err)
	}
	return responses, nil
}

// deposit makes deposits in order. It removes users from opened, so that only the
// first deposit to a new account reports that it opened the account.
func deposit(deposits []Deposit, opened map[int64]bool, accounts map[int64]*Account, at time.Time) (responses []idempotency.Response[Deposited], changes Changes) {
	responses = make([]idempotency.Response[Deposited], len(deposits))
	for i, d := range deposits {
		account := accounts[d.UserID]
		responses[i].Value.Opened = opened[d.UserID]
		delete(opened, d.UserID)
		if d.Amount != 0 {
			entry, err := account.TopUp(d.Amount, at)
			if err != nil {
				responses[i].Err = err
				continue
			}
			changes.Entries = append(changes.Entries, entry)
		}
		responses[i].Value.Account = *account
	}
	changes.Accounts = changed(accounts, changes.Entries)
	return responses, changes
}

// changed returns each account that has one of entries, once.
func changed(accounts map[int64]*Account, entries []Entry) []Account {
	var all []Account
	seen := make(map[int64]bool, len(entries))
	for _, e := range entries {
		if !seen[e.UserID] {
			seen[e.UserID] = true
			all = append(all, *accounts[e.UserID])
		}
	}
	return all
}

// Account returns a user's account, or [ErrAccountNotFound].
func (s *Service) Account(ctx context.Context, user int64) (Account, error) {
	return s.store.Account(ctx, user)
}

// Page is a page of an account's entries, newest first.
type Page struct {
	Entries []Entry
	More    bool // there are older entries
}

// EntriesOf returns a page of at most limit of the user's entries. before is the Seq of the
// last entry of the previous page, or math.MaxInt64 for the first page. The error is
// [ErrAccountNotFound] if the user has no account.
func (s *Service) EntriesOf(ctx context.Context, user, before int64, limit int) (Page, error) {
	entries, err := s.store.EntriesOf(ctx, user, before, limit+1)
	if err != nil {
		return Page{}, err
	}
	if len(entries) == 0 { // the account is empty or does not exist
		if _, err := s.store.Account(ctx, user); err != nil {
			return Page{}, err
		}
	}
	if len(entries) > limit {
		return Page{entries[:limit], true}, nil
	}
	return Page{entries, false}, nil
}

// PaymentsIn returns the payments of at most limit orders with ids above after, up to and
// including to, ordered by them.
func (s *Service) PaymentsIn(ctx context.Context, after, to uuid.UUID, limit int) ([]Payment, error) {
	return s.store.PaymentsIn(ctx, after, to, limit)
}

// PaymentsOf returns the payments of orders. It leaves out orders without one.
func (s *Service) PaymentsOf(ctx context.Context, orders []uuid.UUID) ([]Payment, error) {
	return s.store.PaymentsOf(ctx, orders)
}

// now has the precision of the store, so that a response and a later read agree.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
