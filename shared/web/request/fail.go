package request

import (
	"errors"
	"log/slog"

	"github.com/gin-gonic/gin"

	"gozon/shared/delivery/batch"
	"gozon/shared/delivery/database"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/web/problem"
)

// Fail answers c for err: the part of a service's error table that does not
// depend on its domain. What it does not know is a fault of the shop: 500, logged
// here and nowhere else.
func Fail(c *gin.Context, log *slog.Logger, err error) {
	if c.Request.Context().Err() != nil { // the client is gone: nobody reads what failed for that
		c.AbortWithStatus(problem.StatusClientGone)
		return
	}
	var p *problem.Problem
	switch {
	case errors.As(err, &p):
	case errors.Is(err, idempotency.ErrReused):
		p = problem.KeyReused()
	case errors.Is(err, idempotency.ErrInFlight):
		p = problem.RequestInFlight()
	case errors.Is(err, batch.ErrOutcomeUnknown), errors.Is(err, database.ErrCommit):
		p = problem.OutcomeUnknown("it is not known whether this was done; look before you try again")
	case errors.Is(err, batch.ErrNotStarted), database.IsUnavailable(err), database.IsBusy(err):
		p = problem.Unavailable("nothing was done; it is safe to try again")
	default:
		p = problem.Internal()
	}
	if p.Status >= 500 {
		log.ErrorContext(c.Request.Context(), "request failed", "status", p.Status, "error", err)
	}
	problem.Write(c, p)
}
