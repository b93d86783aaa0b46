// Package httpapi is the HTTP API of the orders service.
package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gozon/orders/internal/live"
	"gozon/orders/internal/order"
	"gozon/shared/web"
	"gozon/shared/web/problem"
	"gozon/shared/web/request"
)

// API implements the handlers. All fields are required.
type API struct {
	Place  web.Batcher[order.Draft, order.Order]
	Cancel web.Batcher[uuid.UUID, order.Order]
	Orders *order.Service
	Live   *live.Hub
	Audit  web.Auditor[order.Audit]
	Log    *slog.Logger

	// Admit returns a [service.OverloadError] if new orders must be refused, and AdmitOf a
	// [service.LimitError] if those of a user must.
	Admit   func() error
	AdmitOf func(ctx context.Context, user int64) error
}

// Register adds the routes of the service.
func (a API) Register(r web.Router) {
	r.Problems = map[error]*problem.Problem{
		order.ErrNotFound:       problem.NotFound("there is no order with this id"),
		order.ErrNotCancellable: problem.NotCancellable("the shop has already cancelled this order"),
		live.ErrTooMany:         problem.Unavailable("too many event streams; retry in a moment"),
		live.ErrTooManyOfUser:   problem.Unavailable("too many event streams of this user; close one, or retry in a moment"),
		order.ErrNotCompared:    problem.Unavailable("the payments service could not be read, so orders were not compared with payments; retry in a moment"),
		live.ErrNotReady:        problem.Unavailable("event streams are not ready yet; retry in a moment"),
	}
	r.Handle(http.MethodPost, "/orders", a.place)
	r.Handle(http.MethodGet, "/orders", a.list)
	r.Handle(http.MethodGet, "/orders/events", a.events)
	r.Handle(http.MethodGet, "/orders/:id", a.get)
	r.Handle(http.MethodPost, "/orders/:id/cancel", a.cancel)
	r.Handle(http.MethodGet, "/audit", a.audit)
}

func (a API) place(ctx context.Context, c *gin.Context) error {
	if err := a.Admit(); err != nil {
		return err
	}
	body, err := request.ReadObject(c.Request)
	if err != nil {
		return err
	}
	draft := order.Draft{
		UserID: body.UserID("user_id"),
		Item:   body.Text("item", order.MaxItem),
		Price:  body.Amount("price", 1),
	}
	if err := body.Problem(); err != nil {
		return err
	}
	if err := a.AdmitOf(ctx, draft.UserID); err != nil {
		return err
	}
	o, err := web.Once(ctx, c, a.Place, draft.UserID, "place", draft)
	if err != nil {
		return err
	}
	writeOrder(c, http.StatusCreated, o)
	return nil
}

func (a API) cancel(ctx context.Context, c *gin.Context) error {
	id, err := orderID(c)
	if err != nil {
		return err
	}
	o, err := a.Orders.Order(ctx, id) // an idempotency key is scoped to the order's user
	if err != nil {
		return err
	}
	o, err = web.Once(ctx, c, a.Cancel, o.UserID, "cancel", id)
	if err != nil {
		return err
	}
	writeOrder(c, http.StatusAccepted, o)
	return nil
}

func (a API) get(ctx context.Context, c *gin.Context) error {
	id, err := orderID(c)
	if err != nil {
		return err
	}
	o, err := a.Orders.Order(ctx, id)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, toJSON(o))
	return nil
}

func (a API) list(ctx context.Context, c *gin.Context) error {
	user, limit, err := pageQuery(c)
	if err != nil {
		return err
	}
	before := uuid.Max
	if s, ok := c.GetQuery("cursor"); ok {
		if before, err = parseID(s); err != nil {
			return problem.InvalidParameter("cursor", "must be the next_cursor of an earlier page")
		}
	}
	page, err := a.Orders.OrdersOf(ctx, user, before, limit)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, toPage(page))
	return nil
}

// pageQuery reads the user and the size of a page from the query. The error is a
// *problem.Problem.
func pageQuery(c *gin.Context) (user int64, limit int, err error) {
	if user, err = request.ParseUserID(c.Query("user_id")); err != nil {
		return 0, 0, problem.InvalidParameter("user_id", err.Error())
	}
	limit, err = request.Limit(c.Request)
	return user, limit, err
}

func orderID(c *gin.Context) (uuid.UUID, error) {
	id, err := parseID(c.Param("id"))
	if err != nil {
		return uuid.Nil, problem.InvalidParameter("id", err.Error())
	}
	return id, nil
}

var errID = errors.New("must be a UUID")

// parseID accepts only the canonical form; uuid.Parse accepts four others.
func parseID(s string) (uuid.UUID, error) {
	const canonical = 36
	id, err := uuid.Parse(s)
	if err != nil || len(s) != canonical {
		return uuid.Nil, errID
	}
	return id, nil
}
