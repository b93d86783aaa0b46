// Package httpapi is the HTTP face of the payments service.
package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gozon/payments/internal/payment"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/service"
	"gozon/shared/web/problem"
	"gozon/shared/web/request"
)

// answerWithin bounds a request; it is below the gateway's own bound, so that the client
// gets the more telling answer.
const answerWithin = 8 * time.Second

// Depositor makes one deposit, once under its key; concurrent calls may share a commit.
type Depositor interface {
	Do(ctx context.Context, r idempotency.Request[payment.Deposit]) (idempotency.Result[payment.Deposited], error)
}

// API has the handlers.
type API struct {
	depositor Depositor
	payments  *payment.Service
	log       *slog.Logger
}

// Register adds the service's routes to r.
func Register(r gin.IRoutes, depositor Depositor, payments *payment.Service, log *slog.Logger) {
	a := &API{depositor, payments, log}
	service.Handle(r, http.MethodPost, "/accounts", a.deposit)
	service.Handle(r, http.MethodGet, "/accounts/:user_id", a.account)
	service.Handle(r, http.MethodGet, "/accounts/:user_id/entries", a.entries)
}

type accountJSON struct {
	UserID  int64        `json:"user_id"`
	Balance money.Amount `json:"balance"`
}

func (a *API) deposit(c *gin.Context) {
	body, err := request.ReadObject(c.Request)
	if err != nil {
		a.fail(c, err)
		return
	}
	d := payment.Deposit{UserID: body.UserID("user_id"), Amount: body.Amount("balance", 0)}
	if err := body.Problem(); err != nil {
		a.fail(c, err)
		return
	}
	key, err := request.Key(c.Request, d.UserID, "deposit", d)
	if err != nil {
		a.fail(c, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), answerWithin)
	defer cancel()
	result, err := a.depositor.Do(ctx, idempotency.Request[payment.Deposit]{Key: key, What: d})
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
	done, status := result.Value, http.StatusOK
	if done.Opened {
		status = http.StatusCreated
		c.Header("Location", "/accounts/"+strconv.FormatInt(d.UserID, 10))
	}
	c.JSON(status, accountJSON{done.Account.UserID, done.Account.Balance})
}

func (a *API) account(c *gin.Context) {
	user, ok := a.user(c)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), answerWithin)
	defer cancel()
	account, err := a.payments.Account(ctx, user)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, accountJSON{account.UserID, account.Balance})
}

type entryJSON struct {
	Seq          int64        `json:"seq"`
	Kind         string       `json:"kind"`
	Amount       money.Amount `json:"amount"`
	BalanceAfter money.Amount `json:"balance_after"`
	OrderID      *uuid.UUID   `json:"order_id,omitempty"`
	CreatedAt    time.Time    `json:"created_at"`
}

func (a *API) entries(c *gin.Context) {
	user, ok := a.user(c)
	if !ok {
		return
	}
	limit, err := request.Limit(c.Request)
	if err != nil {
		a.fail(c, err)
		return
	}
	before := int64(math.MaxInt64)
	if s, ok := c.GetQuery("cursor"); ok {
		if before, err = strconv.ParseInt(s, 10, 64); err != nil || before < 1 {
			problem.Write(c, problem.InvalidParameter("cursor", "must be the next_cursor of an earlier page"))
			return
		}
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), answerWithin)
	defer cancel()
	page, more, err := a.payments.EntriesOf(ctx, user, before, limit)
	if err != nil {
		a.fail(c, err)
		return
	}
	answer := struct {
		Entries    []entryJSON `json:"entries"`
		NextCursor string      `json:"next_cursor,omitempty"`
	}{Entries: make([]entryJSON, len(page))}
	for i, e := range page {
		answer.Entries[i] = entryJSON{Seq: e.Seq, Kind: string(e.Kind), Amount: e.Amount, BalanceAfter: e.BalanceAfter, CreatedAt: e.CreatedAt}
		if e.OrderID.Valid {
			answer.Entries[i].OrderID = &e.OrderID.UUID
		}
	}
	if more {
		answer.NextCursor = strconv.FormatInt(page[len(page)-1].Seq, 10)
	}
	c.JSON(http.StatusOK, answer)
}

func (a *API) user(c *gin.Context) (int64, bool) {
	user, err := request.ParseUserID(c.Param("user_id"))
	if err != nil {
		problem.Write(c, problem.InvalidParameter("user_id", err.Error()))
		return 0, false
	}
	return user, true
}

func (a *API) fail(c *gin.Context, err error) {
	switch {
	case errors.Is(err, payment.ErrAccountNotFound):
		err = problem.NotFound("there is no account of this user")
	case errors.Is(err, payment.ErrBalanceTooLarge):
		err = problem.Invalid(problem.Field{Pointer: "/balance", Detail: payment.ErrBalanceTooLarge.Error()})
	}
	request.Fail(c, a.log, err)
}
