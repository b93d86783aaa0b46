// Package httpapi is the HTTP face of the orders service.
package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gozon/orders/internal/order"
	"gozon/shared/money"
	"gozon/shared/problem"
	"gozon/shared/request"
	"gozon/shared/service"
)

const (
	defaultLimit = 20
	maxLimit     = 100
	// answerWithin bounds a request; it is below the gateway's own bound, so that
	// the client gets the more telling answer.
	answerWithin = 8 * time.Second
)

// Placer places one order; concurrent calls may share a commit.
type Placer interface {
	Do(ctx context.Context, draft order.Draft) (order.Order, error)
}

// API has the handlers.
type API struct {
	placer Placer
	orders *order.Service
	log    *slog.Logger
}

// Register adds the service's routes to r.
func Register(r gin.IRoutes, placer Placer, orders *order.Service, log *slog.Logger) {
	a := &API{placer, orders, log}
	service.Handle(r, http.MethodPost, "/orders", a.place)
	service.Handle(r, http.MethodGet, "/orders", a.list)
	service.Handle(r, http.MethodGet, "/orders/:id", a.get)
}

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
}

func toJSON(o order.Order) orderJSON {
	return orderJSON{
		ID: o.ID, UserID: o.UserID, Item: o.Item, Price: o.Price, Status: string(o.Status), CancelReason: string(o.CancelReason),
		Version: o.Version, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
	}
}

func (a *API) place(c *gin.Context) {
	body, err := request.ReadObject(c.Request)
	if err != nil {
		a.fail(c, err)
		return
	}
	draft := order.Draft{
		UserID: body.UserID("user_id"),
		Item:   body.Text("item", order.MaxItem),
		Price:  body.Amount("price", 1),
	}
	if err := body.Problem(); err != nil {
		a.fail(c, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), answerWithin)
	defer cancel()
	o, err := a.placer.Do(ctx, draft)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.Header("Location", "/orders/"+o.ID.String())
	c.JSON(http.StatusCreated, toJSON(o))
}

func (a *API) get(c *gin.Context) {
	id, err := parseID(c.Param("id"))
	if err != nil {
		problem.Write(c, problem.InvalidParameter("id", err.Error()))
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), answerWithin)
	defer cancel()
	o, err := a.orders.Order(ctx, id)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, toJSON(o))
}

func (a *API) list(c *gin.Context) {
	user, err := request.ParseUserID(c.Query("user_id"))
	if err != nil {
		problem.Write(c, problem.InvalidParameter("user_id", err.Error()))
		return
	}
	limit, before := defaultLimit, uuid.Max
	if s, ok := c.GetQuery("limit"); ok {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > maxLimit {
			problem.Write(c, problem.InvalidParameter("limit", "must be an integer from 1 to 100"))
			return
		}
	}
	if s, ok := c.GetQuery("cursor"); ok {
		if before, err = parseID(s); err != nil {
			problem.Write(c, problem.InvalidParameter("cursor", "must be the next_cursor of an earlier page"))
			return
		}
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), answerWithin)
	defer cancel()
	page, more, err := a.orders.OrdersOf(ctx, user, before, limit)
	if err != nil {
		a.fail(c, err)
		return
	}
	answer := struct {
		Orders     []orderJSON `json:"orders"`
		NextCursor string      `json:"next_cursor,omitempty"`
	}{Orders: make([]orderJSON, len(page))}
	for i, o := range page {
		answer.Orders[i] = toJSON(o)
	}
	if more {
		answer.NextCursor = page[len(page)-1].ID.String()
	}
	c.JSON(http.StatusOK, answer)
}

func (a *API) fail(c *gin.Context, err error) {
	if errors.Is(err, order.ErrNotFound) {
		err = problem.NotFound("there is no order with this id")
	}
	request.Fail(c, a.log, err)
}

var errID = errors.New("must be a UUID")

// parseID takes the canonical form alone; uuid.Parse would take four others.
func parseID(s string) (uuid.UUID, error) {
	const canonical = 36
	id, err := uuid.Parse(s)
	if err != nil || len(s) != canonical {
		return uuid.Nil, errID
	}
	return id, nil
}
