package order

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/audit"
	"gozon/shared/contract/money"
)

// ErrNotCompared is wrapped by the error of an audit that could not compare orders with
// payments.
var ErrNotCompared = errors.New("orders could not be compared with payments")

// comparedWithin is the maximum age of a comparison of another replica.
const comparedWithin = time.Minute

// Total is a number of orders and the sum of their prices.
type Total struct {
	Count int64
	Sum   money.Amount
}

// Audit is the state of all orders at one moment, and what the comparison with their payments
// has found.
type Audit struct {
	CheckedAt time.Time
	Orders    map[Status]Total
	InFlight  int64 // NEW and CANCELLING
	Overdue   int64 // in flight and unchanged for 30 s
	// ComparedAt is zero if orders are not compared with payments.
	ComparedAt time.Time
	audit.Findings
}

// AuditStore stores what the audit knows.
type AuditStore interface {
	ComparisonStore
	// Totals counts the orders: what has changed since the previous call, or all. It returns
	// the stored differences.
	Totals(ctx context.Context, full bool) (Audit, error)
}

// Auditor audits orders. It is safe for concurrent use.
type Auditor struct {
	store    AuditStore
	payments Payments
	age      time.Duration
}

// NewAuditor returns an auditor. payments may be nil; then orders are only counted. age is the
// age at which orders are compared first: most should be final, so that they are compared
// once.
func NewAuditor(store AuditStore, payments Payments, age time.Duration) *Auditor {
	return &Auditor{store, payments, age}
}

// Audit counts the orders and compares them with their payments: what is new since the
// previous call, or everything. An error that wraps [ErrNotCompared] reports that no recent
// comparison exists.
func (a *Auditor) Audit(ctx context.Context, full bool) (Audit, error) {
	var findings audit.Findings
	if a.payments != nil {
		c := &comparison{store: a.store, payments: a.payments, age: a.age, full: full, suspects: map[uuid.UUID]struct{}{}}
		var err error
		if findings.Found, findings.Resolved, err = c.run(ctx); err != nil {
			return Audit{}, fmt.Errorf("compare orders with payments: %w", err)
		}
	}
	report, err := a.store.Totals(ctx, full)
	if err != nil {
		return Audit{}, fmt.Errorf("count orders: %w", err)
	}
	report.Found, report.Resolved = findings.Found, findings.Resolved
	switch {
	case a.payments == nil:
		report.ComparedAt = time.Time{}
	case report.CheckedAt.Sub(report.ComparedAt) > comparedWithin: // by another replica
		return Audit{}, fmt.Errorf("%w: the last comparison was at %s", ErrNotCompared, report.ComparedAt)
	}
	return report, nil
}
