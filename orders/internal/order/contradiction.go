package order

import (
	"fmt"

	"github.com/google/uuid"

	"gozon/shared/contract/audit"
	"gozon/shared/contract/money"
)

// Payment is the decision of the payments service about an order.
type Payment struct {
	OrderID uuid.UUID
	UserID  int64
	Amount  money.Amount
	Status  PaymentStatus
	Reason  CancelReason // when failed
}

// The kinds of differences.
const (
	DifferenceNoPayment = "no_payment"    // a final order without a payment
	DifferenceNoOrder   = "no_order"      // a charge without an order
	DifferenceContent   = "user_amount"   // their users or amounts are not equal
	DifferenceStatus    = "order_payment" // their statuses are impossible together
)

// Order and payment cannot be read at the same moment, and both change. Which of them caused
// the other's status decides what a pair of reads proves:
//
//	order read first    a final order was caused by a payment, so the payment read later must
//	                    be that one or what became of it
//	payment read first  a payment was caused by an order or its cancellation, so the order read
//	                    later must be that one or what became of it

// contradicts returns the difference between an order and the payment that was read after it,
// or nil. p is nil if there was none.
func (o Order) contradicts(p *Payment) *audit.Difference {
	switch {
	case o.Status != StatusPaid && o.Status != StatusCancelled:
		return o.contentOf(p)
	case p == nil:
		return difference(o.ID, DifferenceNoPayment, "order %s is %s, but has no payment", o.ID, o.Status)
	}
	var possible bool
	switch {
	case o.Status == StatusPaid:
		possible = p.Status == PaymentSucceeded || p.Status == PaymentRefunded // cancelled since
	case o.CancelReason == ReasonCancelledByUser:
		possible = p.Status != PaymentSucceeded
	default:
		possible = p.Status == PaymentFailed && p.Reason == o.CancelReason
	}
	if !possible {
		return statuses(o, *p)
	}
	return o.contentOf(p)
}

// contradicts returns the difference between a payment and the order that was read after it,
// or nil. o is nil if there was none.
func (p Payment) contradicts(o *Order) *audit.Difference {
	if o == nil {
		if p.Status != PaymentSucceeded {
			return nil // it holds no money: the database was restored to before the order, and its charge was undone
		}
		return difference(p.OrderID, DifferenceNoOrder, "there is a payment for order %s, %s, of %s by user %d, but no such order", p.OrderID, p.Status, p.Amount, p.UserID)
	}
	byUser := o.Status == StatusCancelling || o.Status == StatusCancelled && o.CancelReason == ReasonCancelledByUser
	possible := true
	switch p.Status {
	case PaymentVoided, PaymentRefunded:
		possible = byUser
	case PaymentFailed:
		possible = o.Status != StatusPaid
	case PaymentSucceeded:
		possible = o.Status != StatusCancelled || byUser // refunded since
	}
	if !possible {
		return statuses(*o, p)
	}
	return o.contentOf(&p)
}

// contentOf compares what never changes.
func (o Order) contentOf(p *Payment) *audit.Difference {
	if p == nil || p.UserID == o.UserID && p.Amount == o.Price {
		return nil
	}
	return difference(o.ID, DifferenceContent, "order %s is of user %d for %s, but its payment is of user %d for %s", o.ID, o.UserID, o.Price, p.UserID, p.Amount)
}

func statuses(o Order, p Payment) *audit.Difference {
	return difference(o.ID, DifferenceStatus, "order %s is %s, but its payment is %s", o.ID, join(string(o.Status), o.CancelReason), join(string(p.Status), p.Reason))
}

func join(status string, reason CancelReason) string {
	if reason == "" {
		return status
	}
	return fmt.Sprintf("%s (%s)", status, reason)
}

func difference(order uuid.UUID, kind, detail string, args ...any) *audit.Difference {
	return &audit.Difference{ID: order.String(), Kind: kind, Detail: fmt.Sprintf(detail, args...)}
}
