package contracttest

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/web/problem"
)

const (
	order     = `{"id":"019ab3f2-7d1e-7a4b-9c1d-2e3f4a5b6c7d","user_id":1,"item":"x","price":19.99,"status":"PAID","version":2,"created_at":"2025-11-24T12:00:00.1Z","updated_at":"2025-11-24T12:00:00Z","timeline":[{"step":"placed","at":"2025-11-24T12:00:00Z"}]}`
	notFound  = `{"type":"/problems/not-found","title":"Not found","status":404,"detail":"no","request_id":"me"}`
	orderPath = "/orders/019ab3f2-7d1e-7a4b-9c1d-2e3f4a5b6c7d"
)

// exchange is a request and its response. Empty fields have valid defaults.
type exchange struct {
	method, path, key, body string
	status                  int
	contentType, answer     string
	header                  http.Header
}

func (x exchange) verify(t *testing.T) error {
	t.Helper()
	if x.method == "" {
		x.method = http.MethodGet
	}
	req := httptest.NewRequestWithContext(t.Context(), x.method, x.path, strings.NewReader(x.body))
	if x.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if x.key != "" {
		req.Header.Set("Idempotency-Key", x.key)
	}
	if x.status == 0 {
		x.status = http.StatusOK
	}
	switch {
	case x.contentType != "":
	case x.status >= http.StatusBadRequest:
		x.contentType = problem.ContentType
	default:
		x.contentType = "application/json; charset=utf-8"
	}
	h := http.Header{"Content-Type": {x.contentType}, "X-Request-Id": {"me"}}
	maps.Copy(h, x.header)
	return Verify(req, []byte(x.body), &http.Response{StatusCode: x.status, Header: h}, []byte(x.answer))
}

func with(old, replacement string) string { return strings.Replace(order, old, replacement, 1) }

func TestValidExchangesPass(t *testing.T) {
	t.Parallel()
	location := http.Header{"Location": {orderPath}}
	for name, x := range map[string]exchange{
		"order":                  {path: orderPath, answer: order},
		"trailing slash":         {path: orderPath + "/", answer: order},
		"list":                   {path: "/orders/?user_id=1&limit=100", answer: `{"orders":[` + order + `],"next_cursor":"x"}`},
		"list without slash":     {path: "/orders?user_id=1", answer: `{"orders":[]}`},
		"order placed":           {method: http.MethodPost, path: "/orders/", key: `"k"`, body: `{"user_id":1,"item":" x ","price":0.01}`, status: 201, header: location, answer: order},
		"HEAD":                   {method: http.MethodHead, path: orderPath},
		"HEAD with an error":     {method: http.MethodHead, path: orderPath, status: 404},
		"HEAD of a stream":       {method: http.MethodHead, path: "/orders/events?user_id=1", contentType: "text/event-stream"},
		"HEAD without GET":       {method: http.MethodHead, path: orderPath + "/cancel", status: 405},
		"order cancelled":        {method: http.MethodPost, path: orderPath + "/cancel", status: 202, header: location, answer: order},
		"unknown cancel reason":  {path: orderPath, answer: with(`"version"`, `"cancel_reason":"the_moon","version"`)},
		"largest balance":        {path: "/accounts/9007199254740991", answer: `{"user_id":9007199254740991,"balance":9999999999999.99}`},
		"event stream":           {path: "/orders/events?user_id=1", contentType: "text/event-stream", answer: "retry: 1000\n\n"},
		"error":                  {path: orderPath, status: 404, answer: notFound},
		"unknown path":           {path: "/nothing", status: 404, answer: notFound},
		"unknown subpath":        {path: "/accounts/1/nothing", status: 404, answer: notFound},
		"unknown method":         {method: http.MethodDelete, path: "/accounts/1", status: 405, answer: `{"type":"/problems/method-not-allowed","title":"Method not allowed","status":405,"detail":"no","request_id":"me"}`},
		"invalid request":        {path: "/orders/", status: 400, answer: `{"type":"/problems/invalid-parameter","title":"Invalid parameter","status":400,"detail":"no","request_id":"me","errors":[{"parameter":"user_id","detail":"is required"}]}`},
		"probe":                  {path: "/readyz", status: 503, answer: `{}`},
		"contract document":      {path: "/openapi.yaml", contentType: "application/yaml", answer: "openapi: 3.1.0"},
		"HTML page with charset": {path: "/problems", contentType: "text/html; charset=utf-8", answer: "<p>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, x.verify(t))
		})
	}
}

