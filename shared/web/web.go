// Package web contains the HTTP code that the services share. A handler returns an error.
// [Router] bounds the time of the handler and responds to the error with a problem document.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gin-gonic/gin"

	"gozon/shared/delivery/batch"
	"gozon/shared/delivery/database"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/service"
	"gozon/shared/web/problem"
	"gozon/shared/web/request"
)

// Timeout bounds a request. It is shorter than the gateway's timeout, so that the client
// gets the service's more precise problem.
const Timeout = 8 * time.Second

// Handler responds to a request, or returns an error without having written anything. ctx is
// done after [Timeout] or when the client disconnects.
type Handler func(ctx context.Context, c *gin.Context) error

// Router registers handlers.
type Router struct {
	Routes gin.IRoutes
	Log    *slog.Logger
	// InFlight bounds the requests in flight. Those that exceed it are refused.
	InFlight *service.Limit
	Refused  *service.Refusals
	Limited  *service.Limited
	// Problems maps the errors of a service's domain to problems. A handler may also return
	// a *problem.Problem. The errors of the shared packages need no entry.
	Problems map[error]*problem.Problem
}

// Errors of requests that are refused.
var (
	errInFlight = &service.OverloadError{Reason: "in_flight", Detail: "too many requests are in flight"}
	errQueue    = &service.OverloadError{Reason: "queue_full", Detail: "too many requests like this one are waiting"}
)

// Handle registers h for a path, with and without a trailing slash. A request is in flight
// until h returns, so an event stream whose handler has hijacked its connection is not.
func (r Router) Handle(method, path string, h Handler) {
	service.Handle(r.Routes, method, path, func(c *gin.Context) {
		if !r.InFlight.Enter() {
			r.refuse(c, errInFlight)
			return
		}
		defer r.InFlight.Leave()
		ctx, cancel := context.WithTimeout(c.Request.Context(), Timeout)
		defer cancel()
		if err := h(ctx, c); err != nil {
			r.fail(c, err)
		}
	})
}

// refuse responds to a request that is refused because of overload.
func (r Router) refuse(c *gin.Context, refusal *service.OverloadError) {
	r.Refused.Add(c.Request.Context(), refusal.Reason)
	problem.Write(c, problem.Unavailable(refusal.Detail+"; nothing was done, retry in a moment"))
}

// fail responds with the problem that err maps to. An unknown error is a 500. This is the
// only place that logs the errors of handlers, and it logs only those that map to a 5xx.
// Refusals are counted and logged at a bounded rate.
func (r Router) fail(c *gin.Context, err error) {
	if c.Request.Context().Err() != nil { // the client has disconnected and caused the error
		c.AbortWithStatus(problem.StatusClientGone)
		return
	}
	if errors.Is(err, batch.ErrFull) {
		err = errQueue
	}
	if refusal, ok := errors.AsType[*service.OverloadError](err); ok {
		r.refuse(c, refusal)
		return
	}
	if limit, ok := errors.AsType[*service.LimitError](err); ok {
		r.Limited.Add(c.Request.Context(), limit.Limit, limit.Who)
		c.Header("Retry-After", "1")
		c.Header("RateLimit-Policy", fmt.Sprintf("%q;q=%d", limit.Limit, limit.Quota))
		c.Header("RateLimit", fmt.Sprintf("%q;r=0", limit.Limit))
		problem.Write(c, problem.TooManyRequests(limit.Detail+"; nothing was done, retry in a moment"))
		return
	}
	p := r.problem(err)
	if p.Status >= 500 {
		r.Log.ErrorContext(c.Request.Context(), "http: request failed", "status", p.Status, "error", err)
	}
	problem.Write(c, p)
}

func (r Router) problem(err error) *problem.Problem {
	for known, p := range r.Problems {
		if errors.Is(err, known) {
			return p
		}
	}
	var p *problem.Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, idempotency.ErrReused):
		return problem.KeyReused()
	case errors.Is(err, idempotency.ErrInFlight):
		return problem.RequestInFlight()
	case errors.Is(err, batch.ErrOutcomeUnknown), errors.Is(err, database.ErrCommit):
		return problem.OutcomeUnknown("the request may or may not have been processed; check before you retry")
	case errors.Is(err, batch.ErrNotStarted), database.IsUnavailable(err), database.IsBusy(err):
		return problem.Unavailable("nothing was done; it is safe to retry")
	}
	return problem.Internal()
}

// Batcher processes requests in batches. [batch.Batcher] implements it.
type Batcher[I, O any] interface {
	Do(ctx context.Context, r idempotency.Request[I]) (idempotency.Response[O], error)
}

// Once passes body to b, which processes it at most once under the Idempotency-Key of the
// request. A replayed response gets the Idempotent-Replayed header. The key is scoped to the
// user and the operation.
func Once[I, O any](ctx context.Context, c *gin.Context, b Batcher[I, O], user int64, operation string, body I) (O, error) {
	var none O
	value, err := request.IdempotencyKey(c.Request)
	if err != nil {
		return none, err
	}
	key, err := idempotency.NewKey(user, operation, value, body)
	if err != nil {
		return none, err
	}
	response, err := b.Do(ctx, idempotency.Request[I]{Key: key, Body: body})
	if err != nil {
		return none, err
	}
	if response.Err != nil {
		return none, response.Err
	}
	if response.Replayed {
		c.Header("Idempotent-Replayed", "true")
	}
	return response.Value, nil
}

// Auditor audits the data of a service. The Auditor of package participant implements it.
type Auditor[R any] interface {
	Check(ctx context.Context) (R, error) // verifies what is new
	Full(ctx context.Context) (R, error)  // verifies everything
}

// fullAuditTime is longer than a full audit takes.
const fullAuditTime = 6 * time.Minute

// Audit returns the report of the audit that a request asks for. A full one takes longer than
// other requests may: it ends when the client disconnects.
func Audit[R any](ctx context.Context, c *gin.Context, a Auditor[R]) (R, error) {
	full, err := request.Full(c.Request)
	switch {
	case err != nil:
		var none R
		return none, err
	case full:
		service.AllowTime(c.Writer, fullAuditTime)
		return a.Full(c.Request.Context()) //nolint:contextcheck // as documented
	}
	return a.Check(ctx)
}
