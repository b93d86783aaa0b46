// Package contracttest verifies HTTP exchanges against the API contract, docs/openapi.yaml.
// Tests pass it every request that they send and its response.
package contracttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"gozon/shared/service"
	"gozon/shared/web/problem"
)

// Check reports a test error if the exchange violates the contract (see [Verify]). Any
// goroutine may call it.
func Check(t testing.TB, req *http.Request, reqBody []byte, resp *http.Response, respBody []byte) {
	t.Helper()
	if err := Verify(req, reqBody, resp, respBody); err != nil {
		t.Error(err)
	}
}

// Verify returns an error if the exchange violates the contract:
//
//   - the operation does not document the status, media type, headers or body of the response;
//   - an invalid request succeeded;
//   - the contract has no such operation, and the response is not a 404 or 405 problem.
//
// It ignores the body of a response that is not JSON, such as an event stream. Probes and
// metrics are not part of the contract and always pass.
func Verify(req *http.Request, reqBody []byte, resp *http.Response, respBody []byte) error {
	if slices.Contains([]string{"/livez", "/readyz", "/healthz", "/metrics"}, trim(req.URL.Path)) {
		return nil
	}
	c, err := contract()
	if err != nil {
		return err
	}
	if err := c.verify(req, reqBody, resp, respBody); err != nil {
		return fmt.Errorf("%s %s: response %d %s violates docs/openapi.yaml: %w",
			req.Method, req.URL.RequestURI(), resp.StatusCode, respBody, err)
	}
	return nil
}

type document struct {
	spec   *openapi3.T
	router routers.Router
}

var contract = sync.OnceValues(load)

func load() (*document, error) {
	_, here, _, _ := runtime.Caller(0)
	spec, err := openapi3.NewLoader().LoadFromFile(filepath.Join(filepath.Dir(here), "..", "..", "..", "docs", "openapi.yaml"))
	if err != nil {
		return nil, fmt.Errorf("load contract: %w", err)
	}
	if err := spec.Validate(openapi3.NewLoader().Context); err != nil {
		return nil, fmt.Errorf("contract is not valid OpenAPI: %w", err)
	}
	// Paths match with and without a trailing slash, on any host.
	paths := openapi3.NewPaths()
	for path, item := range spec.Paths.Map() {
		paths.Set(trim(path), item)
	}
	spec.Paths, spec.Servers = paths, nil
	router, err := gorillamux.NewRouter(spec)
	if err != nil {
		return nil, fmt.Errorf("create router of contract: %w", err)
	}
	return &document{spec, router}, nil
}

func trim(path string) string {
	if path == "/" {
		return path
	}
	return strings.TrimSuffix(path, "/")
}

func (d *document) verify(req *http.Request, reqBody []byte, resp *http.Response, respBody []byte) error {
	normalized := req.Clone(req.Context())
	normalized.URL.Path, normalized.URL.RawPath = trim(req.URL.Path), trim(req.URL.RawPath)
	if req.Method == http.MethodHead { // the contract has no HEAD operations: HEAD is GET without the body
		normalized.Method = http.MethodGet
	}
	normalized.Body, normalized.ContentLength = io.NopCloser(bytes.NewReader(reqBody)), int64(len(reqBody))

	route, params, err := d.router.FindRoute(normalized)
	if err != nil {
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
			return fmt.Errorf("%w: want status 404 or 405", err)
		}
		return d.verifyProblem(req, resp, respBody)
	}
	options := &openapi3filter.Options{ExcludeResponseBody: req.Method == http.MethodHead || !isJSON(resp)}
	in := &openapi3filter.RequestValidationInput{Request: normalized, PathParams: params, Route: route, Options: options}
	if err := openapi3filter.ValidateRequest(req.Context(), in); err != nil && resp.StatusCode < http.StatusMultipleChoices {
		return fmt.Errorf("invalid request succeeded: %w", err)
	}
	documented := route.Operation.Responses.Status(resp.StatusCode)
	if documented == nil {
		return errors.New("the operation does not document this status")
	}
	contentType := resp.Header.Get("Content-Type")
	if documented.Value.Content.Get(contentType) == nil {
		return fmt.Errorf("the operation does not document media type %q", contentType)
	}
	err = openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Options: options,
		Body: io.NopCloser(bytes.NewReader(respBody)),
	})
	if err != nil {
		return fmt.Errorf("response: %w", err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return d.verifyProblem(req, resp, respBody)
	}
	return nil
}

func isJSON(resp *http.Response) bool {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}

// verifyProblem verifies an error response against the problem schema and the registry of
// problem types.
func (d *document) verifyProblem(req *http.Request, resp *http.Response, body []byte) error {
	if got := resp.Header.Get("Content-Type"); got != problem.ContentType {
		return fmt.Errorf("error response has Content-Type %q", got)
	}
	if req.Method == http.MethodHead {
		return nil
	}
	var document any
	if err := json.Unmarshal(body, &document); err != nil {
		return fmt.Errorf("problem: %w", err)
	}
	if err := d.spec.Components.Schemas["Problem"].Value.VisitJSON(document, openapi3.EnableJSONSchema2020()); err != nil {
		return fmt.Errorf("problem: %w", err)
	}
	var p problem.Problem
	if err := json.Unmarshal(body, &p); err != nil {
		return fmt.Errorf("problem: %w", err)
	}
	kind, known := problem.TypeByName(strings.TrimPrefix(p.Type, "/problems/"))
	switch {
	case !known:
		return fmt.Errorf("problem: type %q is not registered", p.Type)
	case p.Title != kind.Title:
		return fmt.Errorf("problem: %s has title %q, want %q", p.Type, p.Title, kind.Title)
	case p.Status != resp.StatusCode || !slices.Contains(kind.Statuses, p.Status):
		return fmt.Errorf("problem: %s has status %d in a response with status %d", p.Type, p.Status, resp.StatusCode)
	case p.RequestID != resp.Header.Get(service.RequestIDHeader):
		return errors.New("problem: request_id does not match the response header")
	}
	return nil
}
