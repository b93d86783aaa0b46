package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/gin-gonic/gin"

	"gozon/shared/web/problem"
)

// smallBody is the size up to which a body needs no part of the budget for bodies. Every
// request of the shop's API fits, so clients that send large bodies slowly cannot hold up
// orders. The number of connections bounds the memory of small bodies.
const smallBody = 4 << 10

// bodies reads request bodies. The memory of all large bodies together is bounded.
type bodies struct {
	limit  int64        // of one body
	budget atomic.Int64 // what is left for large bodies
}

func newBodies(limit, budget int64) *bodies {
	b := &bodies{limit: limit}
	b.budget.Store(budget)
	return b
}

var (
	errNoBudget = errors.New("too many large bodies are being read")
	errTooLarge = errors.New("the body is too large")
)

// read reads the whole body of the request before the request is forwarded. A slow client
// therefore never occupies a connection to a service, and a request that could not be sent
// to one replica can be sent to another. The caller must release what read has reserved when
// it no longer needs the body. On failure, read responds with a problem and returns false.
func (b *bodies) read(c *gin.Context) (body []byte, reserved int64, ok bool) {
	r := c.Request
	if r.ContentLength == 0 || r.Body == http.NoBody {
		return nil, 0, true
	}
	body, reserved, err := b.readAll(r)
	if err == nil {
		return body, reserved, true
	}
	b.release(reserved)
	c.Header("Connection", "close") // the rest of the body is not read
	switch {
	case errors.Is(err, errTooLarge):
		problem.Write(c, problem.TooLarge(fmt.Sprintf("the body must be at most %d KiB", b.limit>>10)))
	case errors.Is(err, errNoBudget):
		problem.Write(c, problem.Unavailable("too many large bodies are being sent; nothing was done, so a retry is safe"))
	case errors.Is(err, os.ErrDeadlineExceeded):
		problem.Write(c, problem.Malformed("the body did not arrive in time"))
	default:
		problem.Write(c, problem.Malformed("the body is incomplete"))
	}
	return nil, 0, false
}

func (b *bodies) release(reserved int64) { b.budget.Add(reserved) }

// readAll returns the body and how much of the budget it has reserved for it, also if it
// fails. It reserves memory before it reads more than a small body, whether or not the client
// has announced the length.
func (b *bodies) readAll(r *http.Request) (body []byte, reserved int64, err error) {
	size := r.ContentLength
	if size > b.limit {
		return nil, 0, errTooLarge
	}
	if size < 0 {
		if body, err = io.ReadAll(io.LimitReader(r.Body, smallBody)); err != nil || len(body) < smallBody {
			return body, 0, err
		}
		size = b.limit + 1 // one byte more shows that a body is too large
	}
	if size > smallBody {
		if b.budget.Add(-size) < 0 {
			return nil, size, errNoBudget
		}
		reserved = size
	}
	whole := make([]byte, size)
	n := copy(whole, body)
	for n < len(whole) && err == nil {
		var m int
		m, err = r.Body.Read(whole[n:])
		n += m
	}
	switch {
	case int64(n) > b.limit:
		err = errTooLarge
	case err == io.EOF: //nolint:errorlint // io.Reader returns io.EOF itself, and a body never at the wrong place
		err = nil
	}
	return whole[:n], reserved, err
}
