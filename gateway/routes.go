package main

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"gozon/shared/service"
)

// route maps a path prefix to a service.
type route struct {
	prefix string // one segment without a trailing slash, such as "/orders"
	target *url.URL
}

// routes is the routing table, parsed from the environment variable ROUTES.
type routes []route

// UnmarshalText parses "/orders=http://orders:8080,/accounts=http://payments:8080".
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
			return fmt.Errorf("route %q: duplicate prefix", entry)
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

// registerProxies registers each proxy for its prefix and every path below it. It forwards
// all methods, including those unknown to gin: only the service knows which methods a path
// allows.
func registerProxies(e *gin.Engine, proxies map[string]*proxy, limits *limits, bodies *bodies) {
	forward := func(c *gin.Context, p *proxy) {
		if !limits.admit(c) {
			return
		}
		if body, reserved, ok := bodies.read(c); ok {
			defer bodies.release(reserved) // also when forward aborts the response with a panic
			p.forward(c, body)
		}
	}
	for prefix, p := range proxies {
		handle := func(c *gin.Context) { forward(c, p) }
		e.Any(prefix, handle)
		e.Any(prefix+"/*rest", handle)
	}
	e.NoMethod(func(c *gin.Context) {
		segment, _, _ := strings.Cut(strings.TrimPrefix(c.Request.URL.Path, "/"), "/")
		if p, ok := proxies["/"+segment]; ok {
			c.Writer.Header().Del("Allow") // set by gin to the methods of Any
			forward(c, p)
			return
		}
		service.MethodNotAllowed(c)
	})
}
