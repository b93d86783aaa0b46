// Package request reads what clients send: one JSON object, strictly, with one
// clear sentence for each field that is not acceptable.
package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"gozon/shared/contract/money"
	"gozon/shared/web/problem"
)

// MaxBody is the largest body the shop reads, in bytes.
const MaxBody = 64 << 10

// MaxUserID is 2^53−1, the largest integer that every JSON reader gets exactly.
const MaxUserID = 1<<53 - 1

// Object is a JSON object whose fields are read one by one. What is wrong with
// them is collected; [Object.Problem] has it all. It is not for concurrent use.
type Object struct {
	fields map[string]json.RawMessage
	errors []problem.Field
}

// ReadObject reads the body of r. The error is a *problem.Problem: 400 malformed,
// 413 too large, 415 not JSON.
func ReadObject(r *http.Request) (*Object, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return nil, problem.UnsupportedMediaType("the body must be application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, problem.TooLarge("the body must be at most 64 KiB")
	case err != nil:
		return nil, problem.Malformed("the body ended before it was complete")
	case !utf8.Valid(body):
		return nil, problem.Malformed("the body must be UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	var fields map[string]json.RawMessage
	if err := dec.Decode(&fields); err != nil || fields == nil {
		return nil, problem.Malformed("the body must be one JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, problem.Malformed("the body must be one JSON object and nothing after it")
	}
	return &Object{fields: fields}, nil
}

// Problem is nil when every field was acceptable, and a 422 that names each bad one otherwise.
func (o *Object) Problem() error {
	if len(o.errors) == 0 {
		return nil
	}
	return problem.Invalid(o.errors...)
}

func (o *Object) fail(name, detail string) {
	o.errors = append(o.errors, problem.Field{Pointer: "/" + name, Detail: detail})
}

func (o *Object) raw(name string) (string, bool) {
	v, ok := o.fields[name]
	if !ok || string(v) == "null" {
		o.fail(name, "is required")
		return "", false
	}
	return string(v), true
}

// UserID reads an integer of 1 … 2^53−1.
func (o *Object) UserID(name string) int64 {
	raw, ok := o.raw(name)
	if !ok {
		return 0
	}
	id, err := ParseUserID(raw)
	if err != nil {
		o.fail(name, err.Error())
	}
	return id
}

var errUserID = errors.New("must be an integer from 1 to 9007199254740991")

// The number of items on a page.
const (
	defaultLimit = 20
	maxLimit     = 100
)

// Limit reads the query's limit: how many items a page may have. The error is a
// *problem.Problem, 400.
func Limit(r *http.Request) (int, error) {
	values, given := r.URL.Query()["limit"]
	if !given {
		return defaultLimit, nil
	}
	limit, err := strconv.Atoi(values[0])
	if err != nil || limit < 1 || limit > maxLimit || values[0] != strconv.Itoa(limit) {
		return 0, problem.InvalidParameter("limit", "must be an integer from 1 to "+strconv.Itoa(maxLimit))
	}
	return limit, nil
}

// ParseUserID reads the decimal digits of an integer of 1 … 2^53−1.
func ParseUserID(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 1 || id > MaxUserID || s[0] == '+' || s[0] == '0' {
		return 0, errUserID
	}
	return id, nil
}

// Amount reads an amount of money of at least least.
func (o *Object) Amount(name string, least money.Amount) money.Amount {
	raw, ok := o.raw(name)
	if !ok {
		return 0
	}
	a, err := money.Parse(raw)
	switch {
	case err != nil:
		o.fail(name, err.Error())
	case a < least:
		o.fail(name, "must be at least "+least.String())
	}
	return a
}

// MaxKey is the length of an Idempotency-Key, in characters.
const MaxKey = 255

// IdempotencyKey reads the Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header):
// an RFC 8941 string, `"abc"`, or the bare value that many clients send, abc, which is
// the same key. It is "" when there is none. The error is a *problem.Problem, 400.
func IdempotencyKey(r *http.Request) (string, error) {
	wrong := func(detail string) (string, error) { return "", problem.InvalidParameter("Idempotency-Key", detail) }
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := strings.Trim(values[0], " \t") // what HTTP lets stand around a value
	if inner, quoted := strings.CutPrefix(key, `"`); quoted {
		var closed bool
		if key, closed = strings.CutSuffix(inner, `"`); !closed || strings.ContainsAny(key, `"\`) {
			return wrong("must be one string, such as \"8e03978e-40d5-43dd-bc93-6894a57f9324\"")
		}
	}
	switch {
	case len(values) > 1:
		return wrong("must be given once")
	case key == "" || len(key) > MaxKey:
		return wrong("must have 1 to " + strconv.Itoa(MaxKey) + " characters")
	case strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }):
		return wrong("must be visible ASCII characters")
	}
	return key, nil
}
