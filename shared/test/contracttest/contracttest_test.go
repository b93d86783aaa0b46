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

// exchange is a call and its answer; what is empty is as it should be.
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

func TestWhatTheContractSaysPasses(t *testing.T) {
	t.Parallel()
	location := http.Header{"Location": {orderPath}}
	for name, x := range map[string]exchange{
		"an order":                {path: orderPath, answer: order},
		"with a slash":            {path: orderPath + "/", answer: order},
		"a list":                  {path: "/orders/?user_id=1&limit=100", answer: `{"orders":[` + order + `],"next_cursor":"x"}`},
		"a list without a slash":  {path: "/orders?user_id=1", answer: `{"orders":[]}`},
		"placed":                  {method: http.MethodPost, path: "/orders/", key: `"k"`, body: `{"user_id":1,"item":" x ","price":0.01}`, status: 201, header: location, answer: order},
		"HEAD":                    {method: http.MethodHead, path: orderPath},
		"HEAD that fails":         {method: http.MethodHead, path: orderPath, status: 404},
		"HEAD of a stream":        {method: http.MethodHead, path: "/orders/events?user_id=1", contentType: "text/event-stream"},
		"HEAD where GET is not":   {method: http.MethodHead, path: orderPath + "/cancel", status: 405},
		"cancelled":               {method: http.MethodPost, path: orderPath + "/cancel", status: 202, header: location, answer: order},
		"an unknown reason":       {path: orderPath, answer: with(`"version"`, `"cancel_reason":"the_moon","version"`)},
		"the largest balance":     {path: "/accounts/9007199254740991", answer: `{"user_id":9007199254740991,"balance":9999999999999.99}`},
		"a stream":                {path: "/orders/events?user_id=1", contentType: "text/event-stream", answer: "retry: 1000\n\n"},
		"a failure":               {path: orderPath, status: 404, answer: notFound},
		"no such path":            {path: "/nothing", status: 404, answer: notFound},
		"no such path below":      {path: "/accounts/1/nothing", status: 404, answer: notFound},
		"no such method":          {method: http.MethodDelete, path: "/accounts/1", status: 405, answer: `{"type":"/problems/method-not-allowed","title":"Method not allowed","status":405,"detail":"no","request_id":"me"}`},
		"an invalid request":      {path: "/orders/", status: 400, answer: `{"type":"/problems/invalid-parameter","title":"Invalid parameter","status":400,"detail":"no","request_id":"me","errors":[{"parameter":"user_id","detail":"is required"}]}`},
		"a probe":                 {path: "/readyz", status: 503, answer: `{}`},
		"this document":           {path: "/openapi.yaml", contentType: "application/yaml", answer: "openapi: 3.1.0"},
		"a page, and its charset": {path: "/problems", contentType: "text/html; charset=utf-8", answer: "<p>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, x.verify(t))
		})
	}
}

