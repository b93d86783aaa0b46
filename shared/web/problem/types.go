package problem

import (
	"net/http"
	"slices"
)

// Type describes one kind of failure. Problem documents and the pages under /problems/ are
// built from it, and package contracttest checks the API contract against it.
type Type struct {
	Name     string // last segment of the URI
	Title    string
	Statuses []int  // the usual one first
	Meaning  string // what happened
	Advice   string // what the client should do
}

// URI returns the "type" member of the type's documents, which is also the path of its
// page. The reference is relative, so it does not depend on the host name.
func (t Type) URI() string { return "/problems/" + t.Name }

// The problem types. Clients distinguish failures by name, so names never change.
var (
	malformedRequest = Type{
		"malformed-request", "Malformed request",
		[]int{http.StatusBadRequest},
		"The request cannot be parsed: its body is incomplete or not a single JSON object in UTF-8, or the request line or a header is malformed or too long. The request was not processed.",
		"Correct the request. Sending it again unchanged will fail again.",
	}
	invalidParameter = Type{
		"invalid-parameter", "Invalid parameter",
		[]int{http.StatusBadRequest},
		"A path parameter, query parameter or header has an invalid value. The request was not processed. The errors array names the parameter.",
		"Correct the parameter. Sending the request again unchanged will fail again.",
	}
	crossSite = Type{
		"cross-site-request", "Cross-site request",
		[]int{http.StatusForbidden},
		"A browser sent this request on behalf of another site, which may not change anything in the shop. The request was not processed.",
		"Send the request from a page of the shop. A client that is not a browser should send neither Origin nor Sec-Fetch-Site.",
	}
	notFound = Type{
		"not-found", "Not found",
		[]int{http.StatusNotFound},
		"Nothing exists at this path: there is no such order, account or resource.",
		"Check the path and the id. An account exists only after its first deposit.",
	}
	methodNotAllowed = Type{
		"method-not-allowed", "Method not allowed",
		[]int{http.StatusMethodNotAllowed},
		"The path exists but does not support this method. The request was not processed.",
		"Use one of the methods listed in the Allow header.",
	}
	notCancellable = Type{
		"not-cancellable", "Not cancellable",
		[]int{http.StatusConflict},
		"The order cannot be cancelled because the shop has already cancelled it. Its cancel_reason gives the reason.",
		"Read the order. It was not charged, so there is nothing to refund.",
	}
	requestInFlight = Type{
		"request-in-flight", "Request in flight",
		[]int{http.StatusConflict},
		"The first request with this Idempotency-Key is still being processed.",
		"Wait for the number of seconds in the Retry-After header, then retry the same request with the same key.",
	}
	bodyTooLarge = Type{
		"body-too-large", "Body too large",
		[]int{http.StatusRequestEntityTooLarge},
		"The body is larger than 64 KiB. The request was not processed.",
		"Send a smaller body. No endpoint of this API needs more.",
	}
	unsupportedMediaType = Type{
		"unsupported-media-type", "Unsupported media type",
		[]int{http.StatusUnsupportedMediaType},
		"The Content-Type of the body is not JSON. The request was not processed.",
		"Send the header Content-Type: application/json.",
	}
	misdirected = Type{
		"misdirected-request", "Misdirected request",
		[]int{http.StatusMisdirectedRequest},
		"The host name in the request is not one of the shop's. The request was not processed.",
		"Use the address of the shop. Its operator lists the host names in ALLOWED_HOSTS.",
	}
	invalidRequest = Type{
		"invalid-request", "Invalid request",
		[]int{http.StatusUnprocessableEntity},
		"The request can be parsed, but one or more fields are invalid. The request was not processed. The errors array has one entry for each invalid field, with a JSON Pointer to it.",
		"Correct the fields. Sending the request again unchanged will fail again.",
	}
	idempotencyKeyReused = Type{
		"idempotency-key-reused", "Idempotency-Key reused",
		[]int{http.StatusUnprocessableEntity},
		"This Idempotency-Key was already used for a different request. The request was not processed.",
		"Use a new key for each new request. Reuse a key only to retry the request it was first sent with.",
	}
	tooManyRequests = Type{
		"too-many-requests", "Too many requests",
		[]int{http.StatusTooManyRequests},
		"Too many requests came from this client in a short time, or it has too many event streams, or the user has too many open orders. The request was not processed.",
		"Wait for the number of seconds in the Retry-After header, then retry the same request. Retrying is safe. RateLimit-Policy describes the limit.",
	}
	internal = Type{
		"internal", "Internal error",
		[]int{http.StatusInternalServerError},
		"Something went wrong on our side. The server log has the details under this request id. The request may or may not have been processed.",
		"Retry with the same Idempotency-Key. Without a key, check the outcome before you retry. If the problem persists, report the request_id.",
	}
	upstreamUnavailable = Type{
		"upstream-unavailable", "Service unavailable",
		[]int{http.StatusBadGateway},
		"A service of the shop cannot be reached, or the connection to it failed during a read request. Nothing was changed.",
		"Retry the same request with increasing delays. Retrying is safe.",
	}
	outcomeUnknown = Type{
		"outcome-unknown", "Outcome unknown",
		[]int{http.StatusGatewayTimeout, http.StatusBadGateway},
		"No response arrived in time (504), or the connection to the service failed after the request was sent (502). The request may or may not have been processed.",
		"Retry with the same Idempotency-Key: the request is processed only once. Without a key, check the outcome before you retry.",
	}
	unavailable = Type{
		"unavailable", "Temporarily unavailable",
		[]int{http.StatusServiceUnavailable},
		"The shop cannot process the request right now: it is overloaded, or a component it depends on is down. The request was not processed.",
		"Wait for the number of seconds in the Retry-After header, then retry the same request. Retrying is safe.",
	}
)

// Types returns all problem types, in the order of the API contract.
func Types() []Type {
	return []Type{
		malformedRequest, invalidParameter, crossSite, notFound, methodNotAllowed, notCancellable, requestInFlight,
		bodyTooLarge, unsupportedMediaType, misdirected, invalidRequest, idempotencyKeyReused, tooManyRequests, internal,
		upstreamUnavailable, outcomeUnknown, unavailable,
	}
}

// TypeByName returns the type with the given name, if there is one.
func TypeByName(name string) (Type, bool) {
	all := Types()
	i := slices.IndexFunc(all, func(t Type) bool { return t.Name == name })
	if i < 0 {
		return Type{}, false
	}
	return all[i], true
}
