package order

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// Every pair of an order and its payment, read in either order: is it a difference?
func TestContradictions(t *testing.T) {
	t.Parallel()
	const (
		no     = 0
		before = 1 // if the order was read first
		after  = 2 // if the payment was read first
		both   = before | after
	)
	id := uuid.Must(uuid.NewV7())
	states := []Order{
		{Status: StatusNew},
		{Status: StatusPaid},
		{Status: StatusCancelling},
		{Status: StatusCancelled, CancelReason: ReasonCancelledByUser},
		{Status: StatusCancelled, CancelReason: "insufficient_funds"},
	}
	for _, tc := range []struct {
		payment *Payment
		want    [5]int // for each of states
	}{
		//                                                                  NEW    PAID    CANCELLING  by the user  by the shop
		{nil /*                                                        */, [5]int{no, before, no, before, before}},
		{&Payment{Status: PaymentSucceeded} /*                         */, [5]int{no, no, no, before, both}},
		{&Payment{Status: PaymentFailed, Reason: "insufficient_funds"}, [5]int{no, both, no, no, no}},
		{&Payment{Status: PaymentFailed, Reason: "account_not_found"}, [5]int{no, both, no, no, before}},
		{&Payment{Status: PaymentVoided} /*                            */, [5]int{after, both, no, no, both}},
		{&Payment{Status: PaymentRefunded} /*                          */, [5]int{after, after, no, no, both}},
	} {
		for i, o := range states {
			o.ID, o.UserID, o.Price = id, 1, 100
			got := 0
			if p := tc.payment; p != nil {
				p.OrderID, p.UserID, p.Amount = id, 1, 100
				if p.contradicts(&o) != nil {
					got |= after
				}
				other := *p
				other.Amount++
				require.NotNil(t, o.contradicts(&other), "%+v %+v", o, other)
				other.Amount, other.UserID = p.Amount, 2
				require.NotNil(t, other.contradicts(&o), "%+v %+v", o, other)
			}
			if o.contradicts(tc.payment) != nil {
				got |= before
			}
			require.Equal(t, tc.want[i], got, "%+v %+v", o, tc.payment)
		}
	}
	require.Equal(t, DifferenceNoOrder, Payment{OrderID: id, Status: PaymentSucceeded}.contradicts(nil).Kind)
	for _, status := range []PaymentStatus{PaymentFailed, PaymentVoided, PaymentRefunded} {
		require.Nil(t, Payment{OrderID: id, Status: status}.contradicts(nil), status)
	}
}
