package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gozon/payments/internal/payment"
	"gozon/shared/contract/audit"
	"gozon/shared/contract/money"
	"gozon/shared/web"
	"gozon/shared/web/problem"
)

type auditJSON struct {
	CheckedAt   time.Time                    `json:"checked_at"`
	MoneyIn     money.Amount                 `json:"money_in"`
	Balances    money.Amount                 `json:"balances"`
	Shop        money.Amount                 `json:"shop"`
	Payments    map[payment.Status]totalJSON `json:"payments"`
	Differences []audit.Difference           `json:"differences"`
}

type totalJSON struct {
	Count int64        `json:"count"`
	Sum   money.Amount `json:"sum"`
}

func (a API) audit(ctx context.Context, c *gin.Context) error {
	report, err := web.Audit(ctx, c, a.Audit)
	if err != nil {
		return err
	}
	answer := auditJSON{report.CheckedAt, report.MoneyIn, report.Balances, report.Shop, map[payment.Status]totalJSON{}, report.Differences}
	for status, total := range report.Payments {
		answer.Payments[status] = totalJSON(total)
	}
	c.JSON(http.StatusOK, answer)
	return nil
}

// paymentsIn serves a page of payments to the orders service. See [audit.PaymentsPath].
func (a API) paymentsIn(ctx context.Context, c *gin.Context) error {
	after, err := uuid.Parse(c.Query("after"))
	if err != nil {
		return problem.InvalidParameter("after", "must be a UUID")
	}
	to, err := uuid.Parse(c.Query("to"))
	if err != nil {
		return problem.InvalidParameter("to", "must be a UUID")
	}
	payments, err := a.Payments.PaymentsIn(ctx, after, to, audit.PageSize)
	if err != nil {
		return err
	}
	writePayments(c, payments)
	return nil
}

// maxIDsBody is the maximum size of a body with audit.PageSize ids.
const maxIDsBody = 128 << 10

// paymentsOf serves the payments of the given orders to the orders service.
func (a API) paymentsOf(ctx context.Context, c *gin.Context) error {
	var body audit.IDs
	if err := json.NewDecoder(http.MaxBytesReader(c.Writer, c.Request.Body, maxIDsBody)).Decode(&body); err != nil {
		return problem.Malformed("the body must be a JSON object with the ids of orders")
	}
	ids := make([]uuid.UUID, len(body.OrderIDs))
	for i, s := range body.OrderIDs {
		var err error
		if ids[i], err = uuid.Parse(s); err != nil {
			return problem.Malformed("the ids must be UUIDs")
		}
	}
	payments, err := a.Payments.PaymentsOf(ctx, ids)
	if err != nil {
		return err
	}
	writePayments(c, payments)
	return nil
}

func writePayments(c *gin.Context, payments []payment.Payment) {
	page := audit.Payments{Payments: make([]audit.Payment, len(payments))}
	for i, p := range payments {
		page.Payments[i] = audit.Payment{OrderID: p.OrderID.String(), UserID: p.UserID, Amount: int64(p.Amount), Status: string(p.Status), Reason: string(p.Reason)}
	}
	c.JSON(http.StatusOK, page)
}