func TestDriftIsFound(t *testing.T) {
	t.Parallel()
	location := http.Header{"Location": {orderPath}}
	place := func(body string) exchange {
		return exchange{method: http.MethodPost, path: "/orders/", body: body, status: 201, header: location, answer: order}
	}
	for name, x := range map[string]exchange{
		"an extra field":             {path: orderPath, answer: with(`"version"`, `"colour":"red","version"`)},
		"a missing field":            {path: orderPath, answer: with(`"version":2,`, ``)},
		"a missing timeline":         {path: orderPath, answer: with(`,"timeline":[{"step":"placed","at":"2025-11-24T12:00:00Z"}]`, ``)},
		"an unknown step":            {path: orderPath, answer: with(`"placed"`, `"lost"`)},
		"an extra field within":      {path: orderPath, answer: with(`"step"`, `"by":1,"step"`)},
		"a wrong type":               {path: orderPath, answer: with(`19.99`, `"19.99"`)},
		"null":                       {path: orderPath, answer: with(`"item":"x"`, `"item":null`)},
		"an unknown status":          {path: orderPath, answer: with(`PAID`, `LOST`)},
		"a local time":               {path: orderPath, answer: with(`12:00:00.1Z`, `12:00:00.1+01:00`)},
		"no time at all":             {path: orderPath, answer: with(`2025-11-24T12:00:00.1Z`, `Tomorrow Z`)},
		"no id":                      {path: orderPath, answer: with(`"id":"019`, `"id":"x`)},
		"a negative price":           {path: orderPath, answer: with(`19.99`, `-1`)},
		"an undocumented status":     {path: orderPath, status: 202, answer: order},
		"a redirect":                 {path: "/orders?user_id=1", status: 301, answer: `{}`},
		"a wrong media type":         {path: orderPath, contentType: "text/plain", answer: order},
		"no request id":              {path: orderPath, answer: order, header: http.Header{"X-Request-Id": nil}},
		"no Location":                {method: http.MethodPost, path: "/orders/", body: `{"user_id":1,"item":"x","price":1}`, status: 201, answer: order},
		"not JSON":                   {path: orderPath, answer: `{"id"`},
		"a stream of another type":   {path: "/orders/events?user_id=1", answer: "retry: 1000\n\n"},
		"success without user":       {path: "/orders/", answer: `{"orders":[]}`},
		"success with limit 0":       {path: "/orders/?user_id=1&limit=0", answer: `{"orders":[]}`},
		"success with user 0":        {path: "/accounts/0", answer: `{"user_id":1,"balance":1}`},
		"success with no UUID":       {path: "/orders/1", answer: order},
		"success with a wrong key":   {method: http.MethodPost, path: orderPath + "/cancel", key: "two words", status: 202, header: location, answer: order},
		"success for price 0":        place(`{"user_id":1,"item":"x","price":0}`),
		"success for a string price": place(`{"user_id":1,"item":"x","price":"1"}`),
		"success without item":       place(`{"user_id":1,"price":1}`),
		"success for a blank item":   place(`{"user_id":1,"item":"  ","price":1}`),
		"success for a long item":    place(`{"user_id":1,"item":"` + strings.Repeat("x", 201) + `","price":1}`),
		"success for half an object": place(`{"user_id":1`),
		"HEAD of another type":       {method: http.MethodHead, path: orderPath, contentType: "text/plain"},
		"HEAD of another status":     {method: http.MethodHead, path: orderPath, status: 405},
		"HEAD without a request id":  {method: http.MethodHead, path: orderPath, header: http.Header{"X-Request-Id": nil}},
		"an unknown path":            {path: "/nothing", answer: order},
		"a 404 that is no problem":   {path: "/nothing", status: 404, contentType: "text/plain", answer: "404"},
		"an unknown problem":         {path: "/nothing", status: 404, answer: strings.Replace(notFound, "not-found", "gone", 1)},
		"another title":              {path: orderPath, status: 404, answer: strings.Replace(notFound, "Not found", "Gone", 1)},
		"a type of another status":   {path: orderPath, status: 404, answer: strings.Replace(strings.Replace(notFound, "not-found", "internal", 1), "Not found", "Internal error", 1)},
		"another status within":      {path: orderPath, status: 404, answer: strings.Replace(notFound, "404", "405", 1)},
		"another request id":         {path: orderPath, status: 404, answer: strings.Replace(notFound, `"me"`, `"you"`, 1)},
		"a bare error entry":         {path: orderPath, status: 404, answer: strings.Replace(notFound, `"detail"`, `"errors":[{"detail":"x"}],"detail"`, 1)},
		"503 without Retry-After":    {path: orderPath, status: 503, answer: `{"type":"/problems/unavailable","title":"Temporarily unavailable","status":503,"detail":"no","request_id":"me"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Error(t, x.verify(t))
		})
	}
}

// The contract, the code and the pages know the same types of problems.
func TestContractHasTheRegistryOfProblems(t *testing.T) {
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
