package main

import (
	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gozon/shared/service"
	"gozon/shared/web/problem"
)

// admission bounds the requests in flight to a service, so that a service that is stuck does
// not take the share of another. Reads and other requests have separate shares, so that a
// flood of orders does not stop reads. A request above the limit is refused at once: while it
// waited, its client might give up. Only the opening of an event stream is in flight.
type admission struct {
	service       string
	reads, writes *service.Limit
	refused       *service.Refusals
}

func newAdmission(name string, limit int, reg prometheus.Registerer, refused *service.Refusals) *admission {
	share := func(kind string) *service.Limit {
		return service.NewLimit(limit, reg, prometheus.Labels{"service": name, "kind": kind})
	}
	return &admission{service: name, reads: share("read"), writes: share("write"), refused: refused}
}

// enter returns the share of the request of c, or responds with 503 and returns false if the
// share is used up. The caller calls Leave of the share when the request is completed.
func (a *admission) enter(c *gin.Context) (share *service.Limit, ok bool) {
	share, reason := a.writes, " writes"
	if isRead(c.Request.Method) {
		share, reason = a.reads, " reads"
	}
	if share.Enter() {
		return share, true
	}
	a.refused.Add(c.Request.Context(), a.service+reason)
	problem.Write(c, problem.Unavailable("too many requests are in flight; nothing was done, retry in a moment"))
	return nil, false
}
