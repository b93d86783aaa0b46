package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"gozon/gateway/internal/http1"
	"gozon/shared/contract/audit"
	"gozon/shared/contract/money"
	"gozon/shared/service"
	"gozon/shared/web/problem"
	"gozon/shared/web/request"
)

const (
	// fullAuditTimeout is longer than a service works on a full audit.
	fullAuditTimeout = 6 * time.Minute
	// maxAuditBytes is larger than a report with [audit.MaxDifferences].
	maxAuditBytes = 4 << 20
)

// auditJSON is the response to an audit. The members after Shop come from orders, those
// before from payments; both have Differences.
type auditJSON struct {
	OK          bool               `json:"ok"`
	CheckedAt   time.Time          `json:"checked_at"`
	MoneyIn     money.Amount       `json:"money_in"`
	Balances    money.Amount       `json:"balances"`
	Shop        money.Amount       `json:"shop"`
	Payments    json.RawMessage    `json:"payments"`
	Orders      json.RawMessage    `json:"orders"`
	InFlight    int64              `json:"in_flight"`
	Overdue     int64              `json:"overdue"`
	ComparedAt  *time.Time         `json:"compared_at"`
	Differences []audit.Difference `json:"differences"`
}

var errNotAReport = errors.New("the response is not an audit report")

// registerAudit registers /audit, which joins the audits of the two services. It responds
// with a problem unless both have completed theirs.
func registerAudit(e *gin.Engine, orders, payments *proxy, limits *limits) {
	service.Handle(e, http.MethodGet, "/audit", func(c *gin.Context) {
		if !limits.admit(c) {
			return
		}
		full, err := request.Full(c.Request)
		if invalid, ok := errors.AsType[*problem.Problem](err); ok {
			problem.Write(c, invalid)
			return
		}
		uri, timeout := "/audit", time.Duration(0)
		if full {
			service.AllowTime(c.Writer, 2*fullAuditTimeout)
			uri, timeout = "/audit?full=true", fullAuditTimeout
		}
		joined := auditJSON{Differences: []audit.Difference{}}
		for _, p := range []*proxy{payments, orders} {
			earlier, differences := joined.CheckedAt, joined.Differences
			if !p.audit(c, uri, max(timeout, p.timeout), &joined) {
				return
			}
			joined.Differences = append(differences, joined.Differences...)
			if !earlier.IsZero() {
				joined.CheckedAt = earlier
			}
		}
		joined.OK = len(joined.Differences) == 0
		c.JSON(http.StatusOK, joined)
	})
}

// audit adds the report of the service to joined. On failure it responds with a problem and
// returns false.
func (p *proxy) audit(c *gin.Context, uri string, timeout time.Duration, joined *auditJSON) (ok bool) {
	share, admitted := p.admission.enter(c)
	if !admitted {
		return false
	}
	defer share.Leave()
	wire := appendHeader([]byte("GET "+uri+" HTTP/1.1\r\n"), "Host", p.balancer.upstream.name)
	wire = appendHeader(wire, service.RequestIDHeader, c.Request.Header.Get(service.RequestIDHeader))
	wire = append(wire, "\r\n"...)
	resp, replica, err := p.balancer.send(c.Request.Context(), outgoing{http1.Request{Method: http.MethodGet, Wire: wire, Timeout: timeout}, true})
	if err != nil {
		p.respondFailure(c, err)
		return false
	}
	defer replica.done()
	defer resp.Close()
	body, err := io.ReadAll(io.LimitReader(resp, maxAuditBytes))
	switch {
	case err != nil:
		p.respondFailure(c, err)
		return false
	case resp.StatusCode == http.StatusServiceUnavailable:
		copyHeader(c.Writer.Header(), resp.Header)
		c.Status(resp.StatusCode)
		_, _ = c.Writer.Write(body) // fails only if the client has disconnected
		return false
	}
	joined.CheckedAt, joined.Differences = time.Time{}, nil
	if json.Unmarshal(body, joined) != nil || resp.StatusCode != http.StatusOK || joined.CheckedAt.IsZero() {
		p.respondFailure(c, errNotAReport)
		return false
	}
	return true
}
