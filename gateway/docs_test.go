package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/service"
	"gozon/shared/web/problem"
)

func serveDocs(t *testing.T) (get func(path string, header ...string) (*http.Response, string)) {
	t.Helper()
	contract, err := os.ReadFile("../docs/openapi.yaml")
	require.NoError(t, err)
	engine := service.NewEngine(discard, service.NewRegistry(), &service.Health{})
	require.NoError(t, registerDocs(engine, contract))
	srv := httptest.NewServer(engine)
	t.Cleanup(srv.Close)
	return func(path string, header ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, http.NoBody)
		require.NoError(t, err)
		req.Header.Set("Accept-Encoding", "identity")
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp, string(body)
	}
}

func TestContractIsServed(t *testing.T) {
	t.Parallel()
	get := serveDocs(t)
	resp, body := get("/openapi.yaml")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "application/yaml", resp.Header.Get("Content-Type"))
	require.True(t, strings.HasPrefix(body, "openapi: 3.1"))
	resp, _ = get("/openapi.yaml/", "If-None-Match", resp.Header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, resp.StatusCode)
}

// Every file that the page loads is served. The page has no inline scripts or styles.
func TestDocsPageIsComplete(t *testing.T) {
	t.Parallel()
	get := serveDocs(t)
	resp, page := get("/docs/")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, resp.Header.Get("Content-Security-Policy"), "script-src 'self';")
	for file, content := range map[string]string{
		"swagger-ui.css": ".swagger-ui", "swagger-ui-bundle.js": "SwaggerUIBundle", "docs.js": "/openapi.yaml", "favicon-32x32.png": "PNG",
	} {
		require.Contains(t, page, `"/docs/`+file+`"`)
		resp, body := get("/docs/" + file)
		require.Equal(t, http.StatusOK, resp.StatusCode, file)
		require.Contains(t, body, content)
	}
	resp, compressed := get("/docs/swagger-ui-bundle.js", "Accept-Encoding", "gzip, br")
	require.Equal(t, "gzip", resp.Header.Get("Content-Encoding"))
	require.Less(t, len(compressed), 1<<19)
	resp, _ = get("/docs/nothing")
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

// writes counts the writes of a response.
type writes struct {
	*httptest.ResponseRecorder
	n int
}

func (w *writes) Write(b []byte) (int, error) {
	w.n++
	return w.ResponseRecorder.Write(b)
}

// A document is written from memory that all requests share, so that slow readers of large
// files do not each hold a copy of a part.
func TestFilesAreWrittenWithoutACopy(t *testing.T) {
	t.Parallel()
	engine := service.NewEngine(discard, service.NewRegistry(), &service.Health{})
	require.NoError(t, registerDocs(engine, []byte(strings.Repeat("x", 100<<10))))
	for _, path := range []string{"/openapi.yaml", "/docs/swagger-ui-bundle.js"} {
		for _, encoding := range []string{"gzip", "identity"} {
			w := &writes{ResponseRecorder: httptest.NewRecorder()}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
			r.Header.Set("Accept-Encoding", encoding)
			engine.ServeHTTP(w, r)
			require.Equal(t, http.StatusOK, w.Code)
			require.Greater(t, w.Body.Len(), 64<<10)
			require.Equal(t, 1, w.n, "%s, %s", path, encoding)
		}
	}
}

func TestEveryProblemTypeHasAPage(t *testing.T) {
	t.Parallel()
	get := serveDocs(t)
	_, list := get("/problems/")
	for _, kind := range problem.Types() {
		require.Contains(t, list, `href="`+kind.URI()+`"`)
		for _, slash := range []string{"", "/"} {
			resp, page := get(kind.URI() + slash)
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.Equal(t, htmlType, resp.Header.Get("Content-Type"))
			require.Contains(t, page, kind.Title)
			require.Contains(t, page, "What to do")
		}
	}
	resp, body := get("/problems/none")
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.Equal(t, problem.ContentType, resp.Header.Get("Content-Type"), body)
}

func TestMissingContractIsReported(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "openapi.yaml")
	err := serve(t.Context(), config{OpenAPIFile: missing}, discard)
	require.ErrorContains(t, err, "OPENAPI_FILE")
	require.ErrorContains(t, err, missing)
}
