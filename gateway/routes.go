package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"gozon/shared/service"
	"gozon/shared/web/problem"
)

// route sends the requests below a prefix to a service.
type route struct {
	prefix string // "/orders": one segment, no slash at the end
	target *url.URL
}

// routes is the table, as ROUTES says it.
type routes []route

// UnmarshalText reads "/orders=http://orders:8080,/accounts=http://payments:8080".
func (rs *routes) UnmarshalText(text []byte) error {
	seen := map[string]bool{}
	for entry := range strings.SplitSeq(string(text), ",") {
		prefix, rawURL, ok := strings.Cut(strings.TrimSpace(entry), "=")
		segment, slash := strings.CutPrefix(prefix, "/")
		switch {
		case !ok:
			return fmt.Errorf("route %q is not prefix=URL", entry)
		case !slash || segment == "" || strings.ContainsAny(segment, "/:*?#% "):
			return fmt.Errorf("route %q: the prefix must be one path segment, such as /orders", entry)
		case seen[prefix]:
			return fmt.Errorf("route %q: the prefix stands twice", entry)
		}
		target, err := url.Parse(rawURL)
		if err != nil || target.Scheme != "http" || target.Hostname() == "" || target.Path != "" && target.Path != "/" || target.RawQuery != "" || target.User != nil {
			return fmt.Errorf("route %q: the target must be http://host:port", entry)
		}
		seen[prefix] = true
		*rs = append(*rs, route{prefix, target})
	}
	return nil
}

// register has each of proxies answer its prefix and all below it. Every method is passed
// on, also one that gin does not know: only the service can say which a path allows.
func register(e *gin.Engine, proxies map[string]http.Handler, maxBody int64) {
	answer := func(c *gin.Context, h http.Handler) {
		if !readBody(c, maxBody) {
			return
		}
		w := impatient{c.Writer}
		defer w.hurry() // for the end of the answer
		h.ServeHTTP(w, c.Request)
	}
	for prefix, h := range proxies {
		handle := func(c *gin.Context) { answer(c, h) }
		e.Any(prefix, handle)
		e.Any(prefix+"/*rest", handle)
	}
	e.NoMethod(func(c *gin.Context) {
		segment, _, _ := strings.Cut(strings.TrimPrefix(c.Request.URL.Path, "/"), "/")
		if h, ok := proxies["/"+segment]; ok {
			c.Writer.Header().Del("Allow") // the methods of Any
			answer(c, h)
			return
		}
		service.MethodNotAllowed(c)
	})
}

// readBody reads the whole body before a service is contacted: a slow client never
// holds a connection to a service, and a request that could not be sent to one
// replica can be sent to another.
func readBody(c *gin.Context, limit int64) bool {
	r := c.Request
	if r.ContentLength == 0 || r.Body == http.NoBody {
		return true
	}
	tooLarge := func() bool {
		c.Header("Connection", "close")
		problem.Write(c, problem.TooLarge(fmt.Sprintf("the body must be at most %d KiB", limit>>10)))
		return false
	}
	if r.ContentLength > limit {
		return tooLarge()
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, r.Body, limit))
	var exceeded *http.MaxBytesError
	switch {
	case errors.As(err, &exceeded):
		return tooLarge()
	case err != nil:
		problem.Write(c, problem.Malformed("the body ended before it was complete"))
		return false
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return true
}
