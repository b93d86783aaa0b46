package payment

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/audit"
	"gozon/shared/contract/money"
)

// The kinds of differences.
const (
	DifferenceTotal        = "total"         // money in is not balances plus shop
	DifferenceAccount      = "account"       // entries without their account
	DifferenceMissingEntry = "missing_entry" // the entries have a gap, or the newest is missing
	DifferenceExtraEntry   = "extra_entry"   // an entry that the account does not know of
	DifferenceWrongEntry   = "wrong_entry"   // an entry does not add up
	DifferenceBalance      = "balance"       // the balance is not that of the newest entry
	DifferencePayment      = "payment"       // a payment does not have the entries of its status
	DifferenceNoPayment    = "no_payment"    // an entry does not have its payment
)

// Difference is a difference and the rows that it concerns.
type Difference struct {
	audit.Difference
	UserID  int64     // 0 if it concerns no account
	OrderID uuid.UUID // zero if it concerns no order
}

// Total is a number of payments and the sum of their amounts.
type Total struct {
	Count int64
	Sum   money.Amount
}

// Audit is the state of all accounts, payments and entries at one moment.
type Audit struct {
	CheckedAt time.Time
	MoneyIn   money.Amount // sum of the top-ups
	Balances  money.Amount
	Shop      money.Amount // charges minus refunds
	Payments  map[Status]Total
	audit.Findings
}

// CheckTotal returns the difference between money in and where it is, or nil.
func (a Audit) CheckTotal() *Difference {
	if a.MoneyIn == a.Balances+a.Shop {
		return nil
	}
	return &Difference{Difference: audit.Difference{ID: "total", Kind: DifferenceTotal, Detail: fmt.Sprintf(
		"money in is %s, but balances (%s) and shop (%s) are %s", a.MoneyIn, a.Balances, a.Shop, a.Balances+a.Shop)}}
}

// AccountCheck is an account and its entries from some point on, up to which they are
// verified.
type AccountCheck struct {
	UserID  int64
	Exists  bool // the account does
	Seq     int64
	Balance money.Amount

	LastSeq     int64        // of the newest entry
	LastBalance money.Amount // after the newest entry
	Gap         int64        // the first seq without an entry below LastSeq, or 0
	Wrong       int64        // the first entry whose balance does not follow from that of the entry before, or 0
}

// Check returns the first violation in the account's chain of entries, or nil.
func (c AccountCheck) Check() *Difference {
	d := func(seq int64, kind, detail string, args ...any) *Difference {
		return &Difference{UserID: c.UserID, Difference: audit.Difference{
			ID: fmt.Sprintf("%d/%d", c.UserID, seq), Kind: kind, Detail: fmt.Sprintf(detail, args...),
		}}
	}
	switch {
	case c.Gap != 0 && (c.Wrong == 0 || c.Gap <= c.Wrong):
		return d(c.Gap, DifferenceMissingEntry, "entry %d of user %d is missing, but there are later ones", c.Gap, c.UserID)
	case c.Wrong != 0:
		return d(c.Wrong, DifferenceWrongEntry, "the balance after entry %d of user %d is not that after the entry before it plus or minus its amount", c.Wrong, c.UserID)
	case !c.Exists:
		return d(c.LastSeq, DifferenceAccount, "user %d has entries up to %d, but no account", c.UserID, c.LastSeq)
	case c.Seq > c.LastSeq:
		return d(c.LastSeq+1, DifferenceMissingEntry, "entry %d of user %d is missing: the newest entry of the account is %d", c.LastSeq+1, c.UserID, c.Seq)
	case c.Seq < c.LastSeq:
		return d(c.Seq+1, DifferenceExtraEntry, "there is an entry %d of user %d, but the newest entry of the account is %d", c.Seq+1, c.UserID, c.Seq)
	case c.Balance != c.LastBalance:
		return d(c.Seq, DifferenceBalance, "the balance of user %d is %s, but it is %s after the newest entry, %d", c.UserID, c.Balance, c.LastBalance, c.Seq)
	}
	return nil
}

// OrderCheck is a payment and the entries of its order, user and amount that contradict each
// other.
type OrderCheck struct {
	OrderID          uuid.UUID
	UserID           int64
	Amount           money.Amount
	Status           Status // "" if there is no such payment
	Charges, Refunds int64  // numbers of entries
	Later            bool   // entries that were added to a verified payment, not all
}

// Difference describes the contradiction.
func (c OrderCheck) Difference() Difference {
	kind, detail := DifferencePayment, "the payment of order %[1]s, of %[3]s by user %[2]d, is %[4]s, but there are %[5]d charges and %[6]d refunds of that user and amount"
	switch {
	case c.Status == "":
		kind, detail = DifferenceNoPayment, "there are %[5]d charges and %[6]d refunds of %[3]s for order %[1]s of user %[2]d, but no payment of that user and amount"
	case c.Later:
		detail = "the payment of order %[1]s, of %[3]s by user %[2]d, is %[4]s and was verified before, but there are %[5]d new charges and %[6]d new refunds"
	}
	return Difference{UserID: c.UserID, OrderID: c.OrderID, Difference: audit.Difference{
		ID: c.OrderID.String(), Kind: kind, Detail: fmt.Sprintf(detail, c.OrderID, c.UserID, c.Amount, c.Status, c.Charges, c.Refunds),
	}}
}
