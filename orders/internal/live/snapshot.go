package live

import (
	"slices"

	"github.com/google/uuid"

	"gozon/orders/internal/order"
)

// Watermark is a point in the sequence of the database's transactions. Data that is read
// after the watermark was taken includes every change below it. Unlike a time or a counter
// of changes, it cannot be overtaken by a transaction that commits late.
type Watermark int64

// Snapshot returns the snapshot in which every transaction below the watermark has ended,
// and no other.
func (w Watermark) Snapshot() Snapshot { return Snapshot{Min: w, Max: w} }

// Snapshot describes which transactions of the database had ended when it was taken: all
// below Min, none from Max on, and between them all except those in Open. Data that is read
// later includes every change of the snapshot.
type Snapshot struct {
	Min, Max Watermark
	Open     []Watermark
}

// Includes reports whether the transaction changedIn had ended when s was taken.
func (s Snapshot) Includes(changedIn Watermark) bool {
	return changedIn < s.Min || changedIn < s.Max && !slices.Contains(s.Open, changedIn)
}

// Revision is an order with the transaction that changed it last.
type Revision struct {
	order.Order
	ChangedIn Watermark
}

// Changed reports that an order of a user was placed or changed.
type Changed struct {
	UserID  int64
	OrderID uuid.UUID
}
