// Package problem builds and writes the shop's error responses: application/problem+json
// documents (RFC 9457), each with a stable type and one entry for each invalid field.
package problem

import (
	"encoding/json"
	"net/http"

	"github.com/gin-gonic/gin"
)

// StatusClientGone is the status recorded for a request whose client disconnected before
// the response (nginx's 499).
const StatusClientGone = 499

// ContentType is the media type of a problem document.
const ContentType = "application/problem+json"

// Problem is an RFC 9457 problem document.
//
//nolint:errname // RFC 9457 calls it a problem
type Problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail,omitempty"`
	RequestID string  `json:"request_id,omitempty"`
	Errors    []Field `json:"errors,omitempty"`
}

// Field describes what is wrong with one field of the request body (Pointer, a JSON
// Pointer as in RFC 6901) or with one path, query or header parameter (Parameter).
type Field struct {
	Pointer   string `json:"pointer,omitempty"`
	Parameter string `json:"parameter,omitempty"`
	Detail    string `json:"detail"`
}

// Error returns the title and the detail.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

func newProblem(t Type, detail string) *Problem {
	return &Problem{Type: t.URI(), Title: t.Title, Status: t.Statuses[0], Detail: detail}
}

// Malformed returns a 400 for a request that cannot be parsed.
func Malformed(detail string) *Problem { return newProblem(malformedRequest, detail) }

// Invalid returns a 422 for a request that can be parsed but has invalid fields.
func Invalid(fields ...Field) *Problem {
	p := newProblem(invalidRequest, "one or more fields are not acceptable")
	p.Errors = fields
	return p
}

// InvalidParameter returns a 400 for an invalid path, query or header parameter.
func InvalidParameter(name, detail string) *Problem {
	p := newProblem(invalidParameter, name+" "+detail)
	p.Errors = []Field{{Parameter: name, Detail: detail}}
	return p
}

// CrossSite returns a 403 for a request that a browser sent on behalf of another site.
func CrossSite(detail string) *Problem { return newProblem(crossSite, detail) }

// NotFound returns a 404.
func NotFound(detail string) *Problem { return newProblem(notFound, detail) }

// MethodNotAllowed returns a 405 for a path that does not support the method.
func MethodNotAllowed(detail string) *Problem { return newProblem(methodNotAllowed, detail) }

// NotCancellable returns a 409 for an order that the shop has already cancelled.
func NotCancellable(detail string) *Problem { return newProblem(notCancellable, detail) }

// RequestInFlight returns a 409 for a request whose Idempotency-Key belongs to a request
// that is still being processed.
func RequestInFlight() *Problem {
	return newProblem(requestInFlight, "the first request with this Idempotency-Key is still being processed; try again in a moment")
}

// KeyReused returns a 422 for an Idempotency-Key that was already used for a different
// request.
func KeyReused() *Problem {
	return newProblem(idempotencyKeyReused, "this Idempotency-Key was already used for a different request; use a new one")
}

// TooLarge returns a 413 for a body that exceeds the size limit.
func TooLarge(detail string) *Problem { return newProblem(bodyTooLarge, detail) }

// UnsupportedMediaType returns a 415 for a body that is not declared as JSON.
func UnsupportedMediaType(detail string) *Problem { return newProblem(unsupportedMediaType, detail) }

// Misdirected returns a 421 for a request to a host name that is not one of the shop's.
func Misdirected(detail string) *Problem { return newProblem(misdirected, detail) }

// TooManyRequests returns a 429: the client or the user exceeds a limit, and nothing was done.
// The caller sets Retry-After.
func TooManyRequests(detail string) *Problem { return newProblem(tooManyRequests, detail) }

// Internal returns a 500 for an unexpected error. The cause belongs in the log, never in
// the response.
func Internal() *Problem {
	return newProblem(internal, "something went wrong on our side; the server log has the details under this request id")
}

// BadGateway returns a 502 for a request that changed nothing: the upstream service could
// not be reached, or it failed while serving a GET or HEAD.
func BadGateway(detail string) *Problem { return newProblem(upstreamUnavailable, detail) }

// Unavailable returns a 503: the request was not processed, and a retry is safe.
func Unavailable(detail string) *Problem { return newProblem(unavailable, detail) }

// OutcomeUnknown returns a 504: there was no response in time, so the request may or may
// not have been processed.
func OutcomeUnknown(detail string) *Problem { return newProblem(outcomeUnknown, detail) }

// BadGatewayUnknown returns a 502 for a connection that failed after the request was sent
// upstream, so the request may or may not have been processed.
func BadGatewayUnknown(detail string) *Problem {
	p := newProblem(outcomeUnknown, detail)
	p.Status = http.StatusBadGateway
	return p
}

// Write writes p as the response of c and aborts its handler chain.
func Write(c *gin.Context, p *Problem) {
	c.Abort()
	WriteTo(c.Writer, p)
}

// WriteTo writes p as the response, with the request id from the X-Request-Id response
// header. It does nothing if the response has already started.
func WriteTo(w gin.ResponseWriter, p *Problem) {
	if w.Written() {
		return // the client sees a truncated response
	}
	q := *p
	q.RequestID = w.Header().Get("X-Request-Id")
	body, err := json.Marshal(q)
	if err != nil {
		panic(err) // cannot happen: strings and an int always encode
	}
	if q.Status == http.StatusServiceUnavailable || q.Type == requestInFlight.URI() {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", ContentType)
	w.WriteHeader(q.Status)
	_, _ = w.Write(body) // a write fails only if the client has disconnected
}
