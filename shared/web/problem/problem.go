// Package problem is the shop's one way to say that a request failed: an
// application/problem+json document (RFC 9457) with a stable type, and one entry
// for each bad field.
package problem

import (
	"encoding/json"
	"net/http"

	"github.com/gin-gonic/gin"
)

// StatusClientGone is what is counted for a client that did not wait (nginx's 499).
const StatusClientGone = 499

// ContentType of every problem document.
const ContentType = "application/problem+json"

// Problem is an RFC 9457 problem document.
//
//nolint:errname // the name that the RFC gives it
type Problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail,omitempty"`
	RequestID string  `json:"request_id,omitempty"`
	Errors    []Field `json:"errors,omitempty"`
}

// Field is what is wrong with one field of the request's body (pointer is a JSON
// Pointer, RFC 6901) or with one path, query or header parameter (parameter).
type Field struct {
	Pointer   string `json:"pointer,omitempty"`
	Parameter string `json:"parameter,omitempty"`
	Detail    string `json:"detail"`
}

// Error makes a Problem an error, so that a decoder can return one.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

func newProblem(t Type, detail string) *Problem {
	return &Problem{Type: t.URI(), Title: t.Title, Status: t.Statuses[0], Detail: detail}
}

// Malformed says that the request cannot be read at all (400).
func Malformed(detail string) *Problem {
	return newProblem(malformedRequest, detail)
}

// Invalid says that the request reads well but says something that cannot be (422).
func Invalid(fields ...Field) *Problem {
	p := newProblem(invalidRequest, "one or more fields are not acceptable")
	p.Errors = fields
	return p
}

// InvalidParameter says that a path or query parameter is not acceptable (400).
func InvalidParameter(name, detail string) *Problem {
	p := newProblem(invalidParameter, name+" "+detail)
	p.Errors = []Field{{Parameter: name, Detail: detail}}
	return p
}

// NotFound says that there is no such thing (404).
func NotFound(detail string) *Problem {
	return newProblem(notFound, detail)
}

// MethodNotAllowed says that the path exists, the method does not (405).
func MethodNotAllowed(detail string) *Problem {
	return newProblem(methodNotAllowed, detail)
}

// NotCancellable says that the order has ended in a way that a cancellation cannot change (409).
func NotCancellable(detail string) *Problem {
	return newProblem(notCancellable, detail)
}

// RequestInFlight says that the first request with this Idempotency-Key is not answered yet (409).
func RequestInFlight() *Problem {
	return newProblem(requestInFlight, "the first request with this Idempotency-Key is still being answered; try again in a moment")
}

// KeyReused says that the Idempotency-Key was used for another request before (422).
func KeyReused() *Problem {
	return newProblem(idempotencyKeyReused, "this Idempotency-Key was used for another request; choose a new one")
}

// TooLarge says that the body is larger than the shop takes (413).
func TooLarge(detail string) *Problem {
	return newProblem(bodyTooLarge, detail)
}

// UnsupportedMediaType says that the body is not JSON (415).
func UnsupportedMediaType(detail string) *Problem {
	return newProblem(unsupportedMediaType, detail)
}

// Internal says that the shop is at fault; how stands in the log, never here (500).
func Internal() *Problem {
	return newProblem(internal, "the shop failed to answer; the fault is logged under this request's id")
}

// BadGateway says that the service behind could not be reached (502).
func BadGateway(detail string) *Problem {
	return newProblem(upstreamUnavailable, detail)
}

// Unavailable says that nothing was done, and it is safe to try again (503).
func Unavailable(detail string) *Problem {
	return newProblem(unavailable, detail)
}

// OutcomeUnknown says that the answer did not come in time, so what the request asked for
// may or may not have been done (504).
func OutcomeUnknown(detail string) *Problem {
	return newProblem(outcomeUnknown, detail)
}

// BadGatewayUnknown says that the service behind broke off after the request was sent, so
// what it asked for may or may not have been done (502).
func BadGatewayUnknown(detail string) *Problem {
	p := newProblem(outcomeUnknown, detail)
	p.Status = http.StatusBadGateway
	return p
}

// Write answers c with p and ends its handler chain.
func Write(c *gin.Context, p *Problem) {
	c.Abort()
	WriteTo(c.Writer, p)
}

// WriteTo answers with p. The request id is taken from the answer's own header.
func WriteTo(w gin.ResponseWriter, p *Problem) {
	if w.Written() {
		return // too late for another answer; the client sees a cut one
	}
	q := *p
	q.RequestID = w.Header().Get("X-Request-Id")
	body, err := json.Marshal(q)
	if err != nil {
		panic(err) // a struct of strings and an int always encodes
	}
	if q.Status == http.StatusServiceUnavailable || q.Type == requestInFlight.URI() {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", ContentType)
	w.WriteHeader(q.Status)
	_, _ = w.Write(body) // the client is gone, or it has it
}
