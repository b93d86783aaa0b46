package httpapi

import (
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gozon/orders/internal/order"
	"gozon/shared/contract/money"
)

type orderJSON struct {
	ID           uuid.UUID    `json:"id"`
	UserID       int64        `json:"user_id"`
	Item         string       `json:"item"`
	Price        money.Amount `json:"price"`
	Status       string       `json:"status"`
	CancelReason string       `json:"cancel_reason,omitempty"`
	Version      int64        `json:"version"`
	CreatedAt    time.Time    `json:"created_at"`
	UpdatedAt    time.Time    `json:"updated_at"`
	Timeline     []stepJSON   `json:"timeline"`
}

type stepJSON struct {
	Step string    `json:"step"`
	At   time.Time `json:"at"`
}

func toJSON(o order.Order) orderJSON {
	steps := o.Timeline()
	timeline := make([]stepJSON, len(steps))
	for i, s := range steps {
		timeline[i] = stepJSON{s.Name, s.At}
	}
	return orderJSON{
		ID: o.ID, UserID: o.UserID, Item: o.Item, Price: o.Price, Status: string(o.Status), CancelReason: string(o.CancelReason),
		Version: o.Version, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
		Timeline: timeline,
	}
}

func writeOrder(c *gin.Context, status int, o order.Order) {
	c.Header("Location", "/orders/"+o.ID.String())
	c.JSON(status, toJSON(o))
}

type pageJSON struct {
	Orders     []orderJSON `json:"orders"`
	NextCursor string      `json:"next_cursor,omitempty"`
}

func toPage(page order.Page) pageJSON {
	p := pageJSON{Orders: make([]orderJSON, len(page.Orders))}
	for i, o := range page.Orders {
		p.Orders[i] = toJSON(o)
	}
	if page.More {
		p.NextCursor = page.Orders[len(page.Orders)-1].ID.String()
	}
	return p
}
