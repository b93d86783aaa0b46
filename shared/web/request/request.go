// Package request parses and validates client requests: JSON bodies, query parameters and
// the Idempotency-Key header. Every invalid field is reported with its own error text.
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

// MaxBody is the maximum size of a request body, in bytes.
const MaxBody = 64 << 10

// MaxUserID is 2^53−1, the largest integer that every JSON parser represents exactly.
const MaxUserID = 1<<53 - 1

// Object is a JSON object whose fields are read one by one. Each read collects the field's
// error, and [Object.Problem] returns all of them. An Object is not safe for concurrent use.
type Object struct {
	fields map[string]json.RawMessage
	errors []problem.Field
}

// ReadObject reads the body of r, which must be a single JSON object of at most [MaxBody]
// bytes. The error is a *problem.Problem: 400 malformed, 413 too large, 415 not JSON.
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
		return nil, problem.Malformed("the body is incomplete")
	case !utf8.Valid(body):
		return nil, problem.Malformed("the body must be UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	var fields map[string]json.RawMessage
	if err := dec.Decode(&fields); err != nil || fields == nil {
		return nil, problem.Malformed("the body must be one JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, problem.Malformed("the body must be one JSON object with nothing after it")
	}
	return &Object{fields: fields}, nil
}

// Problem returns nil if all fields read so far are valid. Otherwise it returns a
// *problem.Problem, 422, with one entry for each invalid field.
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

// UserID reads an integer from 1 to [MaxUserID].
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

// The number of items per page.
const (
	defaultLimit = 20
	maxLimit     = 100
)

// Limit returns the query parameter limit, the maximum number of items per page. The
// error is a *problem.Problem, 400.
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

// Full returns the query parameter full of an audit. The error is a *problem.Problem, 400.
func Full(r *http.Request) (bool, error) {
	switch r.URL.Query().Get("full") {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, problem.InvalidParameter("full", "must be true or false")
}

// ParseUserID parses a decimal integer from 1 to [MaxUserID], without a sign or leading zeros.
func ParseUserID(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 1 || id > MaxUserID || s[0] == '+' || s[0] == '0' {
		return 0, errUserID
	}
	return id, nil
}

// Amount reads an amount of money that must be at least minimum.
func (o *Object) Amount(name string, minimum money.Amount) money.Amount {
	raw, ok := o.raw(name)
	if !ok {
		return 0
	}
	a, err := money.Parse(raw)
	switch {
	case err != nil:
		o.fail(name, err.Error())
	case a < minimum:
		o.fail(name, "must be at least "+minimum.String())
	}
	return a
}

// MaxKey is the maximum length of an Idempotency-Key, in characters.
const MaxKey = 255

// IdempotencyKey returns the value of the Idempotency-Key header
// (draft-ietf-httpapi-idempotency-key-header), or "" if there is none. It accepts an
// RFC 8941 string, `"abc"`, and the bare value that many clients send, abc. Both are the
// same key. The error is a *problem.Problem, 400.
func IdempotencyKey(r *http.Request) (string, error) {
	invalid := func(detail string) (string, error) { return "", problem.InvalidParameter("Idempotency-Key", detail) }
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := strings.Trim(values[0], " \t") // HTTP allows white space around a value
	if inner, quoted := strings.CutPrefix(key, `"`); quoted {
		var closed bool
		if key, closed = strings.CutSuffix(inner, `"`); !closed || strings.ContainsAny(key, `"\`) {
			return invalid("must be one string, such as \"8e03978e-40d5-43dd-bc93-6894a57f9324\"")
		}
	}
	switch {
	case len(values) > 1:
		return invalid("must be given only once")
	case key == "" || len(key) > MaxKey:
		return invalid("must have 1 to " + strconv.Itoa(MaxKey) + " characters")
	case strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }):
		return invalid("must contain only visible ASCII characters")
	}
	return key, nil
}
