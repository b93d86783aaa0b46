package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"gozon/orders/internal/order"
	"gozon/shared/contract/audit"
	"gozon/shared/contract/money"
	"gozon/shared/web"
)

type auditJSON struct {
	CheckedAt   time.Time                  `json:"checked_at"`
	Orders      map[order.Status]totalJSON `json:"orders"`
	InFlight    int64                      `json:"in_flight"`
	Overdue     int64                      `json:"overdue"`
	ComparedAt  *time.Time                 `json:"compared_at"` // null if orders are not compared with payments
	Differences []audit.Difference         `json:"differences"`
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
	answer := auditJSON{
		CheckedAt: report.CheckedAt, Orders: map[order.Status]totalJSON{}, InFlight: report.InFlight, Overdue: report.Overdue, Differences: report.Differences,
	}
	for status, total := range report.Orders {
		answer.Orders[status] = totalJSON(total)
	}
	if !report.ComparedAt.IsZero() {
		answer.ComparedAt = &report.ComparedAt
	}
	c.JSON(http.StatusOK, answer)
	return nil
}
