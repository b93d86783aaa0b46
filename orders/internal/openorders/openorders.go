// Package openorders bounds the open orders of a user: those that are NEW or CANCELLING. While
// orders are settled, a user has few of them. While payments or the broker is down, they pile up,
// and a single user must not fill the outbox.
//
// An exact count would need an index on the status, which every order would pay for, or a row
// per user that every order locks. Instead, the newest orders of a user are counted each time
// that a replica has accepted a tenth of the limit from this user. So a user who places few
// orders costs nothing but a look into a table in memory, and each replica may accept a tenth
// more than the limit.
//
// Orders that are older than the newest 2 × limit are not counted. They are open only if they
// are being cancelled, and a cancellation adds no order.
package openorders

import (
	"context"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"gozon/shared/service"
)

// Store counts the open ones among the newest orders of a user.
type Store interface {
	OpenOrders(ctx context.Context, user int64, newest int) (int, error)
}

const (
	// maxUsers is the size of the table of users. If there are more, those who have not placed
	// an order for longest are forgotten, as if they had not placed any.
	maxUsers = 1 << 14
	// refusedFor is how long a user is refused without another count.
	refusedFor = time.Second
)

// Limit bounds the open orders of each user. It is safe for concurrent use.
type Limit struct {
	limit, every int
	store        Store
	users        *lru.Cache[int64, *user]
}

// New returns a limit. 0 is none.
func New(limit int, store Store) *Limit {
	users, _ := lru.New[int64, *user](maxUsers) // fails only if the size is not positive
	return &Limit{limit: limit, every: max(1, limit/10), store: store, users: users}
}

// Admit returns a [service.LimitError] if a new order of the user must be refused.
func (l *Limit) Admit(ctx context.Context, id int64) error {
	if l.limit == 0 {
		return nil
	}
	u := l.user(id)
	admitted, count := u.next(l.every)
	if count {
		open, err := l.store.OpenOrders(ctx, id, 2*l.limit)
		if admitted = u.counted(open < l.limit, err); err != nil {
			return err
		}
	}
	if !admitted {
		return &service.LimitError{
			Limit: "open_orders", Quota: l.limit, Who: fmt.Sprint("user ", id),
			Detail: "too many orders of this user are being paid or cancelled",
		}
	}
	return nil
}

func (l *Limit) user(id int64) *user {
	if known, ok := l.users.Get(id); ok {
		return known
	}
	u := &user{}
	if concurrent, ok, _ := l.users.PeekOrAdd(id, u); ok {
		return concurrent
	}
	return u
}

// user is a user who places orders.
type user struct {
	mu       sync.Mutex
	placed   int  // since the last count that admitted the user
	counting bool // others need not wait for that
	refused  time.Time
}

// next returns whether the next order is admitted, and whether the orders must be counted
// first. Then the caller calls counted.
func (u *user) next(every int) (admitted, count bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if time.Since(u.refused) < refusedFor {
		return false, false
	}
	u.placed++
	count = u.placed >= every && !u.counting
	u.counting = u.counting || count
	return true, count
}

// counted reports the result of a count. Unless the user is admitted, the orders are counted
// again for the next order.
func (u *user) counted(few bool, err error) (admitted bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.counting = false
	switch {
	case err != nil:
	case few:
		u.placed = 0
	default:
		u.refused = time.Now()
	}
	return few
}
