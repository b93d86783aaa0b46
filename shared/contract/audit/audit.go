// Package audit is what the services exchange about audits: the differences that they find,
// and the payments that orders compares its orders with.
package audit

// Difference is a violation of the rules that tie orders, payments, entries and balances
// together.
type Difference struct {
	ID     string `json:"id"`     // the id of an order, or "<user id>/<seq>" of an entry
	Kind   string `json:"kind"`   // which rule is violated
	Detail string `json:"detail"` // a sentence for the operator
}

// Findings are the differences that exist after an audit, and how they differ from those
// that existed before it.
type Findings struct {
	Differences     []Difference // all
	Found, Resolved []Difference // since the previous audit; each is returned to one caller only
}

// AuditFindings returns f. It is promoted to the reports that embed f.
func (f Findings) AuditFindings() Findings { return f }

// MaxDifferences is the maximum number of differences that are stored and reported.
const MaxDifferences = 1000

// PaymentsPath is the path of the payments service that serves payments to orders: GET a page
// of at most PageSize payments by `after` and `to`, an exclusive and an inclusive bound of
// the order ids, or POST [IDs] for those of at most PageSize orders. The gateway does not route it.
const PaymentsPath = "/internal/payments"

// PageSize is the maximum number of payments in a response of [PaymentsPath].
const PageSize = 2000

// IDs is the body of a POST.
type IDs struct {
	OrderIDs []string `json:"order_ids"`
}

// Payments is a page, ordered by OrderID. The page ends before `to` only if it has PageSize
// payments.
type Payments struct {
	Payments []Payment `json:"payments"`
}

// Payment is the decision about one order. Amount is in minor units.
type Payment struct {
	OrderID string `json:"order_id"`
	UserID  int64  `json:"user_id"`
	Amount  int64  `json:"amount"`
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
}
