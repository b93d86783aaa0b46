// Package httpapi is the HTTP face of the orders service.
package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gozon/orders/internal/live"
	"gozon/orders/internal/order"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/service"
	"gozon/shared/web/problem"
	"gozon/shared/web/request"
)

// answerWithin bounds a request; it is below the gateway's own bound, so that the client
// gets the more telling answer.
const answerWithin = 8 * time.Second

// Doer does one thing to one order, once under its key; concurrent calls may share a
// commit.
type Doer[T any] interface {
	Do(ctx context.Context, r idempotency.Request[T]) (idempotency.Result[order.Order], error)
}

// API has the handlers. All of it is needed.
type API struct {
	Placer    Doer[order.Draft]
	Canceller Doer[uuid.UUID]
	Orders    *order.Service
	Live      *live.Hub
	Stopping  <-chan struct{} // closed when streams must end
	Log       *slog.Logger
}

// Register adds the service's routes to r.
func (a *API) Register(r gin.IRoutes) {
	service.Handle(r, http.MethodPost, "/orders", a.place)
	service.Handle(r, http.MethodGet, "/orders", a.list)
	service.Handle(r, http.MethodGet, "/orders/events", a.events)
	service.Handle(r, http.MethodGet, "/orders/:id", a.get)
	service.Handle(r, http.MethodPost, "/orders/:id/cancel", a.cancel)
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
	key, err := request.Key(c.Request, draft.UserID, "place", draft)
	if err != nil {
		a.fail(c, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), answerWithin)
	defer cancel()
	do(ctx, a, c, a.Placer, idempotency.Request[order.Draft]{Key: key, What: draft}, http.StatusCreated)
}

func (a *API) cancel(c *gin.Context) {
	id, err := parseID(c.Param("id"))
	if err != nil {
		problem.Write(c, problem.InvalidParameter("id", err.Error()))
		return
	}
	// A key belongs to a user, and only the order knows whose it is.
	ctx, cancel := context.WithTimeout(c.Request.Context(), answerWithin)
	defer cancel()
	o, err := a.Orders.Order(ctx, id)
	if err != nil {
		a.fail(c, err)
		return
	}
	key, err := request.Key(c.Request, o.UserID, "cancel", id)
	if err != nil {
		a.fail(c, err)
		return
	}
	do(ctx, a, c, a.Canceller, idempotency.Request[uuid.UUID]{Key: key, What: id}, http.StatusAccepted)
}

// do has doer do r and answers with the order and status.
func do[T any](ctx context.Context, a *API, c *gin.Context, doer Doer[T], r idempotency.Request[T], status int) {
	result, err := doer.Do(ctx, r)
	if err == nil {
		err = result.Err
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	if result.Replayed {
		c.Header("Idempotent-Replayed", "true")
	}
	c.Header("Location", "/orders/"+result.Value.ID.String())
	c.JSON(status, toJSON(result.Value))
}

func (a *API) get(c *gin.Context) {
	id, err := parseID(c.Param("id"))
	if err != nil {
		problem.Write(c, problem.InvalidParameter("id", err.Error()))
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), answerWithin)
	defer cancel()
	o, err := a.Orders.Order(ctx, id)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, toJSON(o))
}

func (a *API) list(c *gin.Context) {
	user, limit, err := listed(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	before := uuid.Max
	if s, ok := c.GetQuery("cursor"); ok {
		if before, err = parseID(s); err != nil {
			problem.Write(c, problem.InvalidParameter("cursor", "must be the next_cursor of an earlier page"))
			return
		}
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), answerWithin)
	defer cancel()
	page, err := a.Orders.OrdersOf(ctx, user, before, limit)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, toPage(page))
}

// listed reads whose orders are asked for, and how many at most. The error is a
// *problem.Problem.
func listed(c *gin.Context) (user int64, limit int, err error) {
	if user, err = request.ParseUserID(c.Query("user_id")); err != nil {
		return 0, 0, problem.InvalidParameter("user_id", err.Error())
	}
	limit, err = request.Limit(c.Request)
	return user, limit, err
}

func (a *API) fail(c *gin.Context, err error) {
	switch {
	case errors.Is(err, order.ErrNotFound):
		err = problem.NotFound("there is no order with this id")
	case errors.Is(err, order.ErrNotCancellable):
		err = problem.NotCancellable("the order was cancelled for another reason")
	case errors.Is(err, live.ErrTooMany):
		err = problem.Unavailable("too many event streams; try again in a moment")
	case errors.Is(err, live.ErrNotReady):
		err = problem.Unavailable("event streams are not ready yet; try again in a moment")
	}
	request.Fail(c, a.Log, err)
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
