package main

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gozon/shared/service"
	"gozon/shared/web/problem"
)

// admission bounds the requests in flight to a service, so that a service that is stuck does
// not take the share of another. A flood of new orders stops neither reads nor cancellations,
// because they have separate shares. A request above the limit is refused at once: while it
// waited, its client might give up. Only the opening of an event stream is in flight.
type admission struct {
	service string
	shares  map[string]*service.Limit // by kind
	refused *service.Refusals
}

// The kinds of requests.
const (
	kindRead   = "read"
	kindCreate = "create" // a POST to the prefix of the service: places an order, opens an account
	kindWrite  = "write"  // any other
)

func kindOf(r *http.Request) string {
	switch {
	case isRead(r.Method):
		return kindRead
	case r.Method == http.MethodPost && strings.Count(strings.TrimSuffix(r.URL.Path, "/"), "/") == 1:
		return kindCreate
	}
	return kindWrite
}

func newAdmission(name string, limit int, reg prometheus.Registerer, refused *service.Refusals) *admission {
	a := &admission{service: name, shares: map[string]*service.Limit{}, refused: refused}
	for _, kind := range []string{kindRead, kindCreate, kindWrite} {
		a.shares[kind] = service.NewLimit(limit, reg, prometheus.Labels{"service": name, "kind": kind})
	}
	return a
}

// enter returns the share of the request of c, or responds with 503 and returns false if the
// share is used up. The caller calls Leave of the share when the request is completed.
func (a *admission) enter(c *gin.Context) (share *service.Limit, ok bool) {
	kind := kindOf(c.Request)
	if share = a.shares[kind]; share.Enter() {
		return share, true
	}
	a.refused.Add(c.Request.Context(), a.service+" "+kind)
	problem.Write(c, problem.Unavailable("too many requests are in flight; nothing was done, retry in a moment"))
	return nil, false
}
