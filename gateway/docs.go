package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/swaggest/swgui/v5/static"

	"gozon/shared/service"
	"gozon/shared/web/problem"
)

//go:embed pages
var pages embed.FS

const (
	htmlType = "text/html; charset=utf-8"
	cssType  = "text/css; charset=utf-8"
	jsType   = "text/javascript; charset=utf-8"

	// The pages load from their own origin only and have no inline scripts or styles.
	pageCSP = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	// Swagger UI also runs a script, calls the API, and embeds icons in its style sheet.
	docsCSP = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// registerDocs serves the OpenAPI document, a page to read and try out the API, and a page
// for each problem type. None of them needs access to the internet.
func registerDocs(e gin.IRoutes, contract []byte) error {
	service.Handle(e, http.MethodGet, "/openapi.yaml", document{"application/yaml", "", contract}.serve())

	for _, p := range []struct{ path, file, contentType, csp string }{
		{"/docs", "docs.html", htmlType, docsCSP},
		{"/docs/docs.js", "docs.js", jsType, ""},
		{"/docs/problems.css", "problems.css", cssType, ""},
	} {
		body, err := pages.ReadFile("pages/" + p.file)
		if err != nil {
			return fmt.Errorf("page %s: %w", p.file, err)
		}
		service.Handle(e, http.MethodGet, p.path, document{p.contentType, p.csp, body}.serve())
	}
	for file, contentType := range map[string]string{"swagger-ui-bundle.js": jsType, "swagger-ui.css": cssType} {
		compressed, err := fs.ReadFile(static.FS, file+".gz")
		if err != nil {
			return fmt.Errorf("swagger ui: %w", err)
		}
		service.Handle(e, http.MethodGet, "/docs/"+file, serveGzip(contentType, compressed))
	}
	icon, err := fs.ReadFile(static.FS, "favicon-32x32.png")
	if err != nil {
		return fmt.Errorf("swagger ui: %w", err)
	}
	service.Handle(e, http.MethodGet, "/docs/favicon-32x32.png", document{"image/png", "", icon}.serve())
	return registerProblems(e)
}

func registerProblems(e gin.IRoutes) error {
	tmpl, err := template.ParseFS(pages, "pages/problems.html")
	if err != nil {
		return fmt.Errorf("problem pages: %w", err)
	}
	render := func(name string, data any) (gin.HandlerFunc, error) {
		var b bytes.Buffer
		if err := tmpl.ExecuteTemplate(&b, name, data); err != nil {
			return nil, fmt.Errorf("problem pages: %w", err)
		}
		return document{htmlType, pageCSP, b.Bytes()}.serve(), nil
	}
	list, err := render("list", problem.Types())
	if err != nil {
		return err
	}
	service.Handle(e, http.MethodGet, "/problems", list)
	one := map[string]gin.HandlerFunc{}
	for _, t := range problem.Types() {
		if one[t.Name], err = render("one", t); err != nil {
			return err
		}
	}
	service.Handle(e, http.MethodGet, "/problems/:name", func(c *gin.Context) {
		serve, ok := one[c.Param("name")]
		if !ok {
			problem.Write(c, problem.NotFound("there is no problem type with this name"))
			return
		}
		serve(c)
	})
	return nil
}

// document is a file that changes only with the program. Browsers cache it and revalidate
// it by its ETag.
type document struct {
	contentType, csp string
	body             []byte
}

func (d document) serve() gin.HandlerFunc {
	tag := etag(d.body)
	return func(c *gin.Context) {
		setHeaders(c, d.contentType, tag)
		if d.csp != "" {
			c.Header("Content-Security-Policy", d.csp)
			c.Header("Cross-Origin-Opener-Policy", "same-origin")
			c.Header("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
			c.Header("Referrer-Policy", "no-referrer")
		}
		serveBody(c, d.body)
	}
}

// serveGzip serves a file from its gzip-compressed form.
func serveGzip(contentType string, compressed []byte) gin.HandlerFunc {
	tag := etag(compressed)
	// Few clients cannot decompress it. All of them share one plain form, because a reader
	// for each of them would take 80 kB for as long as the client reads.
	plain := sync.OnceValues(func() ([]byte, error) {
		r, err := gzip.NewReader(bytes.NewReader(compressed))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	})
	return func(c *gin.Context) {
		setHeaders(c, contentType, tag)
		c.Header("Vary", "Accept-Encoding")
		if strings.Contains(c.GetHeader("Accept-Encoding"), "gzip") {
			c.Header("Content-Encoding", "gzip")
			serveBody(c, compressed)
			return
		}
		c.Header("ETag", "") // it identifies the compressed form
		body, err := plain()
		if err != nil {
			panic(err) // cannot happen: the file is part of this program
		}
		serveBody(c, body)
	}
}

// serveBody responds with body, or with 304 if the client has it. It does not copy the body:
// http.ServeContent alone would take a buffer of 32 KiB for as long as the client reads.
func serveBody(c *gin.Context, body []byte) {
	http.ServeContent(wholeWriter{c.Writer, body}, c.Request, "", time.Time{}, bytes.NewReader(body))
}

// wholeWriter writes body at once when http.ServeContent copies it.
type wholeWriter struct {
	http.ResponseWriter
	body []byte
}

// ReadFrom implements io.ReaderFrom.
func (w wholeWriter) ReadFrom(io.Reader) (int64, error) {
	n, err := w.Write(w.body)
	return int64(n), err
}

func setHeaders(c *gin.Context, contentType, tag string) {
	// Ignore ranges: the files are small, and an invalid range would be one more way to fail.
	c.Request.Header.Del("Range")
	c.Header("Content-Type", contentType)
	c.Header("ETag", tag)
	c.Header("Cache-Control", "no-cache")
}

func etag(body []byte) string {
	const length = 8 // bytes, enough to detect a change of the body
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:length]) + `"`
}
