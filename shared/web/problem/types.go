package problem

import (
	"net/http"
	"slices"
)

// Type is one kind of failure. Its documents, its page and the API's contract say the
// same of it, because they all take it from here.
type Type struct {
	Name     string // the last segment of its URI
	Title    string
	Statuses []int  // the usual one first
	Meaning  string // what happened
	Advice   string // what the client should do
}

// URI is the type member of its documents: a relative reference, so that it is stable
// at whatever host the shop is reached, and names the type's own page there.
func (t Type) URI() string { return "/problems/" + t.Name }

// The types. Their names never change: clients tell failures apart by them.
var (
	malformedRequest = Type{
		"malformed-request", "Malformed request",
		[]int{http.StatusBadRequest},
		"The request cannot be read: its body is not one JSON object in UTF-8, it broke off, or its head is broken or too long. Nothing was done.",
		"Correct the request. The same one will fail again.",
	}
	invalidParameter = Type{
		"invalid-parameter", "Invalid parameter",
		[]int{http.StatusBadRequest},
		"A parameter of the path or the query, or a header, has a value that cannot be. Nothing was done. errors names the parameter.",
		"Correct the parameter. The same request will fail again.",
	}
	notFound = Type{
		"not-found", "Not found",
		[]int{http.StatusNotFound},
		"There is nothing at this path: no such order, no such account, or no such resource at all.",
		"Check the path and the id. An account exists once money was put into it.",
	}
	methodNotAllowed = Type{
		"method-not-allowed", "Method not allowed",
		[]int{http.StatusMethodNotAllowed},
		"The path exists, but it does not answer this method. Nothing was done.",
		"Use one of the methods that the Allow header names.",
	}
	notCancellable = Type{
		"not-cancellable", "Not cancellable",
		[]int{http.StatusConflict},
		"The order ended in a way that a cancellation cannot change: the shop itself cancelled it, for the reason that it carries.",
		"Read the order. Nothing was charged for it, so there is nothing to give back.",
	}
	requestInFlight = Type{
		"request-in-flight", "Request in flight",
		[]int{http.StatusConflict},
		"The first request with this Idempotency-Key is still being answered.",
		"Send the same request with the same key again, after the seconds that Retry-After says.",
	}
	bodyTooLarge = Type{
		"body-too-large", "Body too large",
		[]int{http.StatusRequestEntityTooLarge},
		"The body has more than 64 KiB. Nothing was done.",
		"Send less. No request of this shop needs that much.",
	}
	unsupportedMediaType = Type{
		"unsupported-media-type", "Unsupported media type",
		[]int{http.StatusUnsupportedMediaType},
		"The body is not declared as JSON. Nothing was done.",
		"Send the header Content-Type: application/json.",
	}
	invalidRequest = Type{
		"invalid-request", "Invalid request",
		[]int{http.StatusUnprocessableEntity},
		"The request can be read, but one or more of its fields say something that cannot be. Nothing was done. errors has one entry for each bad field, with a JSON Pointer to it.",
		"Correct the fields. The same request will fail again.",
	}
	idempotencyKeyReused = Type{
		"idempotency-key-reused", "Idempotency-Key reused",
		[]int{http.StatusUnprocessableEntity},
		"This Idempotency-Key was used for another request before. Nothing was done.",
		"Choose a new key for each new request, and keep a key for the repetitions of its own request alone.",
	}
	internal = Type{
		"internal", "Internal error",
		[]int{http.StatusInternalServerError},
		"The shop is at fault. How stands in its log under the request's id. It is not known whether the request was done.",
		"Look before you try again, or try again with the same Idempotency-Key. Report the request_id when it stays.",
	}
	upstreamUnavailable = Type{
		"upstream-unavailable", "Service unavailable",
		[]int{http.StatusBadGateway},
		"A service of the shop cannot be reached, or it broke off while it was read from. Nothing was done.",
		"Try the same request again, with growing pauses. It is safe.",
	}
	outcomeUnknown = Type{
		"outcome-unknown", "Outcome unknown",
		[]int{http.StatusGatewayTimeout, http.StatusBadGateway},
		"The answer did not come: in time (504), or at all, because the service broke off after the request was sent (502). What was asked for may or may not have been done.",
		"Send the same request with the same Idempotency-Key again: it is done once. Without a key, look before you try again.",
	}
	unavailable = Type{
		"unavailable", "Temporarily unavailable",
		[]int{http.StatusServiceUnavailable},
		"The shop cannot do this right now: it is overloaded, or a part that it needs is down. Nothing was done.",
		"Try the same request again after the seconds that Retry-After says. It is safe.",
	}
)

// Types has every type, in the order of their statuses.
func Types() []Type {
	return []Type{
		malformedRequest, invalidParameter, notFound, methodNotAllowed, notCancellable, requestInFlight, bodyTooLarge,
		unsupportedMediaType, invalidRequest, idempotencyKeyReused, internal, upstreamUnavailable, outcomeUnknown, unavailable,
	}
}

// TypeByName finds a type by the last segment of its URI.
func TypeByName(name string) (Type, bool) {
	all := Types()
	i := slices.IndexFunc(all, func(t Type) bool { return t.Name == name })
	if i < 0 {
		return Type{}, false
	}
	return all[i], true
}