func TestViolationsAreDetected(t *testing.T) {
	t.Parallel()
	location := http.Header{"Location": {orderPath}}
	place := func(body string) exchange {
		return exchange{method: http.MethodPost, path: "/orders/", body: body, status: 201, header: location, answer: order}
	}
	for name, x := range map[string]exchange{
		"extra field":                    {path: orderPath, answer: with(`"version"`, `"colour":"red","version"`)},
		"missing field":                  {path: orderPath, answer: with(`"version":2,`, ``)},
		"missing timeline":               {path: orderPath, answer: with(`,"timeline":[{"step":"placed","at":"2025-11-24T12:00:00Z"}]`, ``)},
		"unknown step":                   {path: orderPath, answer: with(`"placed"`, `"lost"`)},
		"extra nested field":             {path: orderPath, answer: with(`"step"`, `"by":1,"step"`)},
		"wrong type":                     {path: orderPath, answer: with(`19.99`, `"19.99"`)},
		"null":                           {path: orderPath, answer: with(`"item":"x"`, `"item":null`)},
		"unknown order status":           {path: orderPath, answer: with(`PAID`, `LOST`)},
		"local time":                     {path: orderPath, answer: with(`12:00:00.1Z`, `12:00:00.1+01:00`)},
		"invalid time":                   {path: orderPath, answer: with(`2025-11-24T12:00:00.1Z`, `Tomorrow Z`)},
		"invalid id":                     {path: orderPath, answer: with(`"id":"019`, `"id":"x`)},
		"negative price":                 {path: orderPath, answer: with(`19.99`, `-1`)},
		"undocumented status":            {path: orderPath, status: 202, answer: order},
		"redirect":                       {path: "/orders?user_id=1", status: 301, answer: `{}`},
		"wrong media type":               {path: orderPath, contentType: "text/plain", answer: order},
		"missing request id":             {path: orderPath, answer: order, header: http.Header{"X-Request-Id": nil}},
		"missing Location":               {method: http.MethodPost, path: "/orders/", body: `{"user_id":1,"item":"x","price":1}`, status: 201, answer: order},
		"invalid JSON":                   {path: orderPath, answer: `{"id"`},
		"event stream as JSON":           {path: "/orders/events?user_id=1", answer: "retry: 1000\n\n"},
		"success without user id":        {path: "/orders/", answer: `{"orders":[]}`},
		"success with limit 0":           {path: "/orders/?user_id=1&limit=0", answer: `{"orders":[]}`},
		"success with user id 0":         {path: "/accounts/0", answer: `{"user_id":1,"balance":1}`},
		"success with invalid order id":  {path: "/orders/1", answer: order},
		"success with invalid key":       {method: http.MethodPost, path: orderPath + "/cancel", key: "two words", status: 202, header: location, answer: order},
		"success with price 0":           place(`{"user_id":1,"item":"x","price":0}`),
		"success with string price":      place(`{"user_id":1,"item":"x","price":"1"}`),
		"success without item":           place(`{"user_id":1,"price":1}`),
		"success with blank item":        place(`{"user_id":1,"item":"  ","price":1}`),
		"success with long item":         place(`{"user_id":1,"item":"` + strings.Repeat("x", 201) + `","price":1}`),
		"success with truncated body":    place(`{"user_id":1`),
		"HEAD with wrong media type":     {method: http.MethodHead, path: orderPath, contentType: "text/plain"},
		"HEAD with undocumented status":  {method: http.MethodHead, path: orderPath, status: 405},
		"HEAD without request id":        {method: http.MethodHead, path: orderPath, header: http.Header{"X-Request-Id": nil}},
		"success on an unknown path":     {path: "/nothing", answer: order},
		"404 without problem":            {path: "/nothing", status: 404, contentType: "text/plain", answer: "404"},
		"unknown problem type":           {path: "/nothing", status: 404, answer: strings.Replace(notFound, "not-found", "gone", 1)},
		"wrong problem title":            {path: orderPath, status: 404, answer: strings.Replace(notFound, "Not found", "Gone", 1)},
		"problem type of another status": {path: orderPath, status: 404, answer: strings.Replace(strings.Replace(notFound, "not-found", "internal", 1), "Not found", "Internal error", 1)},
		"wrong problem status":           {path: orderPath, status: 404, answer: strings.Replace(notFound, "404", "405", 1)},
		"wrong problem request id":       {path: orderPath, status: 404, answer: strings.Replace(notFound, `"me"`, `"you"`, 1)},
		"error entry without location":   {path: orderPath, status: 404, answer: strings.Replace(notFound, `"detail"`, `"errors":[{"detail":"x"}],"detail"`, 1)},
		"503 without Retry-After":        {path: orderPath, status: 503, answer: `{"type":"/problems/unavailable","title":"Temporarily unavailable","status":503,"detail":"no","request_id":"me"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Error(t, x.verify(t))
		})
	}
}

// The contract lists the problem types of the registry, in the same order.
func TestContractListsAllProblemTypes(t *testing.T) {
	t.Parallel()
	c, err := contract()
	require.NoError(t, err)
	var registered []any
	for _, kind := range problem.Types() {
		require.NotEmpty(t, kind.Title)
		require.NotEmpty(t, kind.Meaning)
		require.NotEmpty(t, kind.Advice)
		registered = append(registered, kind.URI())
	}
	require.Equal(t, c.spec.Components.Schemas["ProblemType"].Value.Enum, registered)
}
