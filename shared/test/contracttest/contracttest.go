// Package contracttest holds what the shop answers to its contract, docs/openapi.yaml.
// Tests show it each exchange that they have with a service.
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

// Check fails t when the exchange is not as the contract says. Any goroutine may call it.
func Check(t testing.TB, req *http.Request, reqBody []byte, resp *http.Response, respBody []byte) {
	t.Helper()
	if err := Verify(req, reqBody, resp, respBody); err != nil {
		t.Error(err)
	}
}

// Verify is an error when the exchange is not as the contract says: the answer has a
// status, a header, a media type or a body that its operation does not document; a
// request that the contract calls invalid succeeded; or there is no such operation, and
// the answer is not a 404 or a 405 that says so. Of an answer that is not JSON, such as
// an event stream, the body is not looked at. Probes are no part of the contract.
func Verify(req *http.Request, reqBody []byte, resp *http.Response, respBody []byte) error {
	if slices.Contains([]string{"/livez", "/readyz", "/healthz", "/metrics"}, trim(req.URL.Path)) {
		return nil
	}
	c, err := contract()
	if err != nil {
		return err
	}
	if err := c.verify(req, reqBody, resp, respBody); err != nil {
		return fmt.Errorf("%s %s, answered %d %s: not as docs/openapi.yaml says: %w",
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
		return nil, fmt.Errorf("load the contract: %w", err)
	}
	if err := spec.Validate(openapi3.NewLoader().Context); err != nil {
		return nil, fmt.Errorf("the contract is not valid OpenAPI: %w", err)
	}
	// Paths match with and without their slash, and at whatever host.
	paths := openapi3.NewPaths()
	for path, item := range spec.Paths.Map() {
		paths.Set(trim(path), item)
	}
	spec.Paths, spec.Servers = paths, nil
	router, err := gorillamux.NewRouter(spec)
	if err != nil {
		return nil, fmt.Errorf("route the contract: %w", err)
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
	asked := req.Clone(req.Context())
	asked.URL.Path, asked.URL.RawPath = trim(req.URL.Path), trim(req.URL.RawPath)
	if req.Method == http.MethodHead { // it has no operations of its own: it is GET without the body
		asked.Method = http.MethodGet
	}
	asked.Body, asked.ContentLength = io.NopCloser(bytes.NewReader(reqBody)), int64(len(reqBody))

	route, params, err := d.router.FindRoute(asked)
	if err != nil {
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
			return fmt.Errorf("%w: it must be answered 404 or 405", err)
		}
		return d.verifyProblem(req, resp, respBody)
	}
	options := &openapi3filter.Options{ExcludeResponseBody: req.Method == http.MethodHead || !isJSON(resp)}
	in := &openapi3filter.RequestValidationInput{Request: asked, PathParams: params, Route: route, Options: options}
	if err := openapi3filter.ValidateRequest(req.Context(), in); err != nil && resp.StatusCode < http.StatusMultipleChoices {
		return fmt.Errorf("an invalid request succeeded: %w", err)
	}
	documented := route.Operation.Responses.Status(resp.StatusCode)
	if documented == nil {
		return errors.New("the operation documents no such status")
	}
	contentType := resp.Header.Get("Content-Type")
	if documented.Value.Content.Get(contentType) == nil {
		return fmt.Errorf("the answer documents no %q", contentType)
	}
	err = openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Options: options,
		Body: io.NopCloser(bytes.NewReader(respBody)),
	})
	if err != nil {
		return fmt.Errorf("answer: %w", err)
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

// verifyProblem holds a failure to the schema, and to what the registry of problem types says.
func (d *document) verifyProblem(req *http.Request, resp *http.Response, body []byte) error {
	if got := resp.Header.Get("Content-Type"); got != problem.ContentType {
		return fmt.Errorf("a failure is %q", got)
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
		return fmt.Errorf("problem: the type %q is in no registry", p.Type)
	case p.Title != kind.Title:
		return fmt.Errorf("problem: the title of %s is %q", p.Type, kind.Title)
	case p.Status != resp.StatusCode || !slices.Contains(kind.Statuses, p.Status):
		return fmt.Errorf("problem: %s has no status %d in an answer of %d", p.Type, p.Status, resp.StatusCode)
	case p.RequestID != resp.Header.Get(service.RequestIDHeader):
		return errors.New("problem: request_id is not the id of the answer")
	}
	return nil
}
