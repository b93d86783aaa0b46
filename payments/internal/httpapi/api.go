// Package httpapi is the HTTP API of the payments service.
package httpapi

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gozon/payments/internal/payment"
	"gozon/shared/contract/audit"
	"gozon/shared/contract/money"
	"gozon/shared/web"
	"gozon/shared/web/problem"
	"gozon/shared/web/request"
)

// API implements the handlers. All fields are required.
type API struct {
	Deposit  web.Batcher[payment.Deposit, payment.Deposited]
	Payments *payment.Service
	Audit    web.Auditor[payment.Audit]
}

// Register adds the routes of the service.
func (a API) Register(r web.Router) {
	r.Problems = map[error]*problem.Problem{
		payment.ErrAccountNotFound:  problem.NotFound("this user has no account"),
		payment.ErrDepositsTooLarge: problem.Invalid(problem.Field{Pointer: "/balance", Detail: payment.ErrDepositsTooLarge.Error()}),
	}
	r.Handle(http.MethodPost, "/accounts", a.deposit)
	r.Handle(http.MethodGet, "/accounts/:user_id", a.account)
	r.Handle(http.MethodGet, "/accounts/:user_id/entries", a.entries)
	r.Handle(http.MethodGet, "/audit", a.audit)
	r.Handle(http.MethodGet, audit.PaymentsPath, a.paymentsIn)
	r.Handle(http.MethodPost, audit.PaymentsPath, a.paymentsOf)
}

type accountJSON struct {
	UserID  int64        `json:"user_id"`
	Balance money.Amount `json:"balance"`
}

func (a API) deposit(ctx context.Context, c *gin.Context) error {
	body, err := request.ReadObject(c.Request)
	if err != nil {
		return err
	}
	d := payment.Deposit{UserID: body.UserID("user_id"), Amount: body.Amount("balance", 0)}
	if err := body.Problem(); err != nil {
		return err
	}
	deposited, err := web.Once(ctx, c, a.Deposit, d.UserID, "deposit", d)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if deposited.Opened {
		status = http.StatusCreated
		c.Header("Location", "/accounts/"+strconv.FormatInt(d.UserID, 10))
	}
	c.JSON(status, accountJSON{deposited.Account.UserID, deposited.Account.Balance})
	return nil
}

func (a API) account(ctx context.Context, c *gin.Context) error {
	user, err := userID(c)
	if err != nil {
		return err
	}
	account, err := a.Payments.Account(ctx, user)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, accountJSON{account.UserID, account.Balance})
	return nil
}

type entryJSON struct {
	Seq          int64        `json:"seq"`
	Kind         string       `json:"kind"`
	Amount       money.Amount `json:"amount"`
	BalanceAfter money.Amount `json:"balance_after"`
	OrderID      *uuid.UUID   `json:"order_id,omitempty"`
	CreatedAt    time.Time    `json:"created_at"`
}

type pageJSON struct {
	Entries    []entryJSON `json:"entries"`
	NextCursor string      `json:"next_cursor,omitempty"`
}

func (a API) entries(ctx context.Context, c *gin.Context) error {
	user, err := userID(c)
	if err != nil {
		return err
	}
	limit, err := request.Limit(c.Request)
	if err != nil {
		return err
	}
	before, err := cursor(c)
	if err != nil {
		return err
	}
	page, err := a.Payments.EntriesOf(ctx, user, before, limit)
	if err != nil {
		return err
	}
	answer := pageJSON{Entries: make([]entryJSON, len(page.Entries))}
	for i, e := range page.Entries {
		answer.Entries[i] = entryJSON{e.Seq, string(e.Kind), e.Amount, e.BalanceAfter, e.OrderID, e.CreatedAt}
	}
	if page.More {
		answer.NextCursor = strconv.FormatInt(page.Entries[len(page.Entries)-1].Seq, 10)
	}
	c.JSON(http.StatusOK, answer)
	return nil
}

// cursor returns the upper bound of the requested page: its entries have a lower Seq.
func cursor(c *gin.Context) (int64, error) {
	s, given := c.GetQuery("cursor")
	if !given {
		return math.MaxInt64, nil
	}
	before, err := strconv.ParseInt(s, 10, 64)
	if err != nil || before < 1 {
		return 0, problem.InvalidParameter("cursor", "must be the next_cursor of an earlier page")
	}
	return before, nil
}

func userID(c *gin.Context) (int64, error) {
	user, err := request.ParseUserID(c.Param("user_id"))
	if err != nil {
		return 0, problem.InvalidParameter("user_id", err.Error())
	}
	return user, nil
}
