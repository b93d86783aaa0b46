package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/gin-gonic/gin"

	"gozon/shared/web/problem"
)

// allowedHosts are the host names that the gateway responds to, in addition to those of the
// loopback interface, which health checks use. They are parsed from the environment variable
// ALLOWED_HOSTS. A page whose host name was rebound to the shop's address by its owner could
// otherwise call the API as if it were a page of the shop.
type allowedHosts []string

// UnmarshalText parses "shop.example,192.0.2.1,[2001:db8::1]". It ignores empty entries.
func (a *allowedHosts) UnmarshalText(text []byte) error {
	valid := regexp.MustCompile(`^([a-z0-9._-]+|\[[0-9a-f:.]+\])$`)
	for entry := range strings.SplitSeq(strings.ToLower(string(text)), ",") {
		entry = strings.TrimSpace(entry)
		switch {
		case entry == "":
		case valid.MatchString(entry):
			*a = append(*a, hostname(entry))
		default:
			return fmt.Errorf("%q is not a host name (it must not contain a port, and IPv6 addresses must be in brackets)", entry)
		}
	}
	return nil
}

// hostname returns host in lower case without its port, brackets and final dot.
func hostname(host string) string {
	return strings.ToLower(strings.TrimSuffix((&url.URL{Host: host}).Hostname(), "."))
}

// guard is middleware that refuses requests that the shop must not process, and sets the
// headers that protect every response.
type guard struct {
	hosts       map[string]bool
	crossOrigin *http.CrossOriginProtection
	header      http.Header
}

func newGuard(hosts allowedHosts) *guard {
	g := &guard{
		hosts:       map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true},
		crossOrigin: http.NewCrossOriginProtection(),
		header: http.Header{
			"Cache-Control":                {"no-store"},
			"Content-Security-Policy":      {"default-src 'none'; frame-ancestors 'none'"},
			"Cross-Origin-Resource-Policy": {"same-origin"},
			"X-Content-Type-Options":       {"nosniff"},
		},
	}
	for _, host := range hosts {
		g.hosts[host] = true
	}
	return g
}

// check refuses a request, or sets the headers of its response; a handler may replace them.
// nginx refuses the same hosts and paths with the same responses.
func (g *guard) check(c *gin.Context) {
	maps.Copy(c.Writer.Header(), g.header)
	if refusal := g.refusal(c.Request); refusal != nil {
		if c.Request.ContentLength != 0 {
			c.Header("Connection", "close") // the body is not read
		}
		problem.Write(c, refusal)
	}
}

func (g *guard) refusal(r *http.Request) *problem.Problem {
	switch {
	case !g.allows(r):
		return problem.Misdirected("the shop has no such host name")
	case isAmbiguous(r.URL):
		return problem.Malformed("the path must not contain empty segments, dot segments, encoded slashes, backslashes, control characters or #")
	case isProbe(r.URL.Path) && !peerAddress(r).IsLoopback():
		return problem.NotFound("there is nothing at this path")
	case g.crossOrigin.Check(r) != nil:
		return problem.CrossSite("another site must not change anything in the shop")
	}
	return nil
}

// allows reports whether the shop has the host name of r. HTTP/1.0 requests may lack it, but
// no browser sends such requests.
func (g *guard) allows(r *http.Request) bool {
	return g.hosts[hostname(r.Host)] || r.Host == "" && !r.ProtoAtLeast(1, 1)
}

// isAmbiguous reports whether servers might disagree about the path of u, because some of
// them normalize or decode it.
func isAmbiguous(u *url.URL) bool {
	if u.Path == "" { // of CONNECT, or of a URL that consists of a host
		return false
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	// RawPath is empty if it is the default encoding of Path, which encodes neither / nor #.
	return u.Path[0] != '/' || strings.Contains(u.Path, "//") || strings.ContainsFunc(u.Path, func(r rune) bool { return r < ' ' || r == '\x7f' || r == '\\' }) ||
		strings.Contains(u.RawPath, "#") || strings.Contains(u.RawPath, "%2f") || strings.Contains(u.RawPath, "%2F")
}

// isProbe reports whether the container's own health check uses the path. Its response names
// parts of the shop, so nobody else gets it.
func isProbe(path string) bool {
	path = strings.TrimSuffix(path, "/")
	return path == "/livez" || path == "/readyz"
}
