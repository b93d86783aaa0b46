package main

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"gozon/gateway/internal/http1"
	"gozon/shared/service"
)

// outgoing is a request as it is sent to a replica, whichever it is.
type outgoing struct {
	http1.Request
	retryable bool // sending it twice has the same effect as sending it once
}

// newOutgoing returns r with the given body. It writes the request to wire, which must be
// empty. net/http has checked the method, the URL and every header of r, so none of them can
// contain a line break.
func newOutgoing(wire []byte, r *http.Request, body []byte) outgoing {
	dropped, host := namedInConnection(r.Header), validHost(r.Host)
	retryable := isRead(r.Method)

	wire = append(append(wire, r.Method...), ' ')
	wire = append(append(wire, requestURI(r.URL)...), " HTTP/1.1\r\n"...)
	wire = appendHeader(wire, "Host", host)
	for name, values := range r.Header {
		if isHopByHop(name) || isOwn(name) || dropped[name] {
			continue
		}
		for _, value := range values {
			wire = appendHeader(wire, name, value)
		}
		// The services accept exactly one Idempotency-Key, and reject a request with several
		// keys or an empty one.
		if name == "Idempotency-Key" && r.Method == http.MethodPost {
			retryable = len(values) == 1 && values[0] != ""
		}
	}
	wire = appendHeader(wire, service.RequestIDHeader, r.Header.Get(service.RequestIDHeader))
	if client := clientAddress(r); client.IsValid() {
		wire = appendHeader(wire, "X-Forwarded-For", client.String())
	}
	wire = appendHeader(wire, "X-Forwarded-Host", host)
	proto := "http"
	if r.TLS != nil {
		proto = "https"
	}
	wire = appendHeader(wire, "X-Forwarded-Proto", proto)
	if len(body) > 0 || r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
		wire = append(wire, "Content-Length: "...)
		wire = append(strconv.AppendInt(wire, int64(len(body)), 10), "\r\n"...)
	}
	wire = append(append(wire, "\r\n"...), body...)
	return outgoing{http1.Request{Method: r.Method, Wire: wire}, retryable}
}

func appendHeader(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// isHopByHop reports whether a header, named in canonical form, describes a single
// connection and is not forwarded (RFC 9110, section 7.6.1). Trailers and upgrades are not
// supported.
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// isOwn reports whether the gateway sets a request header itself, or has already acted on
// it. The values of the client are dropped.
func isOwn(name string) bool {
	switch name {
	case "Content-Length", "Expect", "Forwarded", "Host", service.RequestIDHeader,
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto":
		return true
	}
	return false
}

// namedInConnection returns the headers, in canonical form, that h declares as hop-by-hop
// in its Connection header.
func namedInConnection(h http.Header) map[string]bool {
	var names map[string]bool
	for _, value := range h["Connection"] {
		for name := range strings.SplitSeq(value, ",") {
			name = strings.TrimSpace(name)
			if strings.EqualFold(name, "keep-alive") || strings.EqualFold(name, "close") {
				continue
			}
			if names == nil {
				names = map[string]bool{}
			}
			names[http.CanonicalHeaderKey(name)] = true
		}
	}
	return names
}

// requestURI returns the path and the query of u without query parameters that cannot be
// parsed: services might disagree about their meaning.
func requestURI(u *url.URL) string {
	if !strings.ContainsAny(u.RawQuery, ";%") {
		return u.RequestURI()
	}
	parsed, err := url.ParseQuery(u.RawQuery)
	if err == nil {
		return u.RequestURI()
	}
	cleaned := *u
	cleaned.RawQuery = parsed.Encode()
	return cleaned.RequestURI()
}

// validHost returns host, or "" if it cannot be sent. A request with an absolute URL can
// have such a host.
func validHost(host string) string {
	if !httpguts.ValidHostHeader(host) {
		return ""
	}
	return host
}
